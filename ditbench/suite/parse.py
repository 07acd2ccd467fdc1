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
from ditbench.records import LARGEST
from ditbench.suite import axes, conditions, effort
from ditbench.suite.cursor import At, Problems
from ditbench.suite.kinds import Key, Keys, Listed, Text
from ditbench.suite.overrides import put, settable
from ditbench.suite.spec import Suite
from ditbench.suite.yaml12 import MOST_CHARACTERS, Fields, Items, Leaf, Node, compose

LONGEST_NAME = 120
_OUTSIDE = re.compile(r"\w+(\.\w+)*:\w+")
_NONE: Mapping[str, str] = MappingProxyType({})


def load(path: Path, catalog: Catalog, overrides: Mapping[str, str] = _NONE) -> Suite:
    """The suite in a file. Raises UsageError where it cannot be read, SuiteError as `parse`."""
    return parse(read(path), str(path), catalog, overrides)


def read(path: Path) -> str:
    """The text of a suite's file. Raises UsageError with one line."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: {'a folder' if path.is_dir() else 'no file'}, and no suite")
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
    table = keys(catalog)
    root = put(compose(text, path), overrides, settable(table), problems)
    values = _values(At(root, "", problems), table, catalog)
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


def keys(catalog: Catalog) -> Keys:
    """Every key of a suite, in the order in which people write them."""
    return {
        "name": Key(Text(LONGEST_NAME), "what runs and reports are called", required=True),
        **axes.keys(catalog),
        **effort.KEYS,
        "exclude": Key(
            Listed(conditions.exclusions(catalog)),
            "cells that shall not run, and why",
            example='- {attention: sdpa, batch_size: 8, because: "out of memory below 40 GiB"}',
        ),
        "claims": Key(
            Listed(conditions.claims(catalog)),
            "published numbers that are measured again",
            example="- {metric: core_macs, per: step, attention: softmax, guidance: on, value: 3.44e9,\n"
            '   tolerance: 0.5%, source: "a paper, its table"}',
        ),
    }


def _values(root: At, table: Keys, catalog: Catalog) -> dict[str, Any]:
    given = root.fields(table)
    root.require(given, *(name for name, key in table.items() if key.required))
    plain = ("name", "exclude", "claims")
    spread = axes.read(root, given, catalog)
    return (
        spread
        | effort.read(given, finds_batch=LARGEST in spread.get("batch_sizes", ()))
        | {name: table[name].kind.read(given[name]) for name in plain if name in given}
    )
