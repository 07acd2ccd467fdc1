"""The parts of a suite that speak about some of its cells: exclusions and published claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ditbench.catalog import Catalog
from ditbench.metrics import LARGEST_BATCH, METRICS
from ditbench.records import LARGEST, Scalar
from ditbench.suite import ops, plugins
from ditbench.suite.blocks import SELECTION
from ditbench.suite.cursor import At
from ditbench.suite.kinds import (
    Batch,
    Key,
    Keys,
    Made,
    Number,
    Share,
    Switch,
    Text,
    Whole,
    Word,
    kind_of,
    read,
    table,
)
from ditbench.suite.spec import Claim, Exclusion
from ditbench.suite.yaml12 import Fields

# Of the conditions on cells, those that an attention core by itself can meet.
_OF_AN_OP = ("attention", "op", "batch_size", "compile", "dtype")
_OF_A_CLAIM = ("attention", "model", "blocks", "batch_size", "steps", "guidance")
_BECAUSE: Keys = {"because": Key(Text(), "why, for the report", required=True)}
_PUBLISHED: Keys = {
    "metric": Key(Word(tuple(METRICS), "metric"), "which", required=True),
    "value": Key(Number(), "as published, in the metric's base unit", required=True),
    "tolerance": Key(Share(), "how near is near enough", required=True),
    "source": Key(Text(), "where it was published", required=True),
    "per": Key(Word(("step", "image")), "a step of the sampler, or an image"),
    "on": Key(Text(), "a word of the device's name, where it was measured"),
    "needs": Key(Text(), "what it takes to measure it, where this suite cannot"),
}


def exclusions(catalog: Catalog, *, of_op: bool = False) -> Made:
    """`{<axis>: <value>, because: <why>}`: the cells where all conditions hold shall not run."""
    every = _conditions(catalog, of_op=of_op)
    conditions = {k: key for k, key in every.items() if k != "guidance"}
    keys = {**conditions, **_BECAUSE}
    return Made(lambda at: _exclusion(at, keys), table(keys, minProperties=2))


def claims(catalog: Catalog, *, of_op: bool = False) -> Made:
    """A published value of a metric, how near is near enough, and the cells it speaks of."""
    conditions = _conditions(catalog, of_op=of_op)
    named = _OF_AN_OP if of_op else _OF_A_CLAIM
    keys = {**_PUBLISHED, **{name: conditions[name] for name in named}}
    return Made(lambda at: _claim(at, keys), table(keys))


def _exclusion(at: At, keys: Keys) -> Exclusion | None:
    found = read(at, keys)
    if isinstance(at.node, Fields) and not at.node.fields.keys() - _BECAUSE.keys():
        at.wrong("no condition: this would exclude every cell")
    because = found.pop("because", None)
    return Exclusion(_where(found), because, str(at.node.mark)) if because else None


def _claim(at: At, keys: Keys) -> Claim | None:
    found = read(at, keys)
    told = {name: found.pop(name) for name in _PUBLISHED if name in found}
    _check_batch(at, told.get("metric"), found.get("batch_size"))
    complete = all(name in told for name, key in _PUBLISHED.items() if key.required)
    return Claim(**told, where=_where(found)) if complete else None


def _check_batch(at: At, metric: str | None, batch_size: int | None) -> None:
    """A batch that is given has no largest, and one that is asked for has nothing else."""
    if metric is None or batch_size is None:
        return
    if metric == LARGEST_BATCH and batch_size != LARGEST:
        at.wrong(f"{metric} is found where batch_size is max, not {batch_size}", "batch_size")
    if metric != LARGEST_BATCH and batch_size == LARGEST:
        at.wrong(f"of batch_size: max only {LARGEST_BATCH} is known, not {metric}", "metric")


def _where(found: Mapping[str, Any]) -> Mapping[str, Scalar]:
    """Conditions as `holds` wants them: a method's settings stand beside its name."""
    plain = {name: value for name, value in found.items() if name not in {"attention", "op"}}
    sizes = {f"model.{name}": value for name, value in found.get("op", {}).items()}
    return {**plain, **sizes, **found.get("attention", {})}


def _conditions(catalog: Catalog, *, of_op: bool) -> Keys:
    every: Keys = {
        "op": Key(ops.condition(), "all or some sizes of an op"),
        "attention": Key(
            Made(lambda at: _attention(at, catalog), plugins.METHOD),
            "a method, all or some settings",
        ),
        "model": Key(Made(lambda at: _label(at, catalog), plugins.MODEL), "a model"),
        "weights": Key(Text(), "as the axis says them"),
        "blocks": Key(Made(At.selection, SELECTION), "a selection of the same blocks"),
        "compile": Key(Switch(), "compiled or not"),
        "guidance": Key(Switch(), "whether guidance_scale is above 1"),
        "batch_size": Key(Batch(), "pictures made at once, or max"),
        "steps": Key(Whole(1), "of the sampler"),
        "sampler": Key(Word(catalog.samplers, "sampler"), "the rule of a step"),
        "guidance_scale": Key(Number(1), "exactly this one"),
        "dtype": Key(Word(catalog.dtypes, "dtype"), "of weights and activations"),
        "seed": Key(Whole(0), "exactly this one"),
    }
    names = _OF_AN_OP if of_op else every.keys() - {"op"}
    return {name: key for name, key in every.items() if name in names}


def _label(at: At, catalog: Catalog) -> str | None:
    model = plugins.model(at, catalog)
    return model.label if model else None


def _attention(at: At, catalog: Catalog) -> dict[str, Scalar]:
    named = plugins.named_method(at, catalog)
    if named is None:
        return {}
    method, given = named
    read = {
        f"attention.{setting.name}": kind_of(setting).read(given[setting.name])
        for setting in method.settings
        if setting.name in given
    }
    settings = {key: value for key, value in read.items() if value is not None}
    return {"attention": method.name, **settings}
