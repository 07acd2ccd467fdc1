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
from ditbench.suite import axes, claims, conditions, effort, ops, shorter, shown
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
# What a suite says of itself and of its cells, which no quick form replaces.
_SAID = ("name", "exclude")
# The setting by which a method with memory names another.
_CORE = "core"
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


def parse(
    text: str,
    path: str,
    catalog: Catalog,
    overrides: Mapping[str, str] = _NONE,
    *,
    quick: bool = False,
) -> Suite:
    """The suite that a text says, with `overrides` (axis to YAML, from `--set`) in place of its own values.

    quick: whether what stands under `quick` replaces the rest, but for what is overridden. It is checked
    either way. Raises SuiteError with every mistake, in the order of the file.
    """
    problems = Problems()
    root = compose(text, path)
    kind = _kind(At(root, "", problems))
    at = At(put(root, overrides, settable_axes(catalog), problems), "", problems)
    given = _given(at, kind, catalog)
    shows = {} if kind == OP else shown.told(given, catalog)
    own = _measured(at, given, kind, catalog) | shows
    short = own
    shortened: tuple[str, ...] = ()
    if "quick" in given:
        rows = shorter.keys(catalog, of_op=kind == OP)
        instead = shorter.shorter(given["quick"], given, overrides, rows)
        short = _measured(at, {**given, **instead.values}, kind, catalog) | shows
        shortened = instead.paths if quick else ()
    for fields in (own, short):
        shown.check(given, fields, catalog)
    said = _said(given, own, kind, catalog, shortened)
    problems.tell()
    return Suite(
        path=path,
        text=text,
        exact=frozenset(name for name, method in catalog.methods.items() if method.exact),
        overrides=dict(overrides),
        shortened=shortened,
        **(short if quick else own),
        **said,
    )


def from_outside(text: str, path: str, axis: str) -> tuple[str, ...]:
    """What a text names as `module:Class` on one axis, attention or model; none where it cannot be read."""
    try:
        root = compose(text, path)
    except SuiteError:
        return ()
    places = (root, root.fields.get("quick")) if isinstance(root, Fields) else ()
    listed = [node.fields.get(axis) for node in places if isinstance(node, Fields)]
    names = itertools.chain.from_iterable(map(_names, listed))
    return tuple(dict.fromkeys(name for name in names if _OUTSIDE.fullmatch(name)))


def _names(node: Node | None) -> tuple[str, ...]:
    """Of `name`, `{name: {setting: value}}` and `{name: it, setting: value}`, and of cores in settings."""
    if isinstance(node, Items):
        return tuple(itertools.chain.from_iterable(map(_names, node.items)))
    if isinstance(node, Fields):
        settings = [one for one in node.fields.values() if isinstance(one, Fields)]
        told = (node.fields.get("name"), *(one.fields.get(_CORE) for one in settings))
        return (*node.fields, *itertools.chain.from_iterable(map(_names, told)))
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
        **effort.keys(catalog, of_op=kind == OP),
        **({} if kind == OP else shown.keys()),
        "quick": Key(
            shorter.kind(shorter.keys(catalog, of_op=kind == OP)),
            "axes, and keys of quality, that `--quick` puts in place of the suite's own",
            example="{batch_size: 1}",
        ),
        "exclude": Key(
            Listed(conditions.exclusions(catalog, of_op=kind == OP)),
            "cells that shall not run, and why",
            example='- {attention: sdpa, batch_size: 8, because: "out of memory below 40 GiB"}',
        ),
        "claims": Key(
            Listed(claims.claims(catalog, of_op=kind == OP)),
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
    known = Word(KINDS, "kind of suite").read(root.child("kind")) if root.has("kind") else MODEL
    return known or MODEL


def _given(root: At, kind: str, catalog: Catalog) -> dict[str, At]:
    """The values by key, those that mean something to a suite of this kind."""
    table = keys(catalog, kind)
    foreign = {name for one in KINDS for name in keys(catalog, one) if name not in table}
    given = root.fields((*table, *foreign))
    for name in foreign & given.keys():
        root.wrong(f"{name} means nothing here: {_NO_KEY_OF[kind]}", name)
        del given[name]
    root.require(given, *(name for name, key in table.items() if key.required))
    return given


def _measured(root: At, given: Mapping[str, At], kind: str, catalog: Catalog) -> dict[str, Any]:
    """The fields of `Suite` for axes and effort."""
    of_op = kind == OP
    spread = ops.read(root, given, catalog) if of_op else axes.read(root, given, catalog)
    largest = LARGEST in spread.get("batch_sizes", ())
    return spread | effort.read(given, catalog, of_op=of_op, finds_batch=largest)


def _said(
    given: Mapping[str, At],
    own: Mapping[str, Any],
    kind: str,
    catalog: Catalog,
    shortened: tuple[str, ...],
) -> dict[str, Any]:
    """The fields of `Suite` for its name, its exclusions and its claims, which speak of its own axes."""
    table = keys(catalog, kind)
    said = {name: table[name].kind.read(given[name]) for name in _SAID if name in given}
    if "claims" in given:
        complete = {"models", "attentions"} <= own.keys() and () not in own.values()
        known = Suite(name="", path="", text="", **own) if complete and kind != OP else None
        made = claims.claims(catalog, known, shortened, of_op=kind == OP)
        said["claims"] = Listed(made).read(given["claims"])
    return said
