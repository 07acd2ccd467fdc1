"""All that a run found out about one cell, merged from the records of its stages."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from ditbench import machine, scores, stats
from ditbench.metrics import COUNTS, LARGEST_BATCH, METRICS, NAMES, TAILS, stage_of, word_of
from ditbench.records import Cell, Record, Stage, Status, Values
from ditbench.stats import Interval
from ditbench.store import Run
from ditbench.summary.rows import Estimate, Fit

# Status lists the kinds of not-ok from the mildest to the worst.
_SEVERITY = {status: rank for rank, status in enumerate(Status)}
# A 95 % interval from a standard error.
_ERRORS = 1.96
# Figures that follow from others of the same row: no metric of their own to compare.
DERIVED = frozenset(
    {name for name, row in METRICS.items() if row.derived}
    | {"macs_per_image"}
    | {tail for tail, _ in TAILS.values()}
)


@dataclass(frozen=True)
class Asked:
    """What a run asks of every cell that runs. processes: timed ones, 0 for none."""

    processes: int
    pictures: bool

    @classmethod
    def of(cls, run: Run) -> Asked:
        """As the run's head tells it; a run of schema 1 shows by its records whether it was timed."""
        known = (name for name in run.effort.get("metrics", ()) if name in NAMES)
        stages = {stage_of(name) for name in known}
        timed = Stage.TIME in stages or any(one.stage is Stage.TIME for one in run.records)
        processes = run.effort.get("timing", {}).get("processes", 1)
        samples = run.effort.get("quality", {}).get("samples", 0)
        return cls(processes if timed else 0, Stage.QUALITY in stages and samples > 0)


@dataclass(frozen=True)
class Evidence:
    """One cell and its records: `own` by its key, `shared` by its pictures' key."""

    cell: Cell
    own: tuple[Record, ...]
    shared: tuple[Record, ...]

    @cached_property
    def worst(self) -> Record | None:
        """The record that makes the cell not ok; the first of the worst kind."""
        failed = [
            one
            for one in (*self.own, *self.shared)
            if one.status is not Status.OK and not _is_unjudged(one)
        ]
        return max(failed, key=lambda one: _SEVERITY[one.status], default=None)

    @property
    def unjudged(self) -> str:
        """Why its pictures were not judged, where that is no fault of its own; its times stand."""
        return next((one.reason for one in self.shared if _is_unjudged(one)), "")

    @property
    def status(self) -> Status:
        """The worst of all stages; a planned cell of which nothing is known was not run."""
        if not self.own:
            return Status.NOT_RUN
        return self.worst.status if self.worst else Status.OK

    @property
    def reason(self) -> str:
        """Why the cell is not ok, and who found it out."""
        if not self.own:
            return "no record: the run ended before its turn, or its lines are lost"
        if self.worst is None:
            return ""
        if self.worst.stage.of_pictures:
            return f"pictures: {self.worst.reason}"
        if self.worst.stage is not Stage.TIME:
            return self.worst.reason
        skipped = self.worst.facts.get("replicates_skipped", 0)
        more = f" ({skipped} more not started)" if skipped else ""
        return f"process {self.worst.replicate + 1}: {self.worst.reason}{more}"

    def lacks(self, asked: Asked) -> str:
        """What the run asked of this cell and has no record of, though the cell is ok; empty for nothing."""
        if self.status is not Status.OK:
            return ""
        if self.cell.finds_batch:
            return "" if self.fit else "its largest batch was not searched"
        timed = len(self.samples("latency"))
        missed = f"{timed} of {asked.processes} processes timed" if timed else "not timed"
        parts = (
            missed if timed < asked.processes else "",
            self._unpictured if asked.pictures else "",
        )
        return ", ".join(part for part in parts if part)

    @property
    def _unpictured(self) -> str:
        """What of its pictures was not come to."""
        stages = {one.stage for one in self.shared}
        if Stage.QUALITY in stages:
            return ""
        return "pictures made and not judged" if stages else "no pictures made"

    @property
    def recorded(self) -> bool:
        """Whether anything at all is known of it."""
        return bool(self.own)

    @cached_property
    def gate(self) -> Record | None:
        """The gate's record, whatever came of it; of a cell that was only counted, the count's."""
        return next((one for one in self.own if one.stage in {Stage.GATE, Stage.COUNT}), None)

    @cached_property
    def times(self) -> tuple[Record, ...]:
        """One record a process, of a cell that is ok; none of any other, because it has no speed.

        Without the calls that heat or another program spoilt.
        """
        timed = [machine.kept(one) for one in self.own if one.stage is Stage.TIME]
        ordered = sorted(timed, key=lambda one: one.replicate)
        return tuple(ordered) if self.status is Status.OK else ()

    @cached_property
    def fit(self) -> Fit | None:
        """How the search for the largest batch ended, of a cell that is ok."""
        searched = (one for one in self.own if _is_finite(one.metrics.get(LARGEST_BATCH, ())))
        record = next(searched, None) if self.status is Status.OK else None
        return _fit(record) if record else None

    @cached_property
    def pictures(self) -> Record | None:
        """What the judge of its pictures found, where there are any."""
        judged = (one for one in self.shared if one.stage is Stage.QUALITY)
        return next((one for one in judged if one.status is Status.OK), None)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the gate saw."""
        return self.gate.facts if self.gate else {}

    @property
    def weights(self) -> str:
        """The digest of the weights as the first record that knows it tells it."""
        told = (one.facts.get("weights") for one in (*self.own, *self.shared))
        return str(next(filter(None, told), ""))

    @property
    def judged(self) -> Mapping[str, Any]:
        """What the judge of its pictures tells beside the figures."""
        return self.pictures.facts if self.pictures else {}

    @property
    def extractors(self) -> Mapping[str, Mapping[str, Any]]:
        """Identity by name of each network that saw its pictures."""
        one = self.judged.get("extractor")  # as records told it while there was only one
        earlier = {one["name"]: {"sha256": one["sha256"]}} if one else {}
        return self.judged.get("extractors", earlier)  # type: ignore[no-any-return]  # checked as it was read

    @property
    def references(self) -> Mapping[str, Mapping[str, Any]]:
        """What its pictures were compared with, by `dataset` and `softmax`."""
        return self.judged.get("references", {})  # type: ignore[no-any-return]  # likewise

    @property
    def protocol(self) -> Mapping[str, Any]:
        """How its pictures were made."""
        return self.judged.get("protocol", {})  # type: ignore[no-any-return]  # likewise

    def error(self, name: str) -> float | None:
        """The standard error of a figure's difference to softmax's, or else of the figure itself.

        Of softmax, which differs from itself by nothing, it is the figure's own.
        """
        paired = self.judged.get("paired", {}).get(name, {})
        found = paired.get("error") or self.judged.get("errors", {}).get(name)
        return None if found is None else float(found)

    @property
    def exact(self) -> bool:
        """Whether the method says that it equals softmax."""
        return bool(self.facts.get("exact", False))

    @property
    def core_only(self) -> bool:
        """Whether only the core is the method's to save; a record that does not tell is taken to mean so."""
        return bool(self.facts.get("core_only", True))

    @cached_property
    def unfit(self) -> str:
        """Why its times must not be used though it is ok: a slowed or shared GPU; empty where they may."""
        return machine.unfit(self.times)

    def samples(self, metric: str) -> tuple[tuple[float, ...], ...]:
        """Raw values of a time metric, one tuple a process."""
        found = (tuple(one.metrics.get(metric, ())) for one in self.times)
        return tuple(values for values in found if values)

    @property
    def replayed(self) -> tuple[tuple[float, ...], ...]:
        """Seconds of its own pattern of reuse with nothing where it reused, one tuple a process.

        Each is read against the cell's own run beside it: what drifted since the timed calls cancels.
        """
        return tuple(_beside(one) for one in self.times if one.metrics.get("replay_latency"))

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Every figure by metric name, derived ones included."""
        found = self._counted() | self._timed() | self._fitted() | self._pictured()
        return found | _derived(self.cell, found)

    @cached_property
    def per_process(self) -> dict[str, tuple[float, ...]]:
        """Process medians of every time metric."""
        return {name: stats.medians(self.samples(name)) for name in self._time_metrics()}

    def _time_metrics(self) -> list[str]:
        named = (name for one in self.times for name, values in one.metrics.items() if values)
        return list(dict.fromkeys(named))

    def _counted(self) -> dict[str, Estimate]:
        metrics = self.gate.metrics if self.gate else {}
        return {name: exactly(values[0]) for name, values in metrics.items() if values}

    def _timed(self) -> dict[str, Estimate]:
        groups = {name: self.samples(name) for name in self._time_metrics()}
        return {name: estimate(stats.median(group), group) for name, group in groups.items()}

    def _fitted(self) -> dict[str, Estimate]:
        """The true number may be anything up to the first that did not fit."""
        if self.fit is None:
            return {}
        value = float(self.fit.largest)
        high = math.inf if self.fit.fails is None else float(self.fit.fails - 1)
        return {LARGEST_BATCH: Estimate(value, value, high, 1, self.fit.trials)}

    def _pictured(self) -> dict[str, Estimate]:
        """Medians over pictures with the bad tail beside them, and figures of the whole set."""
        found = {}
        for name, values in self.pictures.metrics.items() if self.pictures else ():
            if not values:
                continue
            if scores.parse(name):
                found[name] = _scored(values[0], name, self.judged)
                continue
            found[name] = estimate(stats.median([values]), [values])
            if name in TAILS:
                tail, share = TAILS[name]
                found[tail] = exactly(stats.percentile(values, share), len(values))
        return found


def _is_finite(values: Values) -> bool:
    return bool(values) and math.isfinite(values[0])


def _is_unjudged(record: Record) -> bool:
    """Whether a record says that another cell's pictures, by which these are judged, failed."""
    return record.stage is Stage.QUALITY and "unjudged" in record.facts


def only_counted(run: Run) -> bool:
    """Whether shapes alone tell all that was asked, so that no network ran."""
    asked = run.effort.get("metrics", ())
    return bool(asked) and COUNTS.issuperset(asked)


def gather(run: Run) -> tuple[Evidence, ...]:
    """Every planned cell with its records, in the order of the plan."""
    by_key: dict[str, list[Record]] = defaultdict(list)
    counts = only_counted(run)
    for record in run.records:  # a claim's count is none of the cell's own records: the cell runs
        if record.stage is not Stage.COUNT or counts:
            by_key[record.key].append(record)
    return tuple(
        Evidence(cell, tuple(by_key.get(cell.key, ())), tuple(by_key.get(cell.quality_key, ())))
        for cell in dict.fromkeys(run.planned)
    )


def counted(record: Record) -> dict[str, Estimate]:
    """Every figure that a count holds, derived ones included."""
    found = {name: exactly(values[0]) for name, values in record.metrics.items() if values}
    return found | _derived(record.cell, found)


def estimate(found: Interval, groups: tuple[tuple[float, ...], ...] | list[Any]) -> Estimate:
    """An interval with the processes and samples that it rests on."""
    return Estimate(found.value, found.low, found.high, len(groups), sum(map(len, groups)))


def exactly(value: float, samples: int = 1) -> Estimate:
    """A figure that nothing was resampled for."""
    return Estimate(value, value, value, 1, samples)


def _fit(record: Record) -> Fit:
    largest, facts = int(record.metrics[LARGEST_BATCH][0]), record.facts
    trials = facts.get("trials", ())
    peaks = [peak for batch, _, peak, *_ in trials if batch == largest and peak is not None]
    return Fit(
        largest=largest,
        fails=facts.get("fails"),
        peak=str(facts.get("peak", "")),
        peak_bytes=max(peaks, default=None),
        memory_limit=facts.get("memory_limit"),
        trials=len(trials),
        wavering=tuple(facts.get("wavering", ())),
    )


def _scored(value: float, name: str, facts: Mapping[str, Any]) -> Estimate:
    """A figure of the whole set with its error; of records without any, that of its difference to softmax."""
    paired = facts.get("paired", {}).get(name, {"error": 0.0})
    error = _ERRORS * float(facts.get("errors", {}).get(name, paired["error"]))
    # No other figure of a set reaches below zero: of the kernel distance that is the price of no bias.
    least = -math.inf if word_of(name) == "kid" else 0.0
    most = 1.0 if word_of(name) in {"precision", "recall"} else math.inf
    low, high = max(least, value - error), min(most, value + error)
    return Estimate(value, low, high, 1, int(facts.get("samples", 1)))


def _derived(cell: Cell, found: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """What follows from raw figures: never stored."""
    derived: dict[str, Estimate] = {}
    if cell.finds_batch:  # only its trials have a batch
        return derived
    if cell.op:  # no picture comes of it
        return {"flops": exactly(2 * found["macs"].value)} if "macs" in found else {}
    if "latency" in found:
        derived["throughput"] = _inverse(found["latency"], cell.batch_size)
    if "macs" in found:
        derived["flops"] = exactly(2 * found["macs"].value)
        whole = found.get("trajectory_macs", exactly(found["macs"].value * cell.steps))
        derived["macs_per_image"] = exactly(whole.value / cell.batch_size)
    return derived | _shares(found)


def _shares(found: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """What attention is of all multiply-adds, and the speed-up that they allow were it free."""
    derived: dict[str, Estimate] = {}
    whole = found.get("macs_shared_embedder")
    for name in ("core", "attention"):
        if (part := found.get(f"{name}_macs")) and whole and whole.value > part.value:
            share = part.value / whole.value
            derived[f"{name}_share"] = exactly(share)
            derived[f"{name}_ceiling"] = exactly(1 / (1 - share))
    return derived


def _inverse(of: Estimate, over: float) -> Estimate:
    """`over` / figure: the ends of the interval change places."""
    value, low, high = (
        over / part if part else float("inf") for part in (of.value, of.high, of.low)
    )
    return Estimate(value, low, high, of.processes, of.samples)


def _beside(one: Record) -> tuple[float, ...]:
    runs, beside = one.metrics["replay_latency"], one.facts.get("replay_beside", ())
    if not beside:
        return tuple(runs)
    usual = median(one.metrics["latency"])
    return tuple(usual * run / own for run, own in zip(runs, beside, strict=True))
