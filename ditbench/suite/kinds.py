"""The kinds of value that a suite may hold: each reads one, and says as JSON schema what it would take.

A table of keys is made of them, so that the readers, `--set`, the schema for editors, the suite that `init`
writes and the page about the language are all made of one text. A new key is a row in its table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from importlib.metadata import EntryPoint
from typing import Any, Protocol

from ditbench import units
from ditbench.catalog import Setting
from ditbench.digests import content, sealed
from ditbench.errors import UsageError, one_line
from ditbench.registry import asked
from ditbench.suite.cursor import At

Schema = Mapping[str, Any]

# So many words are all told where another stands: the nearest of them need not be near in meaning.
_FEW = 8


class Kind(Protocol):
    """What stands under a key."""

    def read(self, at: At) -> Any:  # noqa: ANN401 (each kind its own)
        """The value, or None with the mistake noted."""
        ...

    def schema(self) -> Schema:
        """JSON schema, draft 2020-12. It may accept more than `read` does, never less."""
        ...


@dataclass(frozen=True)
class Key:
    """A row of a table: the kind of value, and what it means in one line for people.

    default: what holds where the key is not given, as JSON; None for nothing. example: for a key that has no
    default, what a person might write.
    """

    kind: Kind
    says: str
    required: bool = False
    default: Any = None
    example: str = ""


Keys = Mapping[str, Key]


def with_defaults(keys: Keys, defaults: object) -> Keys:
    """The table with each key's default taken from the attribute of its name."""
    return {
        name: replace(key, default=_json(getattr(defaults, name))) for name, key in keys.items()
    }


def read(at: At, keys: Keys) -> dict[str, Any]:
    """The values of a mapping by their table, in the order of the file; mistakes are noted and left out."""
    given = at.fields(keys)
    at.require(given, *(name for name, key in keys.items() if key.required))
    values = {name: keys[name].kind.read(field) for name, field in given.items()}
    return {name: value for name, value in values.items() if value is not None}


def table(keys: Keys, **more: Any) -> Schema:  # noqa: ANN401 (JSON)
    """The schema of a mapping with these keys and no others. more: further words of the schema."""
    return {
        "type": "object",
        "properties": {
            name: {
                **key.kind.schema(),
                "description": key.says,
                **({} if key.default is None else {"default": key.default}),
            }
            for name, key in keys.items()
        },
        "required": [name for name, key in keys.items() if key.required],
        "additionalProperties": False,
        **more,
    }


@dataclass(frozen=True)
class Whole:
    """A whole number."""

    least: float | None = None
    most: float | None = None

    def read(self, at: At) -> int | None:
        """Within the bounds, both included."""
        return at.integer(self.least, self.most)

    def schema(self) -> Schema:
        """`minimum` and `maximum`."""
        return {"type": "integer"} | _given(minimum=self.least, maximum=self.most)


@dataclass(frozen=True)
class Batch:
    """A number of pictures, or `max`: as many as fit."""

    def read(self, at: At) -> int | None:
        """At least 1; LARGEST for `max`."""
        return at.batch()

    def schema(self) -> Schema:
        """Either."""
        return {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "max"}]}


@dataclass(frozen=True)
class Channels:
    """A number of channels, or `all`."""

    def read(self, at: At) -> int | None:
        """At least 1; 0 for `all`."""
        return at.channels()

    def schema(self) -> Schema:
        """Either."""
        return {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "all"}]}


@dataclass(frozen=True)
class Number:
    """A number, whole or not. above: a bound that is itself too small."""

    least: float | None = None
    above: float | None = None
    most: float | None = None

    def read(self, at: At) -> float | None:
        """Within the bounds."""
        return at.number(self.least, self.most, above=self.above)

    def schema(self) -> Schema:
        """`minimum`, `exclusiveMinimum` and `maximum`."""
        bounds = _given(minimum=self.least, exclusiveMinimum=self.above, maximum=self.most)
        return {"type": "number"} | bounds


@dataclass(frozen=True)
class Switch:
    """`on` or `off`, `true` or `false`."""

    def read(self, at: At) -> bool | None:
        """The four words, as YAML 1.2 reads them."""
        return at.switch()

    def schema(self) -> Schema:
        """To YAML 1.2 `on` is a word like any other."""
        return {"enum": [True, False, "on", "off"]}


@dataclass(frozen=True)
class Text:
    """One line with something on it. most: characters."""

    most: int | None = None

    def read(self, at: At) -> str | None:
        """Without the blanks around it."""
        text = at.text()
        if text and self.most is not None and len(text) > self.most:
            at.wrong(f"{len(text)} characters; at most {self.most}")
            return None
        return text

    def schema(self) -> Schema:
        """Blanks around the line are no part of it, so the pattern holds the length."""
        middle = "*" if self.most is None else f"{{0,{max(0, self.most - 2)}}}"
        pattern = rf"^\s*\S(.{middle}\S)?\s*$"
        return {"title": "one line of text", "type": "string", "pattern": pattern}


@dataclass(frozen=True)
class Filed(Text):
    """The name of a file that is there, with a digest of what it says. reader: see `registry.setting`."""

    reader: str = ""

    def read(self, at: At) -> str | None:
        """As `digests.sealed` makes it, where the reader can read it."""
        named = super().read(at)
        try:
            return self._sealed(named) if named else named
        except UsageError as error:
            at.wrong(one_line(str(error)))
            return None

    def _sealed(self, named: str) -> str:
        """Raises UsageError where there is no such file, or one of another kind."""
        found = sealed(named)
        if self.reader:
            data, told = content(found), f"{self.reader} cannot be used: "
            read = asked(EntryPoint("reader", self.reader, "").load, told)
            if cause := asked(lambda: _unread(read, data, named), told):
                raise UsageError(cause)
        return found


@dataclass(frozen=True)
class Word:
    """One of the known words. noun: what they are called where one is not known."""

    known: tuple[str, ...]
    noun: str = "value"

    def read(self, at: At) -> str | None:
        """Exactly as it is known."""
        return at.word(self.known, self.noun, _FEW)

    def schema(self) -> Schema:
        """`enum`."""
        return {"enum": list(self.known)}


@dataclass(frozen=True)
class Share:
    """`2%` or `0.02`. above: a bound that is itself too small."""

    above: float | None = None

    def read(self, at: At) -> float | None:
        """From 0 to 1."""
        share = at.share()
        if share is None or self.above is None or share > self.above:
            return share
        at.wrong(f"must be above {self.above:g}")
        return None

    def schema(self) -> Schema:
        """A number, or text with a per cent sign."""
        zero = "" if self.above is None else r"(?!0*(\.0*)?\s*%)"
        percent = rf"^{zero}(0*100(\.0+)?|0*[0-9]{{1,2}}(\.[0-9]+)?)\s*%$"
        number = {"type": "number", "minimum": 0, "maximum": 1}
        text = {"type": "string", "pattern": percent}
        bounded = number | _given(exclusiveMinimum=self.above)
        return {"title": "a share such as 2% or 0.02", "anyOf": [bounded, text]}


@dataclass(frozen=True)
class Size:
    """Bytes, or a number with a unit: `4 GiB`. least: bytes."""

    least: int

    def read(self, at: At) -> int | None:
        """In bytes."""
        return at.size(self.least)

    def schema(self) -> Schema:
        """A whole number, or text with a unit."""
        text = {"type": "string", "pattern": rf"^\s*{units.SIZE}\s*$"}
        whole = {"type": "integer", "minimum": self.least}
        return {"title": "a size such as 4 GiB, or bytes", "anyOf": [whole, text]}


@dataclass(frozen=True)
class Several:
    """One value, or a list of different ones."""

    kind: Kind

    def read(self, at: At) -> tuple[Any, ...]:
        """Empty only with a mistake noted."""
        return at.axis(self.kind.read)

    def schema(self) -> Schema:
        """The value itself or a list."""
        one = self.kind.schema()
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}]}


class Axis(Several):
    """Of the matrix: a list means each of these."""


@dataclass(frozen=True)
class Listed:
    """A list that is no axis."""

    kind: Kind

    def read(self, at: At) -> tuple[Any, ...]:
        """The items without a mistake."""
        found = (self.kind.read(item) for item in at.items())
        return tuple(item for item in found if item is not None)

    def schema(self) -> Schema:
        """`items`."""
        return {"type": "array", "items": self.kind.schema()}


@dataclass(frozen=True)
class Table:
    """A mapping with known keys, read into the dataclass `into`."""

    keys: Keys
    into: Callable[..., Any] = dict

    def read(self, at: At) -> Any:  # noqa: ANN401 (what `into` makes)
        """What is not given keeps the default of `into`."""
        return self.into(**read(at, self.keys))

    def schema(self) -> Schema:
        """`properties`, and no others."""
        return table(self.keys)


@dataclass(frozen=True)
class Made:
    """A value with a reader and a schema of its own."""

    reader: Callable[[At], Any]
    shape: Schema

    def read(self, at: At) -> Any:  # noqa: ANN401 (the reader's own)
        """As the reader does."""
        return self.reader(at)

    def schema(self) -> Schema:
        """The shape it was made with."""
        return self.shape


def kind_of(setting: Setting) -> Kind:
    """The kind of value that a plug-in's setting takes."""
    if setting.kind == "int":
        return Whole(setting.least, setting.most)
    if setting.kind == "float":
        return Number(setting.least, most=setting.most)
    if setting.kind == "bool":
        return Switch()
    if setting.file:
        return Filed(reader=setting.reader)
    return Word(setting.choices) if setting.choices else Text()


def _unread(read: Callable[[bytes, str], object], data: bytes, place: str) -> str:
    """Why a reader refuses a file; empty where it does not."""
    try:
        read(data, place)
    except UsageError as error:
        return str(error)
    return ""


def _given(**bounds: float | None) -> dict[str, float]:
    return {word: bound for word, bound in bounds.items() if bound is not None}


def _json(value: Any) -> Any:  # noqa: ANN401 (of a dataclass, its fields)
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
