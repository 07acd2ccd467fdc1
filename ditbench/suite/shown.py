"""What samples are to show: numbers of classes, or texts, in a suite, in a file, or at an address.

Read here and nowhere else, so that the key of a cell covers the content and not the name of a file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ditbench.catalog import Catalog
from ditbench.errors import UNPRINTABLE, UsageError
from ditbench.records import Choice, Shown
from ditbench.suite.cursor import At
from ditbench.suite.fetching import CACHE, bounded, fetched
from ditbench.suite.kinds import Key, Keys, Made, Switch, Text, Whole, read, table

_MOST = 100_000
_LONGEST = 2_000
_NAMED = ("file", "url")
_BETWEEN = re.compile(r"[\s,]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_PINNED = Key(Text(), "what its bytes must be, in 64 hex digits", example="9f86d0...")
_FILE: Keys = {"file": Key(Text(), "of numbers between blanks or commas, or a JSON list")}
_TEXTS: Keys = {
    "file": Key(Text(), "a text a line; .json: a list; .jsonl: a value a line"),
    "url": Key(Text(), "the same at an http or https address, in place of file"),
    "field": Key(Text(), "of the objects in a .json or .jsonl, the one that is the text"),
    "cache": Key(Text(), f"the folder where an address is kept; else {CACHE}"),
    "refresh": Key(Switch(), "on: fetch the address again", default=False),
    "sha256": _PINNED,
}
_LISTED = {"type": "array", "minItems": 1}
_CLASSES = {
    "title": "classes",
    "anyOf": [
        {**_LISTED, "items": Whole(0).schema()},
        table({**_FILE, "sha256": _PINNED}, required=["file"]),
    ],
}
_PROMPTS = {"title": "texts", "anyOf": [{**_LISTED, "items": Text().schema()}, table(_TEXTS)]}


def keys() -> Keys:
    """The keys of a suite that say what samples show."""
    return {
        "classes": Key(
            Made(_classes, _CLASSES),
            "the classes that samples show, in turn: a list, or {file: ids.txt}; else all in seeded order",
            example="[0, 3, 7]",
        ),
        "prompts": Key(
            Made(_prompts, _PROMPTS),
            "the texts that samples show, in turn: a list, {file: prompts.jsonl, field: text}, or "
            "{url: ...}; else random embeddings",
            example='["a red shoe", "a white shoe"]',
        ),
    }


def told(given: Mapping[str, At], catalog: Catalog) -> dict[str, Any]:
    """The fields of `Suite` for what samples show."""
    table = keys()
    found = {name: table[name].kind.read(given[name]) for name in table if name in given}
    told = {name: model.told for name, model in catalog.models.items() if model.told}
    return {name: shown for name, shown in found.items() if shown} | {"told": told}


def check(given: Mapping[str, At], fields: Mapping[str, Any], catalog: Catalog) -> None:
    """Every model is told what the suite gives, and has it; else that is noted. fields: of `Suite`."""
    for name in keys().keys() & fields.keys():
        for model in fields.get("models", ()):
            if cause := _unfit(fields[name], model, catalog, given):
                given[name].wrong(cause)


def _unfit(shown: Shown, model: Choice, catalog: Catalog, given: Iterable[str]) -> str:
    """Why a model cannot be told this; empty where it can, or is told something else that is given."""
    kind = catalog.models[model.name].told
    if kind != shown.kind:
        instead = (
            f"it is told {kind}" if kind else "it is told neither classes nor prompts by a suite"
        )
        return "" if kind in given else f"means nothing to {model.label}: {instead}"
    known = dict(model.settings).get("classes")
    beyond = [one for one in shown.items if kind == "classes" and known and int(one) >= int(known)]
    return f"{model.label} has no class {beyond[0]}: its {known} begin at 0" if beyond else ""


def _classes(at: At) -> Shown | None:
    if at.is_list:
        numbers = tuple(item.integer(0) for item in at.items())
        whole = tuple(one for one in numbers if one is not None)
        return _shown(at, "classes", whole) if len(whole) == len(numbers) else None
    keys = {**_FILE, "sha256": _PINNED}
    return _from(at, "classes", keys, lambda source, _field: _numbers(source))


def _prompts(at: At) -> Shown | None:
    if at.is_list:
        texts = tuple(item.text() for item in at.items())
        whole = tuple(one for one in texts if one is not None)
        return _shown(at, "prompts", whole) if len(whole) == len(texts) else None
    return _from(at, "prompts", _TEXTS, _texts)


def _shown(at: At, kind: str, items: Sequence[int | str], source: str = "") -> Shown | None:
    if not items:
        at.wrong("nothing to show")
        return None
    return Shown.of(kind, items, source)


@dataclass(frozen=True)
class _Source:
    """Bytes, and where they are from. name: of the file, as it shows of what kind it is."""

    data: bytes
    said: str
    name: str

    def text(self) -> str:
        """Raises UsageError where it is none."""
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError(f"{self.said}: not UTF-8 at byte {error.start}") from error

    def json(self, text: str, line: int = 0) -> Any:  # noqa: ANN401 (JSON)
        """Raises UsageError."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self.at(line)}: not JSON ({error})") from error

    def at(self, line: int) -> str:
        """With the line, where one is known."""
        return f"{self.said}:{line}" if line else self.said


def _from(
    at: At, kind: str, keys: Keys, items: Callable[[_Source, str], Iterable[int | str]]
) -> Shown | None:
    """Of a mapping that names a source; whatever is wrong with that is noted here."""
    given = read(at, keys) if at.is_mapping else {}
    if ("file" in given) == ("url" in given):
        known = " or ".join(name for name in keys if name in _NAMED)
        at.wrong(f"must be a list, or a mapping with {known}")
        return None
    try:
        source = _source(given)
        found = list(items(source, given.get("field", "")))
        _check(found, source)
    except UsageError as error:
        at.wrong(str(error))
        return None
    return _shown(at, kind, found, source.name)


def _source(given: Mapping[str, Any]) -> _Source:
    if url := given.get("url"):
        data = fetched(url, Path(given.get("cache", CACHE)), refresh=given.get("refresh", False))
        source = _Source(data, url, PurePosixPath(urlsplit(url).path).name or "prompts")
    else:
        path = Path(given["file"]).expanduser()
        if not path.is_file():
            raise UsageError(
                f"no file {given['file'][:60]!r} (looked for from {Path.cwd()}, where ditbench was started)"
            )
        source = _Source(bounded(path), given["file"], path.name)
    _check_digest(source, given.get("sha256"))
    return source


def _check_digest(source: _Source, wanted: str | None) -> None:
    if wanted is None:
        return
    if not _SHA256.fullmatch(wanted):
        raise UsageError(f"sha256 {wanted[:70]!r}: 64 hex digits, 0 to 9 and a to f")
    found = hashlib.sha256(source.data).hexdigest()
    if found != wanted:
        raise UsageError(f"{source.said}: its sha256 is {found}, not {wanted}")


def _check(items: Sequence[int | str], source: _Source) -> None:
    if len(items) > _MOST:
        raise UsageError(f"{source.said}: {len(items):,} items; at most {_MOST:,}")
    for number, one in enumerate(items, 1):
        if isinstance(one, str) and len(one) > _LONGEST:
            raise UsageError(
                f"{source.said}: text {number} has {len(one):,} characters; at most {_LONGEST:,}"
            )
        if isinstance(one, str) and UNPRINTABLE.search(one):
            raise UsageError(f"{source.said}: text {number} is not one line of text")


def _numbers(source: _Source) -> Iterator[int]:
    text = source.text()
    listed = source.json(text) if source.name.endswith(".json") else _BETWEEN.split(text.strip())
    for one in listed if isinstance(listed, list) else [listed]:
        word = str(one)
        if isinstance(one, bool | float) or not (word.isascii() and word.isdecimal()):
            raise UsageError(f"{source.said}: {word[:60]!r} is no number of a class")
        yield int(word)


def _texts(source: _Source, field: str) -> Iterator[str]:
    """The texts of a file; lines and items that are empty are none."""
    for value, line in _values(source):
        text = _text(value, field, source.at(line))
        if text.strip():
            yield " ".join(text.split())


def _values(source: _Source) -> Iterator[tuple[Any, int]]:
    """Each with its line, 0 where none is known."""
    text = source.text()
    if source.name.endswith(".json"):
        listed = source.json(text)
        if not isinstance(listed, list):
            raise UsageError(f"{source.said}: must be a list of texts, or of objects with a field")
        yield from ((one, 0) for one in listed)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield (source.json(line, number) if source.name.endswith(".jsonl") else line), number


def _text(value: Any, field: str, said: str) -> str:  # noqa: ANN401 (JSON)
    if isinstance(value, str) and not field:
        return value
    if not isinstance(value, Mapping):
        raise UsageError(f"{said}: must be {'an object' if field else 'a text, or an object'}")
    if not field:
        raise UsageError(
            f"{said}: is an object: write field, one of {', '.join(map(str, value))[:200]}"
        )
    if not isinstance(value.get(field), str):
        raise UsageError(f"{said}: has no text under {field!r}")
    return str(value[field])
