"""A first suite for `ditbench init`: every key of the language, those that may be left out as comments.

It is made of the tables that the readers read by, so a new key is in it. A line of prose begins with "# ", a
key that is commented out with "#" alone.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from ditbench.catalog import Catalog, Method
from ditbench.records import OP
from ditbench.suite.kinds import Axis, Key, Table
from ditbench.suite.parse import LONGEST_NAME, MODEL, keys
from ditbench.suite.yaml12 import resolve

_WIDTH, _COLUMN = 100, 32
_FOR_EXAMPLE = "(example)"
_PLAIN = re.compile(r"[A-Za-z][\w./-]*", re.ASCII)


def template(
    catalog: Catalog, model: str, methods: Sequence[str], name: str, schema: str = ""
) -> str:
    """The text of a suite of this model and these methods. schema: a path for editors, none where empty.

    Model and methods must be in the catalog, but for `op`: the attention core by itself. name: any text;
    what no suite may be called is left out of it.
    """
    kind = OP if model == OP else MODEL
    given = {
        "name": [_text(_callable(name))],
        "attention": ["", *(f"  - {_method(catalog.methods[one])}" for one in methods)],
        **({"kind": [OP]} if kind == OP else {"model": [model]}),
    }
    if kind == MODEL and catalog.models[model].embedded:
        given["weights"] = ["embedded"]
    lines = [f"# yaml-language-server: $schema={schema}"] if schema else []
    lines += [
        "# What ditbench shall measure: `ditbench plan` says what would run and about how long,",
        "# `ditbench run` measures and writes a report.",
        "# Under a key marked (axis) a list means: each of these. The matrix is the product of all axes.",
        "# Keys that are commented out show what holds without them, or (example) what might be written.",
    ]
    for key, row in keys(catalog, kind).items():
        lines += ["", *_lines(key, row, given)]
    return "\n".join(lines) + "\n"


def _lines(name: str, row: Key, given: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if name in given:
        first, *more = given[name]
        yield from _said(f"{name}: {first}".rstrip(), row)
        yield from more
    elif isinstance(row.kind, Table):
        yield from _said(f"{name}:" if row.required else f"#{name}:", row)
        for inner, key in row.kind.keys.items():
            if key.required:
                yield from _said(f"  {inner}: {key.example}", key)
            else:
                yield from _left_out(f"#  {inner}:", key)
    elif row.default is None:
        yield from _said(f"#{name}:", row, _FOR_EXAMPLE)
        yield from (f"#  {line}" for line in row.example.splitlines())
    else:
        yield from _left_out(f"#{name}:", row)


def _left_out(start: str, row: Key) -> Iterator[str]:
    if row.default is None:
        yield from _said(f"{start} {row.example}", row, _FOR_EXAMPLE)
    else:
        yield from _said(f"{start} {written(row.default)}", row)


def _said(text: str, row: Key, *more: str) -> Iterator[str]:
    """A key, and what it means beside it, going on below where the line is too short."""
    axis = ["(axis)"] if is_axis(row) else []
    words = " ".join([*more, *axis, row.says])
    lines = textwrap.wrap(words, _WIDTH - _COLUMN - 2, break_on_hyphens=False)
    beside = lines.pop(0) if len(text) <= _COLUMN - 2 else ""
    yield f"{text:<{_COLUMN}}# {beside}" if beside else text
    yield from (f"{'':<{_COLUMN}}# {line}" for line in lines)


def is_axis(row: Key) -> bool:
    """Whether a list under this key means: each of these."""
    return isinstance(row.kind, Axis)


def _method(method: Method) -> str:
    """`monarch: {block_size: 16, num_steps: 3}`: every setting with its default."""
    settings = ", ".join(f"{one.name}: {written(one.default)}" for one in method.settings)
    name = written(method.name)
    return f"{name}: {{{settings}}}" if settings else name


def _callable(name: str) -> str:
    """One line of characters that a file can hold, and not too long."""
    line = " ".join(name.encode(errors="replace").decode().split())
    return "".join(filter(str.isprintable, line))[:LONGEST_NAME].strip() or "suite"


def _text(text: str) -> str:
    """In quotes where YAML would read something else than this text."""
    return (
        text
        if _PLAIN.fullmatch(text) and resolve(text) == text
        else json.dumps(text, ensure_ascii=False)
    )


def written(value: object) -> str:
    """A value as a person would write it in YAML."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {written(one)}' for key, one in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(written(one) for one in value)}]"
    return str(value)
