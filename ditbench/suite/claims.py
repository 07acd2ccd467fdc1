"""Published numbers as a suite names them, each with its one cell where shapes tell it all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ditbench.catalog import Catalog
from ditbench.metrics import COUNTS, ELSEWHERE, FORESEEN, LARGEST_BATCH, NAMES, SPEEDUP, claimable
from ditbench.records import LARGEST, Cell, Choice, Sampling
from ditbench.suite import plugins
from ditbench.suite.blocks import resolve_blocks
from ditbench.suite.conditions import OF_AN_OP, Named, conditions, named, where
from ditbench.suite.cursor import At
from ditbench.suite.kinds import Key, Keys, Made, Number, Share, Text, Word, read, table
from ditbench.suite.spec import Claim, Suite
from ditbench.suite.yaml12 import Leaf

# A value and how near to it is near enough.
_NEAR = ("value", "tolerance")
_ABOUT = (
    "attention",
    "accelerator",
    "model",
    "blocks",
    "batch_size",
    "steps",
    "guidance",
    "sampler",
    "guidance_channels",
)
_NAMES = (*NAMES, SPEEDUP, *ELSEWHERE)
_OF_SETS = r"^(s?fid|kid|[fk]d|precision|recall|(inception|class)_score)_\w+(@\w+)?$"
_METRIC = {
    "title": "a metric, `speedup`, or one that this suite cannot measure, as `fid_50k`",
    "anyOf": [{"enum": list(_NAMES)}, {"type": "string", "pattern": _OF_SETS}],
}


def claims(
    catalog: Catalog,
    own: Suite | None = None,
    shortened: tuple[str, ...] = (),
    *,
    of_op: bool = False,
) -> Made:
    """A published value of a metric, how near is near enough, and the cells it speaks of.

    own: the suite with its own axes, whose first values stand for what a claim does not name; None where
    they are not known. shortened: the keys of it that this run replaces.
    """
    about = {
        name: key
        for name, key in conditions(catalog, of_op=of_op).items()
        if of_op or name in _ABOUT
    }
    keys = {**_published(catalog, about), **about}
    exact = frozenset(name for name, method in catalog.methods.items() if method.exact)
    reader = _Reader(keys, own, shortened, exact)
    published = [{"required": ["value", "tolerance"]}, {"required": ["at_least"]}]
    return Made(reader.read, table(keys, oneOf=published))


def _published(catalog: Catalog, about: Keys) -> Keys:
    return {
        "metric": Key(Made(_metric, _METRIC), "which", required=True),
        "value": Key(Number(), "as published, in the metric's base unit; a ratio has none"),
        "tolerance": Key(Share(), "how near is near enough; stands with `value`"),
        "at_least": Key(Number(), "in place of both: a value to be reached, however far beyond"),
        "source": Key(Text(), "where it was published", required=True),
        "per": Key(
            Word(("step", "image", "block")), "a step of the sampler, an image, or one block's step"
        ),
        "against": Key(
            Made(
                lambda at: _against(at, catalog, about),
                {"anyOf": [plugins.METHOD, table(about, minProperties=1)]},
            ),
            "a method, or conditions: the value is the ratio to that cell, else equal",
        ),
        "on": Key(Text(), "a word of the device's name, where it was measured"),
        "needs": Key(Text(), "what it takes to measure it, where this suite cannot"),
    }


def _metric(at: At) -> str | None:
    name = at.node.value if isinstance(at.node, Leaf) else None
    return name if isinstance(name, str) and claimable(name) else at.word(_NAMES, "metric")


def _against(at: At, catalog: Catalog, about: Keys) -> dict[str, Any] | None:
    """`softmax`, `{monarch: {block_size: 8}}`, or `{attention: softmax, guidance: on}`."""
    if at.is_mapping and any(at.has(key) for key in about):
        return read(at, about)
    method = named(at, plugins.METHODS, catalog)
    return {"attention": method} if method else None


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads one claim and finds its cell."""

    keys: Keys
    own: Suite | None
    shortened: tuple[str, ...]
    exact: frozenset[str]

    def read(self, at: At) -> Claim | None:
        """None with the mistakes noted."""
        found = read(at, self.keys)
        about = {name: found.pop(name) for name in (*_ABOUT, *OF_AN_OP) if name in found}
        against = found.pop("against", {})
        _check_batch(at, found.get("metric"), about.get("batch_size"))
        found |= _published_in(at, found.pop("at_least", None))
        needed = {name for name, key in self.keys.items() if key.required}.union(_NEAR)
        if not needed <= found.keys():
            return None
        claim = Claim(**found, where=self._pinned(where(about)), against=where(against))
        if not is_counted(claim) or self.own is None:
            return claim
        cell = self._cell(at, about)
        other = self._cell(at, about | against) if against else None
        return dataclasses.replace(claim, cell=cell, other=other)

    def _pinned(self, told: dict[str, Any]) -> dict[str, Any]:
        """A claim speaks of the suite's own axes, and not of what this run puts in their place."""
        if self.own is None:
            return told
        replaced = {name.rpartition(".")[2] for name in self.shortened}
        if "guidance" in told:
            replaced -= {"guidance_scale"}
        if "model" in told:  # whose weights are no other model's
            replaced -= {"weights"}
        return {name: value for name, value in self._first().items() if name in replaced} | told

    def _first(self) -> dict[str, Any]:
        own = self.own
        assert own is not None  # noqa: S101 (callers have asked)
        return {
            "model": own.models[0].label,
            "attention": own.attentions[0].label,
            "accelerator": own.accelerators[0].label,
            "weights": own.weights[0],
            "blocks": own.blocks[0],
            "compile": own.compiles[0],
            "batch_size": own.batch_sizes[0],
            "steps": own.steps[0],
            **dataclasses.asdict(own.samplings[0]),
        }

    def _cell(self, at: At, about: Mapping[str, Any]) -> Cell | None:
        """The suite's first value for what is not named; random weights where the model is not its own."""
        own = self.own
        assert own is not None  # noqa: S101 (callers have asked)
        model = about.get("model", own.models[0])
        attention = _choice(about.get("attention"), own.attentions)
        label = "all" if attention.name in self.exact else about.get("blocks", own.blocks[0])
        try:
            blocks = resolve_blocks(label, int(model["depth"]))
        except ValueError as error:
            at.wrong(str(error), "blocks")
            return None
        given = (size for size in own.batch_sizes if size != LARGEST)
        return Cell(
            model=model,
            attention=attention,
            weights=own.weights[0] if model in own.models else "random",
            blocks=blocks,
            blocks_label=label,
            compile=own.compiles[0],
            batch_size=about.get("batch_size") or next(given, 1),
            steps=about.get("steps", own.steps[0]),
            sampling=_sampling(about, own.samplings),
            accelerator=_choice(about.get("accelerator"), own.accelerators),
            shown=own.shown(model),
        )


def _published_in(at: At, floor: float | None) -> dict[str, Any]:
    """What stands for `at_least`; its mistakes, or those of the two keys in its place, are noted."""
    if not at.has("at_least"):
        for key in _NEAR if at.is_mapping else ():
            if not at.has(key):
                at.wrong(f"{key!r} is missing")
        return {}
    for key in _NEAR:
        if at.has(key):
            at.wrong(f"{key} and at_least: give one of them", key)
    return {} if floor is None else {"value": floor, "tolerance": 0.0, "at_least": True}


def is_counted(claim: Claim) -> bool:
    """Whether it may follow from shapes and steps alone, so that no network need run."""
    return claim.metric in COUNTS | FORESEEN and not claim.needs


def _choice(named: Named | None, own: tuple[Choice, ...]) -> Choice:
    """The plug-in as named; the suite's first that has the settings given, or else with its defaults."""
    if named is None:
        return own[0]
    alike = (
        one
        for one in own
        if one.name == named.choice.name and named.given.items() <= dict(one.settings).items()
    )
    return next(alike, named.choice)


def _sampling(about: Mapping[str, Any], own: tuple[Sampling, ...]) -> Sampling:
    """The first with guidance or without, as asked, by the sampler that is asked for."""
    guided, sampler = about.get("guidance"), about.get("sampler")
    fits = [one for one in own if guided is None or (one.guidance_scale > 1) == guided]
    scale = Sampling().guidance_scale if guided else 1.0
    alike = [one for one in fits if sampler is None or one.sampler == sampler]
    first = (alike or fits or [dataclasses.replace(own[0], guidance_scale=scale)])[0]
    return dataclasses.replace(first, sampler=sampler or first.sampler)


def _check_batch(at: At, metric: str | None, batch_size: int | None) -> None:
    """A batch that is given has no largest, and one that is asked for has nothing else."""
    if metric is None or batch_size is None:
        return
    if metric == LARGEST_BATCH and batch_size != LARGEST:
        at.wrong(f"{metric} is found where batch_size is max, not {batch_size}", "batch_size")
    if metric != LARGEST_BATCH and batch_size == LARGEST:
        at.wrong(f"of batch_size: max only {LARGEST_BATCH} is known, not {metric}", "metric")
