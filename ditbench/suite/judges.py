"""By what pictures are judged: the networks that see them, and the real pictures beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ditbench.catalog import Extractor
from ditbench.records import Choice
from ditbench.suite.cursor import At
from ditbench.suite.kinds import Key, Schema, kind_of, table
from ditbench.suite.plugins import choice
from ditbench.suite.yaml12 import Fields, Leaf

_HUB = "hub:"


@dataclass(frozen=True)
class Extractors:
    """A list of networks, each a name or `{name: {setting: value}}`; known: those that there are."""

    known: dict[str, Extractor] = field(default_factory=dict)

    def read(self, at: At) -> tuple[Choice, ...]:
        """Each network once: the names of distances hold the name of the network alone."""
        first: dict[str, str] = {}
        found = []
        for item in at.axis_items():
            one = self._one(item)
            if one is None:
                continue
            if one.name in first:
                item.wrong(f"{one.name} stands in {first[one.name]} already, and may only once")
            first.setdefault(one.name, item.where)
            found.append(one)
        return tuple(found)

    def _one(self, at: At) -> Choice | None:
        if isinstance(at.node, Leaf):
            name, given = at.word(self.known, "extractor"), None
        elif isinstance(at.node, Fields) and len(at.node.fields) == 1:
            name = next(iter(at.fields(self.known, "extractor")), None)
            given = at.child(name) if name else None
        else:
            at.wrong("one network each: write name, or {name: {setting: value}}")
            return None
        if name is None:
            return None
        if why := self.known[name].broken:
            at.wrong(why)
            return None
        return self._with(self.known[name], given)

    def _with(self, extractor: Extractor, given: At | None) -> Choice:
        """With every setting: the given value, or its default."""
        kinds = {one.name: kind_of(one) for one in extractor.settings}
        told = given.fields(kinds, "setting") if given and not given.is_empty else {}
        read = {name: kinds[name].read(at) for name, at in told.items()}
        values = (
            one.default if read.get(one.name) is None else read[one.name]
            for one in extractor.settings
        )
        return choice(extractor.name, extractor.settings, values)

    def schema(self) -> Schema:
        """A name or a mapping with settings, or a list of them."""
        plain = [
            {"const": one.name, "description": f"{one.summary} {one.paper}".strip()}
            for one in self.known.values()
        ]
        composed = {
            "type": "object",
            "properties": {name: self._settings(one) for name, one in self.known.items()},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
        one = {"anyOf": [*plain, composed]}
        many = {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}
        return {"title": "networks that see the pictures", "anyOf": [one, many]}

    @staticmethod
    def _settings(extractor: Extractor) -> Schema:
        keys = {
            one.name: Key(kind_of(one), one.takes, default=one.default)
            for one in extractor.settings
        }
        return {"anyOf": [table(keys), {"type": "null"}]}


@dataclass(frozen=True)
class DataSet:
    """A file of statistics, or real pictures: a folder, a file, or one of the hub."""

    def read(self, at: At) -> str | None:
        """As it is written. Something must be there, unless it is of the hub."""
        text = at.text()
        if text is None or text.startswith(_HUB) or _is_there(text):
            return text
        at.wrong(
            f"no file or folder {text[:60]!r} (looked for from {Path.cwd()}, where ditbench was started)"
        )
        return None

    def schema(self) -> Schema:
        """One line of text."""
        return {"title": "a path, or hub:owner/name", "type": "string", "pattern": r"^\s*\S.*$"}


def _is_there(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long a name, a null character, no such user
        return False
