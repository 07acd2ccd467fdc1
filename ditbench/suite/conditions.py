"""Conditions on cells, and the cells that a suite leaves out by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ditbench.catalog import Catalog
from ditbench.records import Choice, Scalar
from ditbench.suite import ops, plugins
from ditbench.suite.blocks import SELECTION
from ditbench.suite.cursor import At
from ditbench.suite.kinds import (
    Batch,
    Channels,
    Key,
    Keys,
    Made,
    Number,
    Switch,
    Text,
    Whole,
    Word,
    read,
    table,
)
from ditbench.suite.spec import Exclusion
from ditbench.suite.yaml12 import Fields

# Of the conditions on cells, those that an attention core by itself can meet.
OF_AN_OP = ("attention", "op", "batch_size", "compile", "dtype")
# Axes of plug-ins, of which a condition may name some settings.
_SPREAD = {"attention", "accelerator"}
_BECAUSE: Keys = {"because": Key(Text(), "why, for the report", required=True)}


@dataclass(frozen=True)
class Named:
    """A plug-in with all or some of its settings. given: by name; choice: with defaults for the others."""

    choice: Choice
    given: Mapping[str, Scalar]


def exclusions(catalog: Catalog, *, of_op: bool = False) -> Made:
    """`{<axis>: <value>, because: <why>}`: the cells where all conditions hold shall not run."""
    every = conditions(catalog, of_op=of_op)
    told = {k: key for k, key in every.items() if k != "guidance"}
    keys = {**told, **_BECAUSE}
    return Made(lambda at: _exclusion(at, keys), table(keys, minProperties=2))


def _exclusion(at: At, keys: Keys) -> Exclusion | None:
    found = read(at, keys)
    if isinstance(at.node, Fields) and not at.node.fields.keys() - _BECAUSE.keys():
        at.wrong("no condition: this would exclude every cell")
    because = found.pop("because", None)
    return Exclusion(where(found), because, str(at.node.mark)) if because else None


def where(found: Mapping[str, Any]) -> dict[str, Scalar]:
    """What was read, as `holds` wants it: a model by its label, settings and sizes beside their names."""
    composed = {*_SPREAD, "model", "op"}
    plain = {name: value for name, value in found.items() if name not in composed}
    plain |= {f"model.{name}": value for name, value in found.get("op", {}).items()}
    if model := found.get("model"):
        plain["model"] = model.label
    for axis in _SPREAD & found.keys():
        plain[axis] = found[axis].choice.name
        plain |= {f"{axis}.{name}": value for name, value in found[axis].given.items()}
    return plain


def conditions(catalog: Catalog, *, of_op: bool = False) -> Keys:
    """Every condition on a cell of a model, or of an op."""
    every: Keys = {
        "op": Key(ops.condition(), "all or some sizes of an op"),
        "attention": Key(
            Made(lambda at: named(at, plugins.METHODS, catalog), plugins.METHOD),
            "a method, all or some settings",
        ),
        "accelerator": Key(
            Made(lambda at: named(at, plugins.ACCELERATORS, catalog), plugins.ACCELERATOR),
            "an accelerator, all or some settings, or none",
        ),
        "model": Key(Made(lambda at: plugins.model(at, catalog), plugins.MODEL), "a model"),
        "weights": Key(Text(), "as the axis says them"),
        "blocks": Key(Made(At.selection, SELECTION), "a selection of the same blocks"),
        "compile": Key(Switch(), "compiled or not"),
        "guidance": Key(Switch(), "whether guidance_scale is above 1"),
        "batch_size": Key(Batch(), "pictures made at once, or max"),
        "steps": Key(Whole(1), "of the sampler"),
        "sampler": Key(Word(catalog.samplers, "sampler"), "the rule of a step"),
        "guidance_scale": Key(Number(1), "exactly this one"),
        "guidance_channels": Key(Channels(), "all, or so many of the first"),
        "dtype": Key(Word(catalog.dtypes, "dtype"), "of weights and activations"),
        "seed": Key(Whole(0), "exactly this one"),
    }
    names = OF_AN_OP if of_op else every.keys() - {"op"}
    return {name: key for name, key in every.items() if name in names}


def named(at: At, offer: plugins.Offer, catalog: Catalog) -> Named | None:
    """A plug-in as a condition names it."""
    found = plugins.named_plugin(at, offer, catalog)
    if found is None:
        return None
    plugin, given = found
    read = {
        setting.name: plugins.value(given[setting.name], setting, catalog)
        for setting in plugin.settings
        if setting.name in given
    }
    told = {name: value for name, value in read.items() if value is not None}
    values = (told.get(setting.name, setting.default) for setting in plugin.settings)
    return Named(plugins.choice(plugin.name, plugin.settings, values), told)
