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
from ditbench.records import LARGEST, OP
from ditbench.suite import axes, conditions, effort, ops
from ditbench.suite.cursor import At, Problems
from ditbench.suite.kinds import Key, Keys, Listed, Text, Word
from ditbench.suite.overrides import put, settable
from ditbench.suite.spec import Suite
from ditbench.suite.yaml12 import MOST_CHARACTERS, Fields, Items, Leaf, Node, compose

LONGEST_NAME = 120
# What a suite measures: methods inside of models, or the attention core by itself.
MODEL = "model"
KINDS = (MODEL, OP)
_NO_KEY_OF = {
    OP: "an op is the attention core by itself, on q, k and v of the sizes under op: it has no model, no "
    "steps and no pictures",
    MODEL: "it is of suites with kind: op, which have no model",
}
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
    root = compose(text, path)
    kind = _kind(At(root, "", problems))
    root = put(root, overrides, settable_axes(catalog), problems)
    values = _values(At(root, "", problems), kind, catalog)
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


def keys(catalog: Catalog, kind: str = MODEL) -> Keys:
    """Every key of a suite of this kind, in the order in which people write them."""
    return {
        "name": Key(Text(LONGEST_NAME), "what runs and reports are called", required=True),
        "kind": Key(
            Word(KINDS, "kind of suite"),
            "model: methods inside of models; op: the attention core by itself",
            default=kind,
            required=kind != MODEL,
        ),
        **(ops.keys(catalog) if kind == OP else axes.keys(catalog)),
        **(effort.KEYS_OF_AN_OP if kind == OP else effort.KEYS),
        "exclude": Key(
            Listed(conditions.exclusions(catalog, of_op=kind == OP)),
            "cells that shall not run, and why",
            example='- {attention: sdpa, batch_size: 8, because: "out of memory below 40 GiB"}',
        ),
        "claims": Key(
            Listed(conditions.claims(catalog, of_op=kind == OP)),
            "published numbers that are measured again",
            example="- {metric: core_macs, per: step, attention: softmax, batch_size: 1, value: 3.44e9,\n"
            '   tolerance: 0.5%, source: "a paper, its table"}',
        ),
    }


def settable_axes(catalog: Catalog) -> tuple[str, ...]:
    """What `--set` may replace in a suite of any kind; what this one has no use for is told when read."""
    return tuple(dict.fromkeys(path for one in KINDS for path in settable(keys(catalog, one))))


def _kind(root: At) -> str:
    """The kind of suite that a text says it is."""
    known = root.child("kind").word(KINDS, "kind of suite") if root.has("kind") else MODEL
    return known or MODEL


def _values(root: At, kind: str, catalog: Catalog) -> dict[str, Any]:
    table = keys(catalog, kind)
    foreign = {name for one in KINDS for name in keys(catalog, one) if name not in table}
    given = root.fields((*table, *foreign))
    for name in foreign & given.keys():
        root.wrong(f"{name} means nothing here: {_NO_KEY_OF[kind]}", name)
        del given[name]
    root.require(given, *(name for name, key in table.items() if key.required))
    plain = ("name", "exclude", "claims")
    of_op = kind == OP
    spread = ops.read(root, given, catalog) if of_op else axes.read(root, given, catalog)
    return (
        spread
        | effort.read(given, of_op=of_op, finds_batch=LARGEST in spread.get("batch_sizes", ()))
        | {name: table[name].kind.read(given[name]) for name in plain if name in given}
    )
