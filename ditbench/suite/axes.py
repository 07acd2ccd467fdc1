"""The axes of a suite: read, counted as a product, and only then expanded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ditbench.catalog import Catalog
from ditbench.records import UNACCELERATED, Choice, Sampling
from ditbench.suite import plugins
from ditbench.suite.blocks import MOST_BLOCKS, SELECTION
from ditbench.suite.cursor import At
from ditbench.suite.kinds import (
    Axis,
    Batch,
    Channels,
    Key,
    Keys,
    Made,
    Number,
    Switch,
    Table,
    Whole,
    Word,
    with_defaults,
)
from ditbench.suite.spec import Suite
from ditbench.suite.weights import WEIGHTS, weights

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
_PLAIN = _FIELDS.keys() - {"model"}
# Axes of plug-ins whose settings are axes too.
PLUGINS = {"attention": plugins.METHODS, "accelerator": plugins.ACCELERATORS}
_SPREADS = {"attention": "attentions", "accelerator": "accelerators"}

_Axes = dict[str, tuple[Any, ...]]


def keys(catalog: Catalog, models: Sequence[Choice] = ()) -> Keys:
    """The axes as a table. models: the ones that weights and blocks must fit; none where not known yet."""
    depths = sorted({int(model["depth"]) for model in models}) or [MOST_BLOCKS]
    table: Keys = {
        "model": Key(
            Axis(Made(lambda at: plugins.model(at, catalog), plugins.MODEL)),
            "a registered name, or {name: dit, hidden: 192, depth: 6, heads: 6}",
            required=True,
        ),
        "weights": Key(
            Axis(Made(lambda at: weights(at, models, catalog), WEIGHTS)),
            "random, embedded, hub, hub:owner/name@revision, or a folder",
        ),
        "attention": attention(catalog),
        "accelerator": Key(
            Axis(
                Made(
                    lambda at: plugins.spread(at, plugins.ACCELERATORS, catalog),
                    plugins.AXIS_OF_ACCELERATORS,
                )
            ),
            "what skips parts of the network around the attention, or none; its settings are axes too",
        ),
        "blocks": Key(
            Axis(Made(lambda at: at.selection(depths), SELECTION)),
            'all, first-half, second-half, 5, 0-3, "0,1,5"; numbered from 0; the others run sdpa',
        ),
        "batch_size": Key(
            Axis(Batch()), "pictures that are made at once; max finds out how many fit"
        ),
        "steps": Key(Axis(Whole(1, MOST_STEPS)), "of the sampler"),
        "compile": Key(Axis(Switch()), "torch.compile, the whole forward or not at all"),
        "sampling": Key(Table(_sampling(catalog)), "how pictures are made; each key is an axis"),
    }
    # As attributes of the class, the fields of a dataclass are their defaults.
    firsts = {name: getattr(Suite, field, (None,))[0] for name, field in _FIELDS.items()}
    firsts["accelerator"] = UNACCELERATED.name
    return {name: replace(key, default=firsts.get(name)) for name, key in table.items()}


def attention(catalog: Catalog) -> Key:
    """The axis of methods."""
    return Key(
        Axis(
            Made(lambda at: plugins.spread(at, plugins.METHODS, catalog), plugins.AXIS_OF_METHODS)
        ),
        "a method, or a method with settings, each of which is an axis too",
        required=True,
    )


def _sampling(catalog: Catalog) -> Keys:
    keys: Keys = {
        "sampler": Key(Axis(Word(catalog.samplers, "sampler")), "the rule of a step"),
        "guidance_scale": Key(Axis(Number(1)), "above 1 every forward has twice the rows"),
        "guidance_channels": Key(
            Axis(Channels()), "guidance acts on all, or on so many of the first (DiT's own code: 3)"
        ),
        "dtype": Key(Axis(Word(catalog.dtypes, "dtype")), "of weights and activations"),
        "seed": Key(Axis(Whole(0)), "noise and label of sample i follow from the seed and i"),
    }
    told = with_defaults(keys, Sampling())
    return {**told, "guidance_channels": replace(told["guidance_channels"], default="all")}


def read(root: At, given: Mapping[str, At], catalog: Catalog) -> dict[str, Any]:
    """The fields of `Suite` that are axes, for those the file gives."""
    models = keys(catalog)["model"].kind.read(given["model"]) if "model" in given else ()
    kinds = {name: key.kind for name, key in keys(catalog, models).items()}
    values = {name: kinds[name].read(at) for name, at in given.items() if name in _PLAIN}
    axes: _Axes = ({"model": models} if "model" in given else {}) | values
    sampling = kinds["sampling"].read(given["sampling"]) if "sampling" in given else {}
    spreads = {
        name: plugins.spreads(given[name], kind, catalog)
        for name, kind in PLUGINS.items()
        if name in given
    }
    sizes = {
        **{name: sum(spread.count for spread in found) for name, found in spreads.items()},
        **{key: len(values) for key, values in (axes | sampling).items()},
    }
    fields: dict[str, Any] = {_FIELDS[key]: values for key, values in axes.items()}
    if cause := too_many(sizes):
        root.wrong(cause)
        return fields
    samplings = [
        Sampling(**dict(zip(sampling, values, strict=True)))
        for values in itertools.product(*sampling.values())
    ]
    chosen = {_SPREADS[name]: plugins.unique(found) for name, found in spreads.items()}
    return {"attentions": ()} | fields | chosen | {"samplings": tuple(samplings)}


def too_many(sizes: Mapping[str, int]) -> str:
    """Why this matrix is too big, or nothing. An axis with a mistake counts as one value."""
    counted = {key: size for key, size in sizes.items() if size > 1}
    cells = math.prod(counted.values())
    if cells <= MOST_CELLS:
        return ""
    product = " x ".join(f"{size:,}" for size in counted.values())
    return f"{' x '.join(counted)}: {product} = {cells:,} cells; at most {MOST_CELLS:,}"
