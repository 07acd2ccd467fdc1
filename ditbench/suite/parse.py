"""A suite, read and checked: from the text of a YAML file to a `Suite`, or to all its mistakes at once."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ditbench.catalog import Catalog
from ditbench.errors import SuiteError, UsageError
from ditbench.suite import axes, conditions, effort
from ditbench.suite.cursor import At, Problems
from ditbench.suite.overrides import put
from ditbench.suite.spec import Suite
from ditbench.suite.yaml12 import MOST_CHARACTERS, Fields, Items, Leaf, Node, compose

_KEYS = (
    *("name", "model", "weights", "attention", "blocks", "batch_size", "steps", "compile"),
    *("sampling", "timing", "metrics", "quality", "exclude", "gate", "claims"),
)
_LONGEST_NAME = 120
_OUTSIDE = re.compile(r"\w+(\.\w+)*:\w+")
_NONE: Mapping[str, str] = MappingProxyType({})


def load(path: Path, catalog: Catalog, overrides: Mapping[str, str] = _NONE) -> Suite:
    """The suite in a file. Raises UsageError where it cannot be read, SuiteError as `parse`."""
    return parse(read(path), str(path), catalog, overrides)


def read(path: Path) -> str:
    """The text of a suite's file. Raises UsageError with one line."""
    try:
        with path.open("rb") as file:
            raw = file.read(4 * MOST_CHARACTERS + 1)  # no character takes more than four bytes
        return raw.decode()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {_why(error)}") from error


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"cannot be read: {error}"


def parse(text: str, path: str, catalog: Catalog, overrides: Mapping[str, str] = _NONE) -> Suite:
    """The suite that a text says, with `overrides` (axis to YAML, from `--set`) in place of its own values.

    Raises SuiteError with every mistake, in the order of the file.
    """
    problems = Problems()
    root = put(compose(text, path), overrides, problems)
    values = _values(At(root, "", problems), catalog)
    problems.tell()
    exact = frozenset(name for name, method in catalog.methods.items() if method.exact)
    return Suite(path=path, text=text, exact=exact, overrides=dict(overrides), **values)


def methods_from_outside(text: str, path: str) -> tuple[str, ...]:
    """The methods of the form `module:Class` that a text names; none where it cannot be read."""
    try:
        root = compose(text, path)
    except SuiteError:
        return ()
    node = root.fields.get("attention") if isinstance(root, Fields) else None
    nodes = node.items if isinstance(node, Items) else (node,)
    names = itertools.chain.from_iterable(_names(item) for item in nodes)
    return tuple(dict.fromkeys(name for name in names if _OUTSIDE.fullmatch(name)))


def _names(node: Node | None) -> tuple[str, ...]:
    if isinstance(node, Fields):
        return tuple(node.fields)
    return (str(node.value),) if isinstance(node, Leaf) else ()


def _values(root: At, catalog: Catalog) -> dict[str, Any]:
    given = root.fields(_KEYS)
    root.require(given, "name", "model", "attention")
    values = axes.read(root, given, catalog) | effort.read(given)
    if "name" in given:
        values["name"] = _name(given["name"])
    if "exclude" in given:
        found = [conditions.exclusion(at, catalog) for at in given["exclude"].items()]
        values["exclude"] = tuple(filter(None, found))
    if "claims" in given:
        claims = [conditions.claim(at, catalog) for at in given["claims"].items()]
        values["claims"] = tuple(filter(None, claims))
    return values


def _name(at: At) -> str | None:
    name = at.text()
    if name and len(name) > _LONGEST_NAME:
        at.wrong(f"{len(name)} characters; at most {_LONGEST_NAME}")
    return name
