"""The parts of a suite that speak about some of its cells: exclusions and published claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ditbench.catalog import Catalog
from ditbench.metrics import METRICS
from ditbench.records import Scalar
from ditbench.suite import plugins
from ditbench.suite.cursor import At
from ditbench.suite.spec import Claim, Exclusion

_CLAIM = ("attention", "model", "blocks", "batch_size", "steps", "guidance")
_EXCLUSION = (
    "attention",
    "model",
    "weights",
    "blocks",
    "compile",
    "batch_size",
    "steps",
    "sampler",
    "guidance_scale",
    "dtype",
    "seed",
)


def exclusion(at: At, catalog: Catalog) -> Exclusion | None:
    """`{<axis>: <value>, because: <why>}`: the cells where all conditions hold shall not run."""
    given = at.fields((*_EXCLUSION, "because"))
    at.require(given, "because")
    if given and not given.keys() - {"because"}:
        at.wrong("no condition: this would exclude every cell")
    where = _where(given, catalog)
    because = given["because"].text() if "because" in given else None
    return Exclusion(where, because, str(at.node.mark)) if because else None


def claim(at: At, catalog: Catalog) -> Claim | None:
    """A published value of a metric, how near is near enough, and the cells it speaks of."""
    readers: dict[str, Callable[[At], Any]] = {
        "metric": lambda field: field.word(METRICS, "metric"),
        "value": At.number,
        "tolerance": At.share,
        "source": At.text,
        "per": lambda field: field.word(("step", "image"), "value"),
    }
    given = at.fields((*readers, *_CLAIM))
    at.require(given, "metric", "value", "tolerance", "source")
    where = _where(given, catalog)
    read = {key: readers[key](given[key]) for key in readers if key in given}
    complete = {"metric", "value", "tolerance", "source"} <= read.keys()
    return Claim(**read, where=where) if complete and None not in read.values() else None


def _where(given: Mapping[str, At], catalog: Catalog) -> Mapping[str, Scalar]:
    found: dict[str, Scalar] = {}
    readers = _readers(catalog)
    for key, at in given.items():
        if key == "attention":
            found |= _attention(at, catalog)
        elif key in readers and (value := readers[key](at)) is not None:
            found[key] = value
    return found


def _readers(catalog: Catalog) -> Mapping[str, Callable[[At], Scalar | None]]:
    return {
        "model": lambda at: _label(at, catalog),
        "weights": At.text,
        "blocks": At.selection,
        "compile": At.switch,
        "guidance": At.switch,
        "batch_size": lambda at: at.integer(1),
        "steps": lambda at: at.integer(1),
        "sampler": lambda at: at.word(catalog.samplers, "sampler"),
        "guidance_scale": lambda at: at.number(1),
        "dtype": lambda at: at.word(catalog.dtypes, "dtype"),
        "seed": lambda at: at.integer(0),
    }


def _label(at: At, catalog: Catalog) -> str | None:
    model = plugins.model(at, catalog)
    return model.label if model else None


def _attention(at: At, catalog: Catalog) -> dict[str, Scalar]:
    named = plugins.named_method(at, catalog)
    if named is None:
        return {}
    method, given = named
    read = {
        f"attention.{setting.name}": given[setting.name].setting(setting)
        for setting in method.settings
        if setting.name in given
    }
    settings = {key: value for key, value in read.items() if value is not None}
    return {"attention": method.name, **settings}
