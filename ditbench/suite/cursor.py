"""A walk over a tree of nodes that notes every mistake, with its place, and goes on.

Each reader gives what it read, or None once it has noted why not, so that one pass tells all mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from ditbench import units
from ditbench.errors import UNPRINTABLE, SuiteError
from ditbench.records import LARGEST
from ditbench.registry import did_you_mean
from ditbench.suite.blocks import MOST_BLOCKS, resolve_blocks
from ditbench.suite.yaml12 import Fields, Items, Leaf, Mark, Node

T = TypeVar("T", bound=Hashable)

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_SWITCH = {"on": True, "off": False, True: True, False: False}


@dataclass
class Problems:
    """The mistakes found so far."""

    found: list[tuple[Mark, str]] = field(default_factory=list)
    _told: set[tuple[Mark, str]] = field(default_factory=set, init=False, repr=False)

    def add(self, mark: Mark, where: str, cause: str) -> None:
        """Note one; `where` is left out where the place says it already."""
        if (mark, cause) in self._told:  # what is read twice, as a suite and as its quick form
            return
        self._told.add((mark, cause))
        said = str(mark) == f"--set {where}"
        self.found.append(
            (mark, f"{mark}: {cause}" if said or not where else f"{mark}: {where}: {cause}")
        )

    def tell(self) -> None:
        """Raise SuiteError with all of them in the order of the file, if there are any."""
        if self.found:
            raise SuiteError([text for _, text in sorted(self.found, key=lambda pair: pair[0])])


@dataclass(frozen=True)
class At:
    """A node, the way to it as a person writes it, and where mistakes are noted."""

    node: Node
    where: str
    problems: Problems

    @property
    def is_list(self) -> bool:
        """Whether this is a list."""
        return isinstance(self.node, Items)

    @property
    def is_mapping(self) -> bool:
        """Whether this is a mapping."""
        return isinstance(self.node, Fields)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is written here."""
        return isinstance(self.node, Leaf) and self.node.value is None

    def has(self, key: str) -> bool:
        """Whether this is a mapping with that key."""
        return isinstance(self.node, Fields) and key in self.node.fields

    def wrong(self, cause: str, key: str | None = None) -> None:
        """Note a mistake of this node, or of one of its keys."""
        marks = self.node.marks if isinstance(self.node, Fields) else {}
        self.problems.add(marks.get(key or "", self.node.mark), self.where, cause)

    def _expected(self, what: str) -> None:
        self.wrong(f"must be {what}, not {_shown(self.node)}")

    def child(self, key: str) -> At:
        """The value under a key that is there."""
        assert isinstance(self.node, Fields)  # noqa: S101 (callers hold a key of this node)
        where = f"{self.where}.{key}" if self.where else key
        return At(self.node.fields[key], where, self.problems)

    def fields(self, known: Iterable[str], noun: str = "key") -> dict[str, At]:
        """The values under known keys, in the order of the file; unknown keys are noted."""
        if not isinstance(self.node, Fields):
            self._expected("a mapping")
            return {}
        known = tuple(known)
        for key in self.node.fields:
            if key not in known:
                self.wrong(f"unknown {noun} {key[:60]!r}{did_you_mean(key[:60], known)}", key)
        return {key: self.child(key) for key in self.node.fields if key in known}

    def require(self, given: Mapping[str, At], *keys: str) -> None:
        """Note each of these keys that is not among the given ones."""
        for key in keys if isinstance(self.node, Fields) else ():
            if key not in given:
                self.wrong(f"{key!r} is missing")

    def items(self) -> list[At]:
        """The items of a list."""
        if not isinstance(self.node, Items):
            self._expected("a list")
            return []
        return self._items(self.node)

    def _items(self, node: Items) -> list[At]:
        return [
            At(item, f"{self.where}[{number}]", self.problems)
            for number, item in enumerate(node.items)
        ]

    def axis_items(self) -> list[At]:
        """The items of a list that is an axis, or the one value that stands alone."""
        if not isinstance(self.node, Items):
            return [self]
        if not self.node.items:
            self.wrong("an empty list: nothing would run")
        return self._items(self.node)

    def axis(self, read: Callable[[At], T | None]) -> tuple[T, ...]:
        """One value or a list of different ones, each as `read` reads it; empty only with a mistake noted."""
        first: dict[T, str] = {}
        for item in self.axis_items():
            value = read(item)
            if value is None:
                continue
            if value in first:
                item.wrong(f"the same as {first[value]}")
            first.setdefault(value, item.where)
        return tuple(first)

    def integer(self, least: float | None = None, most: float | None = None) -> int | None:
        """A whole number; true and 1.0 are none."""
        value = self.node.value if isinstance(self.node, Leaf) else None
        if isinstance(value, int) and not isinstance(value, bool) and _within(value, least, most):
            return value
        self._expected(f"a whole number{_bounds(least, most)}")
        return None

    def batch(self) -> int | None:
        """A number of samples, or `max`: as many as fit."""
        return self._counted("max", LARGEST)

    def channels(self) -> int | None:
        """A number of channels, or `all`, which is 0."""
        return self._counted("all", 0)

    def _counted(self, word: str, stands_for: int) -> int | None:
        """A whole number from 1, or the one word that stands for another."""
        value = self.node.value if isinstance(self.node, Leaf) else None
        if not isinstance(value, str):
            return self.integer(1)
        if value == word:
            return stands_for
        hint = did_you_mean(value[:60], (word,))
        self.wrong(f"must be a whole number >= 1 or {word}, not {_shown(self.node)}{hint}")
        return None

    def number(
        self, least: float | None = None, most: float | None = None, *, above: float | None = None
    ) -> float | None:
        """A number, whole or not; `above` is itself too small."""
        value = self.node.value if isinstance(self.node, Leaf) else None
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and _within(value, least, most)
            and (above is None or value > above)
        ):
            return float(value)
        self._expected(
            f"a number{_bounds(least, most)}" + ("" if above is None else f" > {above:g}")
        )
        return None

    def switch(self) -> bool | None:
        """`on`, `off`, `true` or `false`."""
        value = self.node.value if isinstance(self.node, Leaf) else None
        if isinstance(value, bool | str) and value in _SWITCH:
            return _SWITCH[value]
        self._expected("on or off")
        return None

    def text(self) -> str | None:
        """One line with something on it."""
        value = self.node.value if isinstance(self.node, Leaf) else None
        if isinstance(value, str) and value.strip() and not UNPRINTABLE.search(value.strip()):
            return value.strip()
        self._expected("one line of text")
        return None

    def word(self, known: Iterable[str], noun: str, few: int = 0) -> str | None:
        """One of the known words, without a blank too many. few: so many are all told beside the nearest."""
        known = tuple(known)
        if self.text() is None:
            return None
        value = str(self.node.value) if isinstance(self.node, Leaf) else ""
        if value in known:
            return value
        near, every = did_you_mean(value[:60], known), f"known: {', '.join(known)})"
        if not near:
            near = f" ({every}"
        elif len(known) <= few:
            near = f"{near.removesuffix(')')} {every}"
        self.wrong(f"unknown {noun} {value[:60]!r}{near}")
        return None

    def selection(self, depths: Iterable[int] = (MOST_BLOCKS,)) -> str | None:
        """A selection of blocks that models of all these depths have, as text."""
        value = self.node.value if isinstance(self.node, Leaf) else None
        is_number = isinstance(value, int) and not isinstance(value, bool)
        text = str(value) if is_number else self.text()
        try:
            for depth in depths if text else ():
                resolve_blocks(text or "", depth)
        except ValueError as error:
            self.wrong(str(error))
            return None
        return text

    def share(self) -> float | None:
        """`2%` or `0.02`."""
        value = self.node.value if isinstance(self.node, Leaf) else None
        if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
            value = float(match[1]) / 100
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        self._expected("a share such as 2% or 0.02, from 0 to 1")
        return None

    def size(self, least: int) -> int | None:
        """Bytes: a whole number of them, or a number with a unit."""
        value = self.node.value if isinstance(self.node, Leaf) else None
        found = units.parse_size(value) if isinstance(value, str) else value
        if not isinstance(found, int) or isinstance(found, bool):
            self._expected("a size in bytes, or one such as 4 GiB")
            return None
        if found < least:
            self.wrong(f"must be at least {units.size(least)}, not {units.size(found)}")
            return None
        return found


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _bounds(least: float | None, most: float | None) -> str:
    told = [f">= {least:g}"] if least is not None else []
    told += [f"<= {most:g}"] if most is not None else []
    return f" {' and '.join(told)}" if told else ""


def _shown(node: Node) -> str:
    if isinstance(node, Items):
        return "a list"
    if isinstance(node, Fields):
        return "a mapping"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return str(node.value).lower()
    shown = repr(node.value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
