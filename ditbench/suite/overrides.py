"""`--set axis=value`: what the command line puts in the place of a suite's own values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ditbench.errors import SuiteError
from ditbench.registry import did_you_mean
from ditbench.suite.cursor import Problems
from ditbench.suite.kinds import Keys, Table
from ditbench.suite.yaml12 import Fields, Items, Mark, Node, compose

# What a suite says of itself, and not of what is measured.
_FIXED = ("name", "kind", "metrics", "quick", "exclude", "gate", "claims")


def settable(keys: Keys) -> tuple[str, ...]:
    """What `--set` may replace: the axes, and the keys of a mapping as `timing.repeats`."""
    names = ((name, key.kind) for name, key in keys.items() if name not in _FIXED)
    return tuple(
        path
        for name, kind in names
        for path in (
            [f"{name}.{inner}" for inner in kind.keys] if isinstance(kind, Table) else [name]
        )
    )


def put(root: Node, overrides: Mapping[str, str], axes: Sequence[str], problems: Problems) -> Node:
    """The tree with the overrides in it; what is wrong with one is noted with `--set axis` as its place."""
    for number, (axis, text) in enumerate(overrides.items()):
        mark = Mark(0, number, f"--set {axis}")
        if axis not in axes:
            problems.add(mark, "", f"unknown axis{did_you_mean(axis, axes)}")
            continue
        try:
            value = _value(text, mark)
        except SuiteError as error:
            problems.add(mark, "", error.problems[0].removeprefix(f"{mark}: "))
            continue
        root = _replaced(root, axis.split("."), value, mark)
    return root


def _value(text: str, mark: Mark) -> Node:
    """`8` is one value, `1,8` and `[1, 8]` are a list: the text is read as what stands inside brackets."""
    listed = compose(f"[{text}\n]", mark.file, at=mark)  # a comment must not swallow the bracket
    if isinstance(listed, Items) and len(listed.items) == 1:
        return listed.items[0]
    return listed


def _replaced(node: Node, path: list[str], value: Node, mark: Mark) -> Node:
    if not path:
        return value
    if not isinstance(node, Fields):
        return node  # said to be no mapping when it is read
    key, *rest = path
    inner = node.fields.get(key, Fields({}, {}, mark))
    return Fields(
        {**node.fields, key: _replaced(inner, rest, value, mark)},
        {**node.marks, key: mark if not rest else node.marks.get(key, mark)},
        node.mark,
    )
