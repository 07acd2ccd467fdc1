"""What is measured, how often, and what a change must exceed: the parts of a suite without axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ditbench import scores
from ditbench.catalog import Catalog
from ditbench.jobs import Quality, Timeouts, Timing
from ditbench.metrics import LARGEST_BATCH, METRICS, NAMES, OF_AN_OP, ONCE, SHOWN, stage_of
from ditbench.records import Stage
from ditbench.suite.cursor import At
from ditbench.suite.judges import DataSet, Extractors
from ditbench.suite.kinds import (
    Key,
    Keys,
    Made,
    Number,
    Schema,
    Several,
    Share,
    Size,
    Table,
    Whole,
    Word,
    table,
    with_defaults,
)
from ditbench.suite.weights import VAE, vae
from ditbench.suite.yaml12 import Leaf

_DEFAULT = ("latency", "macs", "latent_drift")
_LEAST_SAMPLES = 2
# What a process with torch in it takes before it has computed anything.
_LEAST_MEMORY = 256 * 2**20

_SECONDS = Number(above=0)
_TIMEOUTS: Keys = {
    "gate": Key(_SECONDS, "seconds for the checks before any stopwatch"),
    "time": Key(_SECONDS, "seconds for one process of timed runs"),
    "quality": Key(_SECONDS, "seconds for judging one method's pictures"),
    "fit": Key(_SECONDS, "seconds for one trial of a largest batch"),
    "sample": Key(_SECONDS, "seconds for one shard of a method's pictures"),
}


@dataclass(frozen=True)
class Limits:
    """Seconds for every stage, or a mapping of seconds by stage."""

    def read(self, at: At) -> Timeouts | None:
        """A stage that is not given keeps its default."""
        if at.is_mapping:
            limits: Timeouts = Table(_TIMEOUTS, Timeouts).read(at)
            return limits
        seconds = _SECONDS.read(at)
        return None if seconds is None else Timeouts(*(seconds for _ in _TIMEOUTS))

    def schema(self) -> Schema:
        """Either."""
        return {"anyOf": [_SECONDS.schema(), table(_TIMEOUTS)]}


TIMING: Keys = {
    "warmup": Key(
        Whole(0),
        "runs of a process (whole samplings, calls of an op) that are thrown away, at least",
    ),
    "warmup_cap_s": Key(
        Number(0), "seconds in which a process may become steady before it is timed; 0: no waiting"
    ),
    "repeats": Key(Whole(1), "runs of a process that are kept, at least"),
    "precision": Key(
        Share(above=0),
        "half-width of the median's 95 % interval until which a process goes on; else exactly repeats",
        example="1%",
    ),
    "most_repeats": Key(
        Whole(1), "where a precision is given up; else at four times repeats", example="80"
    ),
    "cap_s": Key(Number(above=0), "seconds after which a precision is given up"),
    "processes": Key(Whole(1), "fresh processes of each cell: the unit of statistics"),
    "timeout_s": Key(
        Limits(), "seconds after which a process without an answer is ended; by stage as a mapping"
    ),
    "memory_limit": Key(
        Size(_LEAST_MEMORY),
        "what a process on the CPU may hold; else 80 % of what is available",
        example="4 GiB",
    ),
}
QUALITY: Keys = {
    "samples": Key(Whole(0), "pictures of each method; 0 for none, 2 at least for a judgement"),
    "reference": Key(
        Several(Word(("softmax", "dataset"), "reference")),
        "what pictures are compared with: softmax's own, or real ones",
    ),
    "micro_batch": Key(Whole(1), "pictures in one forward, whatever the batch that is timed"),
    "vae": Key(
        Made(vae, VAE),
        "makes pictures of latents: own (beside the weights), none, hub:owner/name, or a folder",
    ),
    "shard": Key(
        Whole(1), "pictures in one file, which a kill may cost; rounded up to whole micro-batches"
    ),
}


def quality(catalog: Catalog) -> Keys:
    """The keys of `quality`, with the networks that there are."""
    sound = [one.name for one in catalog.extractors.values() if not one.broken]
    return {
        **with_defaults(QUALITY, Quality()),
        "extractors": Key(
            Extractors(catalog.extractors),
            "networks in whose features distances are taken; else the one that suits the pictures",
            example=min(sound, key=len, default=""),
        ),
        "dataset": Key(
            DataSet(),
            "real pictures: statistics, a folder, a file, hub:owner/name; else an extractor's own",
            example="hub:ylecun/mnist",
        ),
    }


def _is_of_quality(name: str) -> bool:
    return stage_of(name) is Stage.QUALITY


def _default(*, can_judge: bool) -> tuple[str, ...]:
    return tuple(name for name in _DEFAULT if can_judge or not _is_of_quality(name))


@dataclass(frozen=True)
class Often(Table):
    """The keys of `timing`, of which some only mean something beside others."""

    def read(self, at: At) -> Timing:
        """As a Timing."""
        timing: Timing = super().read(at)
        if at.has("most_repeats") and not at.has("precision"):
            told = "most_repeats says where the way to a precision ends: set precision too"
            at.wrong(told, "most_repeats")
        if timing.most < timing.repeats:
            told = f"most_repeats {timing.most} is less than repeats {timing.repeats}"
            at.wrong(told, "most_repeats")
        return timing


@dataclass(frozen=True)
class Metrics:
    """A list of metrics.

    of_op: only those that an attention core by itself has. can_judge: whether there are pictures.
    finds_batch: whether a batch size is max.
    """

    of_op: bool = False
    can_judge: bool = True
    finds_batch: bool = True

    def read(self, at: At) -> tuple[str, ...]:
        """Each name once."""
        if not at.is_list:
            at.items()  # notes that it is no list
            return ()
        return at.axis(self._one)

    def _one(self, at: At) -> str | None:
        if isinstance(at.node, Leaf) and at.node.value == "fid":
            at.wrong("FID is written frechet, with inception under quality.extractors")
            return None
        name = at.word(NAMES, "metric")
        if name and name not in self._known:
            at.wrong(f"{name} is not measured of an op (those that are: {', '.join(self._known)})")
            return None
        if name and _is_of_quality(name) and not self.can_judge:
            at.wrong(f"{name} looks at pictures: set quality.samples, at least {_LEAST_SAMPLES}")
        if name == LARGEST_BATCH and not self.finds_batch:
            at.wrong(
                f"{name} is what a batch size of max finds: write batch_size: max, or [1, max]"
            )
        return name

    @property
    def _known(self) -> tuple[str, ...]:
        return OF_AN_OP if self.of_op else NAMES

    def schema(self) -> Schema:
        """A list of words, each with its summary."""
        said = {name: f"{row.summary} ({row.unit})" for name, row in METRICS.items()}
        said |= scores.WORDS
        words = [{"const": name, "description": said[name]} for name in self._known]
        return {"type": "array", "items": {"anyOf": words}, "minItems": 1, "uniqueItems": True}


# A count may only be equal, and what is derived changes with what it is derived from.
_WHY_NOT = {
    name: "it follows from another metric" if row.derived else "any change of it is told"
    for name, row in METRICS.items()
    if row.derived or row.better == "none" or (row.stage is Stage.GATE and name not in ONCE)
} | dict.fromkeys(SHOWN, "it is shown and never judged")
_GATED = tuple(name for name in NAMES if name not in _WHY_NOT)


@dataclass(frozen=True)
class Gate:
    """A share for some of the metrics. names: the metrics of the suite, none where not known yet."""

    names: tuple[str, ...] = ()

    def read(self, at: At) -> dict[str, float]:
        """Only metrics that are measured may be gated."""
        found = {}
        for name, share in at.fields(NAMES, "metric").items():
            if name not in _GATED:
                at.wrong(f"{name} takes no threshold: {_WHY_NOT[name]}", name)
            elif name not in self.names:
                at.wrong(f"{name} is gated but not among the metrics", name)
            found[name] = share.share()
        return {name: value for name, value in found.items() if value is not None}

    def schema(self) -> Schema:
        """A share under the name of any metric."""
        return table({name: Key(Share(), f"the least change of {name}") for name in _GATED})


_TIMING = Key(Often(with_defaults(TIMING, Timing()), Timing), "how often")
_GATE = Key(
    Gate(), "the least change that counts, in place of the usual, by metric", example="latency: 2%"
)
# A core by itself makes no pictures.
KEYS_OF_AN_OP: Keys = {
    "timing": _TIMING,
    "metrics": Key(Metrics(of_op=True), "what is reported", default=_default(can_judge=False)),
    "gate": _GATE,
}


def keys(catalog: Catalog, *, of_op: bool = False) -> Keys:
    """The rows of a suite for all this."""
    if of_op:
        return KEYS_OF_AN_OP
    return {
        "timing": _TIMING,
        "metrics": Key(
            Metrics(),
            "what is reported; where there are pictures, latent_drift without being asked",
            default=_default(can_judge=False),
        ),
        "quality": Key(Table(quality(catalog), Quality), "pictures, where a metric looks at them"),
        "gate": _GATE,
    }


def read(
    given: Mapping[str, At], catalog: Catalog, *, of_op: bool = False, finds_batch: bool = False
) -> dict[str, Any]:
    """The fields of `Suite` for timing, quality, metrics and gate.

    finds_batch: whether a batch size is `max`; what that finds is a metric without being named.
    """
    rows = keys(catalog, of_op=of_op)
    found = {
        name: rows[name].kind.read(given[name])
        for name in ("timing", "quality")
        if name in given and name in rows
    }
    can_judge = found.get("quality", Quality()).samples >= _LEAST_SAMPLES
    names = _default(can_judge=can_judge)
    if "metrics" in given:
        names = Metrics(of_op, can_judge, finds_batch).read(given["metrics"])
    if finds_batch:
        names = tuple(dict.fromkeys((*names, LARGEST_BATCH)))
    gate = Gate(names).read(given["gate"]) if "gate" in given else {}
    return found | {"metrics": names, "gate": gate}
