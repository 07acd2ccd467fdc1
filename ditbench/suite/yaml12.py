"""YAML 1.2 as a small tree in which every node knows its place.

PyYAML scans and parses; what scalars mean is decided here by the YAML 1.2 core schema, because under
YAML 1.1 `3.44e9` is a string, `on` a boolean and `1:30` is 90. There are no anchors, aliases, tags,
merge keys or timestamps, and no key stands twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, cast

import yaml

from ditbench.errors import SuiteError
from ditbench.records import Scalar

# A suite is a page of text. PyYAML reads some ten thousand values a second.
MOST_CHARACTERS = 2**18
MOST_VALUES = 10_000
DEEPEST = 20
_MOST_INT = 2**63 - 1

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")


@dataclass(frozen=True, order=True)
class Mark:
    """A place, counted from 1; line 0 is the command line, where `file` says it all."""

    line: int
    column: int
    file: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class Leaf:
    """A scalar."""

    value: Scalar | None
    mark: Mark


@dataclass(frozen=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    mark: Mark


@dataclass(frozen=True)
class Fields:
    """A mapping. marks: the places of its keys."""

    fields: dict[str, Node]
    marks: dict[str, Mark]
    mark: Mark


Node = Leaf | Items | Fields


def compose(text: str, file: str, at: Mark | None = None) -> Node:
    """The tree of a text with one document. Raises SuiteError with one line.

    file: what places are told by. at: the one place of every node, for a text that lies in no file.
    """
    return _Composer(text, file, at).document()


def resolve(text: str) -> Scalar | None:
    """What a plain scalar means in the core schema. Raises ValueError for what cannot be computed with."""
    if _NULL.fullmatch(text):
        return None
    if match := _BOOL.fullmatch(text):
        return bool(match[1])
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number")
    if _INT.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    return text


def _integer(text: str) -> int:
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    if len(text) > 30 or abs(value := int(text, base)) > _MOST_INT:
        raise ValueError("a whole number beyond 64 bits")
    return value


def _float(text: str) -> float:
    value = float(text)
    if abs(value) == float("inf"):
        raise ValueError(f"{text[:30]} is beyond what a float holds")
    return value


class _Composer:
    """Builds the tree from PyYAML's events, so that a bomb is refused before it is built."""

    def __init__(self, text: str, file: str, at: Mark | None) -> None:
        self._text, self._file, self._at = text, file, at
        self._values = 0
        if len(text) > MOST_CHARACTERS:
            self._fail(self._mark(0, 0), f"{len(text):,} characters; at most {MOST_CHARACTERS:,}")
        try:
            self._loader = yaml.SafeLoader(text)
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            mark = self._mark(before.count("\n"), error.position - before.rfind("\n") - 1)
            self._fail(
                mark, f"the character U+{ord(text[error.position]):04X} may not stand in YAML"
            )

    def document(self) -> Node:
        """The one document of the text."""
        self._next()  # the stream starts
        if isinstance(self._next(), yaml.StreamEndEvent):
            return Leaf(None, self._mark(0, 0))
        root = self._node(self._next(), depth=1)
        self._next()  # the document ends
        if not isinstance(event := self._next(), yaml.StreamEndEvent):
            self._fail(self._place(event), "a second document: one file holds one suite")
        return root

    def _next(self) -> yaml.Event:
        try:
            event: yaml.Event = self._loader.get_event()  # type: ignore[no-untyped-call]
        except yaml.MarkedYAMLError as error:
            self._fail_at(error)
        except (ValueError, OverflowError):
            # PyYAML passes on what chr() says of an escape such as "\UFFFFFFFF"
            mark = self._mark(self._loader.line, self._loader.column)
            self._fail(mark, "an escape that is no character")
        return event

    def _node(self, event: yaml.Event, depth: int) -> Node:
        mark = self._place(event)
        if isinstance(event, yaml.AliasEvent):
            self._fail(mark, f"aliases are not allowed (*{event.anchor}): write the value out")
        started = cast("yaml.ScalarEvent | yaml.CollectionStartEvent", event)
        if started.anchor:
            self._fail(mark, f"anchors are not allowed (&{started.anchor})")
        if started.tag:
            self._fail(mark, f"tags are not allowed ({started.tag})")
        self._values += 1
        if self._values > MOST_VALUES:
            self._fail(mark, f"more than {MOST_VALUES:,} values")
        if depth > DEEPEST:
            self._fail(mark, f"nested deeper than {DEEPEST} levels")
        build = self._BUILD[type(event)]
        return build(self, event, mark, depth)

    def _leaf(self, event: yaml.ScalarEvent, mark: Mark, depth: int) -> Leaf:
        del depth
        try:
            value = resolve(event.value) if event.implicit[0] else event.value
        except ValueError as error:
            self._fail(mark, str(error))
        if isinstance(value, str) and not _encodable(value):
            self._fail(mark, "half a surrogate pair is no character")
        return Leaf(value, mark)

    def _items(self, event: yaml.Event, mark: Mark, depth: int) -> Items:
        del event
        items = []
        while not isinstance(following := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(following, depth + 1))
        return Items(tuple(items), mark)

    def _fields(self, event: yaml.Event, mark: Mark, depth: int) -> Fields:
        del event
        fields: dict[str, Node] = {}
        marks: dict[str, Mark] = {}
        while not isinstance(following := self._next(), yaml.MappingEndEvent):
            key, place = self._key(following, depth + 1)
            if key in fields:
                self._fail(place, f"the key {key[:60]!r} stands twice (first at {marks[key]})")
            marks[key] = place
            fields[key] = self._node(self._next(), depth + 1)
        return Fields(fields, marks, mark)

    def _key(self, event: yaml.Event, depth: int) -> tuple[str, Mark]:
        if not isinstance(event, yaml.ScalarEvent):
            self._node(event, depth)  # an alias or an anchor has a clearer cause
            self._fail(self._place(event), "a key must be a word")
        self._node(event, depth)
        return event.value, self._place(event)

    _BUILD: dict[type, Callable[..., Node]] = {  # noqa: RUF012 (a table of methods, never changed)
        yaml.ScalarEvent: _leaf,
        yaml.SequenceStartEvent: _items,
        yaml.MappingStartEvent: _fields,
    }

    def _place(self, event: yaml.Event) -> Mark:
        start = cast("yaml.Mark", event.start_mark)
        return self._mark(start.line, start.column)

    def _mark(self, line: int, column: int) -> Mark:
        return self._at or Mark(line + 1, column + 1, self._file)

    def _fail_at(self, error: yaml.MarkedYAMLError) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        line, column, index = (mark.line, mark.column, mark.index) if mark else (0, 0, 0)
        cause = " ".join(filter(None, (error.problem, error.context)))
        if self._text[index : index + 1] == "\t":
            cause = "a tab cannot indent: use spaces"
        self._fail(self._mark(line, column), " ".join(f"not YAML: {cause}".split()))

    def _fail(self, mark: Mark, cause: str) -> NoReturn:
        raise SuiteError([f"{mark}: {cause}"])


def _encodable(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)
