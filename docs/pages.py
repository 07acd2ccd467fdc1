"""Writes the pages that are made from the code: methods.md, suite-language.md and verbs.md.

    python docs/pages.py

A test holds the committed pages to what this makes. MkDocs calls `on_config`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from ditbench.catalog import Catalog, Method, Setting
from ditbench.cli import app
from ditbench.cli.tree import PANELS, tree
from ditbench.metrics import METRICS, OF_AN_OP
from ditbench.records import OP
from ditbench.scores import WORDS
from ditbench.suite.kinds import Key, Keys, Several, Table
from ditbench.suite.parse import keys
from ditbench.suite.template import is_axis, written

HERE = Path(__file__).parent
_MOST = 4  # words or keys that are listed in a cell of a table
_WORDS = {"integer": "a whole number", "number": "a number", "array": "a list"}

_LANGUAGE = """\
# The suite language

<!-- made by docs/pages.py: edit the tables in ditbench/suite instead -->

A suite is one YAML file. It says what to measure; nothing in it is a program, and read from top to bottom
it means what it says. `ditbench init` writes one with every key in it, `ditbench plan` says what it would
run, and `ditbench schema` prints what an editor needs to complete and check it.

Under a key that is an **axis**, a list means: each of these. The matrix is the product of all axes, and
each of its points is a **cell**. Everywhere else a list is a list. YAML is read as version 1.2 says: `on`
and `off` are switches, `3.44e9` is a number, and there are no anchors, aliases or tags. A mistake is told
with its file, line and column, all mistakes at once.

`--set axis=v1,v2` on the command line replaces an axis or a key of `sampling`, `op`, `timing` or
`quality` (`--set timing.repeats=5`).

`quick` is the suite's own short form: what `--quick` puts in place of its axes. A **claim** about what
follows from shapes (multiply-adds, shares, parameters) is about one cell, in which the suite's first value
stands for every axis that the claim does not name. That cell is counted in every run, on any machine, so
neither `--quick` nor `-k` nor the matrix changes what such a claim is held against. Any other claim is
answered by the cells that ran, or says why by none.
"""
_OP = """
## Suites of an op

A suite with `kind: op` measures the attention core by itself, on q, k and v of the sizes that it gives: no
model, no steps, no pictures. Keys that speak of those are refused. These are its own:
"""
_CONDITION = f"""
Where `exclude` and `claims` name cells, such a suite has `attention`, `batch_size`, `compile`, `dtype` and
`op`, a mapping of some of its sizes: `op: {{tokens: 16384, cache: cold}}`. Its metrics are
{", ".join(f"`{name}`" for name in OF_AN_OP)}.
"""
_METHODS = """\
# Methods

<!-- made by docs/pages.py: edit the files in ditbench/attention instead -->

Every attention method that comes with ditbench. An exact one gives what softmax gives, up to rounding, and
is held to it. Costs are multiply-adds a head, of matrix products only: N tokens, head_dim d.
`ditbench methods` lists the same with what is missing on a machine, those of other packages too; to add
one, see [Add a method](add-a-method.md).
"""
_VERBS = """\
# Verbs

<!-- made by docs/pages.py: edit the verbs in ditbench/cli instead -->

Results go to standard output, the log to standard error. Reading verbs take `--json`: a list of objects.
What the process says in the end is in [Exit codes](exit-codes.md).
"""


def language() -> str:
    """The page about the suite language. The catalogue adds methods and models, which are elsewhere."""
    catalog = Catalog(methods={}, models={})
    table, of_op = keys(catalog), keys(catalog, OP)
    inner = {name: key.kind.keys for name, key in table.items() if isinstance(key.kind, Table)}
    parts = [
        _LANGUAGE,
        "## Keys of a suite\n",
        *_keys(table),
        *(part for name, rows in inner.items() for part in (f"\n## {name}\n", *_keys(rows))),
    ]
    for name in ("exclude", "claims"):
        shape = table[name].kind.schema()["items"]
        parts += [f"\n## {name}\n", f"A list of mappings: {table[name].says}.\n", *_shape(shape)]
    parts += [_OP, *_keys(of_op), "\n### op\n", *_keys(of_op["op"].kind.keys), _CONDITION]
    return "\n".join([*parts, "\n## Metrics\n", *_metrics()]) + "\n"


def _keys(table: Keys) -> Iterator[str]:
    rows = ((f"`{name}`", _takes(key), _default(key), key.says) for name, key in table.items())
    return _table(("key", "takes", "without it", "meaning"), rows)


def _takes(key: Key) -> str:
    if isinstance(key.kind, Several):
        return f"{shown(key.kind.kind.schema())}{'; an axis' if is_axis(key) else ', or a list'}"
    return shown(key.kind.schema())


def _default(key: Key) -> str:
    if key.required:
        return "must be given"
    return "" if key.default is None else f"`{written(key.default)}`"


def _shape(shape: Mapping[str, Any]) -> Iterator[str]:
    rows = (
        (
            f"`{name}`",
            shown(what),
            "yes" if name in shape["required"] else "",
            what["description"],
        )
        for name, what in shape["properties"].items()
    )
    return _table(("key", "takes", "must be given", "meaning"), rows)


def shown(shape: Mapping[str, Any]) -> str:
    """A schema in words."""
    if "title" in shape:
        return str(shape["title"])
    return next((say(shape) for word, say in _SAY.items() if word in shape), "") or _plain(shape)


def _plain(shape: Mapping[str, Any]) -> str:
    if shape["type"] == "object":
        return f"a mapping{_listed(shape['properties'])}"
    return f"{_WORDS[shape['type']]}{_bounds(shape)}"


def _listed(names: Sequence[str]) -> str:
    return f" ({', '.join(f'`{name}`' for name in names)})" if len(names) <= _MOST else ""


def _enum(shape: Mapping[str, Any]) -> str:
    words = [f"`{word}`" for word in shape["enum"] if isinstance(word, str)]
    return " or ".join(words) if len(words) <= _MOST else "a word"


_OF_PLUGINS = {
    "model": "a model",
    "method": "a method",
    "methods": "a method",
    "accelerator": "an accelerator",
    "accelerators": "an accelerator",
}
_SAY: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "$ref": lambda shape: _OF_PLUGINS[shape["$ref"].rpartition("/")[2].removeprefix("axis_of_")],
    "anyOf": lambda shape: ", or ".join(dict.fromkeys(shown(one) for one in shape["anyOf"])),
    "const": lambda shape: f"`{shape['const']}`",
    "enum": _enum,
}


def _bounds(shape: Mapping[str, Any]) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}
    return "".join(f", {word} {shape[bound]:g}" for bound, word in words.items() if bound in shape)


def _metrics() -> Iterator[str]:
    rows = ((f"`{row.name}`", row.unit, row.better, row.summary) for row in METRICS.values())
    yield from _table(("metric", "unit", "better", "meaning"), rows)
    yield (
        "\nThese are of the whole set of pictures. Records call each by network, number of pictures and "
        "reference (`fid_256@dataset`, `kd_fashion_cnn_256@softmax`): figures that differ in one of them "
        "never stand in one column.\n"
    )
    yield from _table(("metric", "meaning"), ((f"`{name}`", said) for name, said in WORDS.items()))


def methods() -> str:
    """The page about the methods: one table, then each with its settings and the words of its file."""
    from ditbench.measure.catalog import catalog  # noqa: PLC0415 (torch, for this page only)

    found = catalog().methods.values()
    ours = [method for method in found if method.place.startswith("ditbench.")]
    rows = (
        (f"[`{one.name}`](#{one.name})", _exact(one), one.cost, one.paper, one.needs)
        for one in ours
    )
    parts = [_METHODS, *_table(("method", "", "cost", "paper", "needs"), rows)]
    for one in ours:
        parts += [f"\n## {one.name}\n", f"{one.page}\n", *_operators(one), *_settings(one.settings)]
    return "\n".join(parts) + "\n"


def _operators(method: Method) -> Iterator[str]:
    if method.operators:
        names = ", ".join(f"`{name}`" for name in method.operators)
        yield f"Counted by the method's own formula: {names}.\n"


def _exact(method: Method) -> str:
    return {"yes": "exact", "by default": "exact by default", "no": ""}[method.exactness]


def _settings(settings: Sequence[Setting]) -> Iterator[str]:
    rows = ((f"`{one.name}`", one.takes, f"`{written(one.default)}`") for one in settings)
    yield from _table(("setting", "takes", "without it"), rows) if settings else ("No settings.",)


def verbs() -> str:
    """The page about the verbs: one table, then each with its options."""
    root = tree(app)
    rows = (
        (panel, f"[`ditbench {name}`](#ditbench-{name})", _claim(root.commands[name]))
        for panel, names in PANELS.items()
        for name in names
    )
    parts = [_VERBS, *_table(("", "verb", "what it does"), rows)]
    for name, command in root.commands.items():
        parts += _verb(f"ditbench {name}", command)
    return "\n".join(parts) + "\n"


def _claim(command: Any) -> str:  # noqa: ANN401 (one of typer's vendored classes)
    """The first paragraph of what it says of itself, on one line: a row of a table ends with its line."""
    return " ".join((command.help or "").partition("\n\n")[0].split())


def _verb(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401 (one of typer's vendored classes)
    yield f"\n## {name}\n" if name.count(" ") == 1 else f"\n### {name}\n"
    yield f"{command.help}\n"
    if isinstance(command, TyperGroup):
        for inner, verb in command.commands.items():
            yield from _verb(f"{name} {inner}", verb)
        return
    context = typer.Context(command, info_name=name)
    pieces = [re.sub("[{}]", "", piece) for piece in command.collect_usage_pieces(context)[1:]]
    yield f"    {' '.join([name, *pieces, '[OPTIONS]'])}\n"
    yield from _table(("", "", "without it"), map(_parameter, command.params))


def _parameter(parameter: Any) -> Sequence[str]:  # noqa: ANN401 (likewise)
    named = ", ".join(f"`{one}`" for one in parameter.opts if one.startswith("-"))
    takes = f" `{parameter.metavar}`" if parameter.metavar and named else ""
    default = "" if parameter.default in {None, "", False} else f"`{parameter.default}`"
    needed = "must be given" if parameter.required else default
    return f"{named}{takes}" or f"`{parameter.metavar}`", parameter.help or "", needed


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(columns)
    yield _row(["---"] * len(columns))
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def on_config(config: Any) -> Any:  # noqa: ANN401 (MkDocs is not there when this is read by a test)
    """MkDocs' hook: decisions join the last group of the navigation by themselves."""
    (inside,) = config["nav"][-1].values()
    for page in sorted((HERE / "adr").glob("*.md")):
        title = page.read_text().splitlines()[0].removeprefix("# ")
        inside.append({title: f"adr/{page.name}"})
    return config


PAGES = {"methods.md": methods, "suite-language.md": language, "verbs.md": verbs}


if __name__ == "__main__":
    for page, made in PAGES.items():
        (HERE / page).write_text(made())
