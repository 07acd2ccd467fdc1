"""Suites of `kind: op`: the attention core by itself, on q, k and v of sizes that the suite gives.

Such a suite has no model, no steps and no pictures, and so none of the keys that speak of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ditbench.catalog import Catalog
from ditbench.records import Op, Sampling
from ditbench.suite import axes, plugins
from ditbench.suite.cursor import At
from ditbench.suite.kinds import Axis, Key, Keys, Switch, Table, Whole, Word

# So far beyond any model that more is a slip of the pen.
_MOST_TOKENS, _MOST = 2**24, 2**12

_SIZES: dict[str, Key] = {
    "tokens": Key(
        Whole(1, _MOST_TOKENS),
        "N: so many queries, keys and values",
        required=True,
        example="[256, 1024, 4096]",
    ),
    "heads": Key(Whole(1, _MOST), "of each sequence", default=12),
    "head_dim": Key(Whole(1, _MOST), "numbers of one head's query, key or value", default=64),
    "cache": Key(
        Word(("cold", "hot"), "state of the cache"),
        "cold: the last-level cache is flushed before each timed call; hot: calls follow each other",
        default="cold",
    ),
}


def keys(catalog: Catalog) -> Keys:
    """The axes of such a suite as a table."""
    return {
        "op": Key(
            Table(_sizes(catalog)), "sizes of q, k and v; each key is an axis", required=True
        ),
        "attention": axes.attention(catalog),
        "batch_size": Key(Axis(Whole(1)), "sequences in one call", default=1),
        "compile": Key(
            Axis(Switch()), "torch.compile, the whole core or not at all", default=False
        ),
    }


def condition() -> Table:
    """Sizes of which an exclusion or a claim speaks; those that are not given may be any."""
    return Table({name: replace(key, required=False, default=None) for name, key in _SIZES.items()})


def read(root: At, given: Mapping[str, At], catalog: Catalog) -> dict[str, Any]:
    """The fields of `Suite` that are axes, for those the file gives; each op is one block and one step."""
    kinds = {name: key.kind for name, key in keys(catalog).items() if name in given}
    found = {name: kind.read(given[name]) for name, kind in kinds.items() if name != "attention"}
    sizes = _defaults(catalog) | found.pop("op", {})
    spreads = (
        plugins.spreads(given["attention"], plugins.METHODS, catalog)
        if "attention" in given
        else []
    )
    found["attention"] = range(sum(spread.count for spread in spreads))
    if cause := axes.too_many({name: len(values) for name, values in (found | sizes).items()}):
        root.wrong(cause)
        return {}
    dtypes = sizes.pop("dtype")
    return {
        "models": tuple(
            Op(**dict(zip(sizes, values, strict=True))).choice
            for values in itertools.product(*sizes.values())
            if len(values) == len(_SIZES)  # else a mistake is noted already
        ),
        "attentions": plugins.unique(spreads),
        "samplings": tuple(Sampling(guidance_scale=1.0, dtype=dtype) for dtype in dtypes),
        "steps": (1,),
        "batch_sizes": found.get("batch_size", (1,)),
        "compiles": found.get("compile", (False,)),
    }


def _sizes(catalog: Catalog) -> Keys:
    dtype = Key(Word(catalog.dtypes, "dtype"), "of q, k and v", default=Sampling().dtype)
    rows = _SIZES | {"dtype": dtype}
    return {name: replace(key, kind=Axis(key.kind)) for name, key in rows.items()}


def _defaults(catalog: Catalog) -> dict[str, tuple[Any, ...]]:
    return {n: (key.default,) for n, key in _sizes(catalog).items() if key.default is not None}
