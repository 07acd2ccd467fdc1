"""The verbs that say what there is: methods, accelerators, extractors. None imports torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ditbench import errors
from ditbench.cli import completion, output, preparing
from ditbench.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ditbench.catalog import Accelerator, Catalog, Extractor, Method

_Plugin = TypeVar("_Plugin", bound="Method | Accelerator | Extractor")
_COLUMNS = ("name", "exact", "settings", "formula", "cost", "paper", "needs", "runs here")
_OF_ACCELERATORS = ("name", "skips", "settings", "paper", "needs", "runs here")
_OF_EXTRACTORS = ("name", "gives", "settings", "paper", "weights", "opens here")


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command("methods")(methods)
    app.command("accelerators")(accelerators)
    app.command("extractors")(extractors)


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
    chosen = _chosen(catalog, "attention method", catalog.methods, name)
    if json:
        return output.as_json([dataclasses.asdict(method) for method in chosen])
    if name:
        show_one(chosen[0])
    else:
        show_all(chosen)
    return errors.OK


def accelerators(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="All about this one: its settings, and its page.",
            autocompletion=completion.accelerators,
        ),
    ] = "",
    json: Json = False,
) -> int:
    """List the accelerators, which go around the attention: what each skips, settings, paper, needs."""
    catalog = preparing.catalog(accelerators=[name])
    chosen = _chosen(catalog, "accelerator", catalog.accelerators, name)
    if json:
        return output.as_json([dataclasses.asdict(accelerator) for accelerator in chosen])
    cells = [_of_accelerator(accelerator) for accelerator in chosen]
    if name:
        _page(chosen[0], zip(_OF_ACCELERATORS, cells[0], strict=True))
    else:
        output.cards("accelerators", _OF_ACCELERATORS, cells)
    return errors.OK


def extractors(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="All about this one: its settings, and its page.",
            autocompletion=completion.extractors,
        ),
    ] = "",
    json: Json = False,
) -> int:
    """List the networks that judge pictures: what each gives, and where its weights come from."""
    catalog = preparing.catalog(extractors=[name])
    chosen = _chosen(catalog, "extractor", catalog.extractors, name)
    if json:
        return output.as_json([dataclasses.asdict(extractor) for extractor in chosen])
    if not name:
        cells = [_of_extractor(extractor) for extractor in chosen]
        output.cards("extractors", _OF_EXTRACTORS, cells)
        return errors.OK
    headless = [("no classes", chosen[0].headless)] if chosen[0].headless else []
    _page(chosen[0], zip(_OF_EXTRACTORS, _of_extractor(chosen[0]), strict=True), headless)
    return errors.OK


def _page(
    plugin: _Plugin, told: Iterable[tuple[str, str]], more: Iterable[tuple[str, str]] = ()
) -> None:
    """What the list says and more, and then the words of its file."""
    output.card(
        [
            *((column, text) for column, text in told if text and column != "settings"),
            *more,
            ("defined in", plugin.place),
            *((f"  {name}", text) for name, text in _settings(plugin)),
        ]
    )
    output.prose(plugin.page)


def _chosen(catalog: Catalog, kind: str, found: Mapping[str, _Plugin], name: str) -> list[_Plugin]:
    """That one, or all. Raises UsageError with the nearest name."""
    if name and name not in found:
        from ditbench.registry import did_you_mean

        unknown = f"unknown {kind} {name!r}{did_you_mean(name, found)}"
        raise errors.UsageError(catalog.nowhere.get(name, unknown))
    return [found[name]] if name else list(found.values())


def _of_accelerator(accelerator: Accelerator) -> list[str]:
    return [
        accelerator.name,
        accelerator.skips,
        _defaults(accelerator),
        accelerator.paper,
        accelerator.needs,
        _here(accelerator),
    ]


def _of_extractor(extractor: Extractor) -> list[str]:
    given = [f"{extractor.dim} features"] if extractor.dim else []
    given += [f"{extractor.spatial} for sFID"] if extractor.spatial else []
    given += [] if extractor.headless or extractor.broken else ["classes"]
    return [
        extractor.name,
        "a distance of two pictures" if extractor.pairs else ", ".join(given),
        _defaults(extractor),
        extractor.paper,
        extractor.needs or ("" if extractor.broken else "they ship"),
        _here(extractor),
    ]


def show_all(methods: Iterable[Method]) -> None:
    """A card a method on a terminal, a line a method elsewhere."""
    output.cards("attention methods", _COLUMNS, [_cells(method) for method in methods])


def show_one(method: Method) -> None:
    """What the list says and more, and then the words of its file."""
    counted = [("own formula", f"counts {name}") for name in method.operators]
    _page(method, zip(_COLUMNS, _cells(method), strict=True), counted)


def _cells(method: Method) -> list[str]:
    return [
        method.name,
        method.exactness,
        _defaults(method),
        method.formula,
        method.cost,
        method.paper,
        method.needs,
        _here(method),
    ]


def _here(plugin: _Plugin) -> str:
    why = plugin.broken or "; ".join(plugin.unavailable)
    return f"no: {why}" if why else "yes"


def _defaults(plugin: _Plugin) -> str:
    from ditbench.suite.template import written

    return ", ".join(f"{one.name}={written(one.default)}" for one in plugin.settings)


def _settings(plugin: _Plugin) -> Iterator[tuple[str, str]]:
    from ditbench.suite.template import written

    for one in plugin.settings:
        yield one.name, f"{one.takes}; {written(one.default)} if not given"
