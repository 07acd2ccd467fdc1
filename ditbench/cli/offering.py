"""The verb that says what there is to measure: methods. It does not import torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench import errors
from ditbench.cli import completion, output, preparing
from ditbench.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ditbench.catalog import Method

_COLUMNS = ("name", "exact", "settings", "formula", "cost", "paper", "needs", "runs here")


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("methods")(methods)


def methods(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="All about this one: its settings, and its page.",
            autocompletion=completion.methods,
        ),
    ] = "",
    json: Json = False,
) -> int:
    """List the attention methods: settings, formula, cost in multiply-adds a head, paper, what each needs."""
    catalog = preparing.catalog([name])
    found = catalog.methods
    if name and name not in found:
        from ditbench.registry import did_you_mean

        unknown = f"unknown attention method {name!r}{did_you_mean(name, found)}"
        raise errors.UsageError(catalog.nowhere.get(name, unknown))
    chosen = [found[name]] if name else list(found.values())
    if json:
        return output.as_json([dataclasses.asdict(method) for method in chosen])
    if name:
        show_one(chosen[0])
    else:
        show_all(chosen)
    return errors.OK


def show_all(methods: Iterable[Method]) -> None:
    """A card a method on a terminal, a line a method elsewhere."""
    output.cards("attention methods", _COLUMNS, [_cells(method) for method in methods])


def show_one(method: Method) -> None:
    """What the list says and more, and then the words of its file."""
    told = dict(zip(_COLUMNS, _cells(method), strict=True)) | {"settings": ""}
    output.card(
        [
            *((column, text) for column, text in told.items() if text),
            *(("own formula", f"counts {name}") for name in method.operators),
            ("defined in", method.place),
            *((f"  {name}", text) for name, text in _settings(method)),
        ]
    )
    output.prose(method.page)


def _cells(method: Method) -> list[str]:
    from ditbench.suite.template import written

    return [
        method.name,
        method.exactness,
        ", ".join(f"{one.name}={written(one.default)}" for one in method.settings),
        method.formula,
        method.cost,
        method.paper,
        method.needs,
        f"no: {method.broken or '; '.join(method.unavailable)}"
        if method.broken or method.unavailable
        else "yes",
    ]


def _settings(method: Method) -> Iterator[tuple[str, str]]:
    from ditbench.suite.template import written

    for one in method.settings:
        yield one.name, f"{one.takes}; {written(one.default)} if not given"
