"""The axes of a suite: read, counted as a product, and only then expanded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

from ditbench.catalog import Catalog
from ditbench.records import Sampling, Scalar
from ditbench.suite import plugins
from ditbench.suite.blocks import MOST_BLOCKS
from ditbench.suite.cursor import At
from ditbench.suite.weights import weights

MOST_CELLS = 100_000
# The noise schedules have so many timesteps, and no step can stand between two.
MOST_STEPS = 1000

# Axes of the file to fields of `Suite`.
_FIELDS = {
    "model": "models",
    "weights": "weights",
    "blocks": "blocks",
    "batch_size": "batch_sizes",
    "steps": "steps",
    "compile": "compiles",
}

_Axes = dict[str, tuple[Any, ...]]


def read(root: At, given: Mapping[str, At], catalog: Catalog) -> dict[str, Any]:
    """The fields of `Suite` that are axes, for those the file gives."""
    axes = _plain(given, catalog)
    sampling = _sampling(given["sampling"], catalog) if "sampling" in given else {}
    spreads = plugins.spreads(given["attention"], catalog) if "attention" in given else []
    sizes = {
        "attention": sum(spread.count for spread in spreads),
        **{key: len(values) for key, values in (axes | sampling).items()},
    }
    fields: dict[str, Any] = {_FIELDS[key]: values for key, values in axes.items()}
    if cause := _too_many(sizes):
        root.wrong(cause)
        return fields
    samplings = [
        Sampling(**dict(zip(sampling, values, strict=True)))
        for values in itertools.product(*sampling.values())
    ]
    return fields | {"attentions": plugins.unique(spreads), "samplings": tuple(samplings)}


def _plain(given: Mapping[str, At], catalog: Catalog) -> _Axes:
    axes: _Axes = {}
    if "model" in given:
        axes["model"] = given["model"].axis(lambda at: plugins.model(at, catalog))
    models = axes.get("model", ())
    depths = sorted({int(model["depth"]) for model in models}) or [MOST_BLOCKS]
    readers: dict[str, Callable[[At], Scalar | None]] = {
        "weights": lambda at: weights(at, models, catalog),
        "blocks": lambda at: at.selection(depths),
        "batch_size": lambda at: at.integer(1),
        "steps": lambda at: at.integer(1, MOST_STEPS),
        "compile": At.switch,
    }
    return axes | {key: given[key].axis(reader) for key, reader in readers.items() if key in given}


def _sampling(at: At, catalog: Catalog) -> _Axes:
    readers: dict[str, Callable[[At], Scalar | None]] = {
        "sampler": lambda field: field.word(catalog.samplers, "sampler"),
        "guidance_scale": lambda field: field.number(1),
        "dtype": lambda field: field.word(catalog.dtypes, "dtype"),
        "seed": lambda field: field.integer(0),
    }
    given = at.fields(readers)
    return {key: field.axis(readers[key]) for key, field in given.items()}


def _too_many(sizes: Mapping[str, int]) -> str:
    """Why this matrix is too big, or nothing. An axis with a mistake counts as one value."""
    counted = {key: size for key, size in sizes.items() if size > 1}
    cells = math.prod(counted.values())
    if cells <= MOST_CELLS:
        return ""
    product = " x ".join(f"{size:,}" for size in counted.values())
    return f"{' x '.join(counted)}: {product} = {cells:,} cells; at most {MOST_CELLS:,}"
