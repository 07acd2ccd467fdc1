"""From a suite to its cells: what will run, what will not and why, and about how long it takes."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ditbench import search, stopping
from ditbench.catalog import Inspection
from ditbench.errors import UsageError
from ditbench.metrics import COUNTS, stage_of
from ditbench.records import OP, Cell, Choice, Stage, Status
from ditbench.suite.blocks import resolve_blocks
from ditbench.suite.spec import Suite

# Seconds a worker takes beside its work (fork, weights, counting) where no earlier run told; by `make bench`.
OVERHEAD_S = 0.25
# Sampling runs of two samples and at most four steps that the gates make.
_GATE_RUNS, _GATE_SAMPLES, _GATE_STEPS = 7, 2, 4
# Seconds to count a model's multiply-adds without data; methods are counted in milliseconds.
_COUNT_S = 2.0
# The share of a plain matrix product's rate that a small model reaches; a guess, and told as one.
_EFFICIENCY = 0.4
# A trial of a largest batch makes at most so many steps, and its peak is about so many copies of a block's
# tokens; a method that holds all its scores needs more.
_TRIAL_STEPS, _UNITS = 3, 16
# What a process with torch in it holds before it has computed anything.
_EMPTY = 256 * 2**20
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Bytes of a value of one picture's latents (float32), and of one record's line; a pixel's value takes one.
_BYTES_PER_VALUE, _BYTES_PER_RECORD = 4, 8_000

# A search of ten thousand ids takes hundredths of a second.
_SEARCH_S = 3.0


@dataclass(frozen=True)
class Entry:
    """One cell of the plan; status is None where it will run."""

    cell: Cell
    status: Status | None
    reason: str
    inspection: Inspection


@dataclass(frozen=True)
class Plan:
    """A suite's cells, in the order of the file; those that `select` (-k) finds, where there is one."""

    suite: Suite
    entries: tuple[Entry, ...]
    select: str = ""

    @property
    def runnable(self) -> tuple[Cell, ...]:
        """The cells that will run."""
        return tuple(entry.cell for entry in self.entries if entry.status is None)

    @property
    def counts_only(self) -> bool:
        """Whether shapes alone tell all that is asked, so that no network runs."""
        return set(self.suite.metrics) <= COUNTS

    @property
    def claimed(self) -> tuple[Cell, ...]:
        """The cells that claims about counts name, each once: what the matrix holds does not change them."""
        named = (cell for claim in self.suite.claims for cell in (claim.cell, claim.other) if cell)
        return tuple({cell.key: cell for cell in named}.values())

    @property
    def counted(self) -> tuple[Cell, ...]:
        """Every cell that is counted from shapes alone, at the start of the run."""
        cells = (*(self.runnable if self.counts_only else ()), *self.claimed)
        return tuple({cell.key: cell for cell in cells}.values())

    @property
    def refused(self) -> tuple[Entry, ...]:
        """The entries that will not."""
        return tuple(entry for entry in self.entries if entry.status is not None)


@dataclass(frozen=True)
class Estimate:
    """What a run takes.

    known: the share of cells whose time an earlier run measured; the rest is a guess. searches: cells that
    find a largest batch, in about so many trials all told.
    """

    seconds: float
    disk: float
    known: float
    searches: int = 0
    trials: int = 0


def expand(suite: Suite) -> tuple[Cell, ...]:
    """Every cell of the matrix once, in the order of the file.

    An exact method in some of the blocks measures nothing that all of them do not, so for exact methods
    `blocks` is always all.
    """
    found: dict[str, Cell] = {}
    axes = itertools.product(
        suite.models,
        suite.weights,
        suite.samplings,
        suite.steps,
        suite.compiles,
        suite.batch_sizes,
        suite.attentions,
        suite.accelerators,
    )
    for model, weights, sampling, steps, compiled, batch_size, attention, accelerator in axes:
        for label, blocks in _selections(suite, model, attention):
            cell = Cell(
                model=model,
                attention=attention,
                weights=weights,
                blocks=blocks,
                blocks_label=label,
                compile=compiled,
                batch_size=batch_size,
                steps=steps,
                sampling=sampling,
                accelerator=accelerator,
                shown=suite.shown(model),
            )
            found.setdefault(cell.key, cell)
    return tuple(found.values())


def _selections(
    suite: Suite, model: Choice, attention: Choice
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for label in ("all",) if attention.name in suite.exact else suite.blocks:
        yield label, resolve_blocks(label, 1 if model.name == OP else int(model["depth"]))


def assemble(
    suite: Suite, cells: Iterable[Cell], inspections: Iterable[Inspection], select: str = ""
) -> Plan:
    """The plan of these cells, narrowed to those whose id matches `select`.

    Raises UsageError where that is none of them, or an exclusion takes no cell out.
    """
    by_key = {inspection.key: inspection for inspection in inspections}
    entries = tuple(_entry(suite, cell, by_key[cell.key]) for cell in cells)
    _check_exclusions(suite, entries)
    pattern = _pattern(select)
    with _at_most(_SEARCH_S, select):
        chosen = tuple(entry for entry in entries if pattern.search(entry.cell.id))
    if not chosen:
        example = entries[0].cell.id
        raise UsageError(
            f"-k {select!r} matches none of the {len(entries)} cells; one of them is: {example}"
        )
    return Plan(suite, chosen, select)


def check_runs(plan: Plan) -> None:
    """Raises UsageError where none of the cells can run, with every reason."""
    if plan.runnable:
        return
    reasons = dict.fromkeys(f"{entry.status}: {entry.reason}" for entry in plan.entries)
    raise UsageError(
        f"{plan.suite.path}: none of the {len(plan.entries)} cells can run ({'; '.join(reasons)})"
    )


def _entry(suite: Suite, cell: Cell, inspection: Inspection) -> Entry:
    for exclusion in suite.exclude:
        if exclusion.covers(cell):
            return Entry(cell, Status.EXCLUDED, exclusion.because, inspection)
    if inspection.broken:
        return Entry(cell, Status.CRASHED, inspection.broken, inspection)
    if inspection.reasons:
        return Entry(cell, Status.UNSUPPORTED, "; ".join(inspection.reasons), inspection)
    return Entry(cell, None, "", inspection)


def _check_exclusions(suite: Suite, entries: tuple[Entry, ...]) -> None:
    if suite.overrides or suite.shortened:  # what the suite excludes may have been replaced
        return
    idle = [
        f"{exclusion.place or suite.path}: exclude[{number}]: takes no cell out ({exclusion.because})"
        for number, exclusion in enumerate(suite.exclude)
        if not any(exclusion.covers(entry.cell) for entry in entries)
    ]
    if idle:
        raise UsageError("\n".join(idle))


def _pattern(select: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of what a later Python may read otherwise
            return re.compile(select)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"-k {select!r}: not a regular expression: {error}") from error


@contextlib.contextmanager
def _at_most(seconds: float, select: str) -> Iterator[None]:
    """End a search that would take years, as `(.+)+x` does. Raises UsageError.

    In the main thread only: signals reach no other.
    """

    def late(*_: object) -> None:
        raise UsageError(f"-k {select!r}: searches for longer than {seconds:g} s: write it simpler")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


def quick(suite: Suite) -> Suite:
    """The suite with one warm-up, three repeats, one process and no waiting: to see that it works."""
    fewer = dataclasses.replace(
        suite.timing, warmup=1, repeats=3, processes=1, warmup_cap_s=0.0, precision=None
    )
    return dataclasses.replace(suite, timing=fewer)


@dataclass(frozen=True)
class Machine:
    """What a machine gives.

    macs_per_second: in a matrix product, for cells never measured. memory: bytes that a worker may hold.
    overhead: seconds that a worker takes beside its measuring.
    """

    macs_per_second: float
    memory: float = 0
    overhead: float = OVERHEAD_S

    @property
    def rate(self) -> float:
        """Multiply-adds a second that a small model reaches."""
        return self.macs_per_second * _EFFICIENCY


def estimate(plan: Plan, latency: Mapping[str, float], machine: Machine) -> Estimate:
    """Time and disk of a run.

    latency: seconds of one batch by cell key, from an earlier run on this machine; of a search, its seconds.
    """
    counting = _counting_s(plan, machine)
    if plan.counts_only:
        return Estimate(counting, len(plan.counted) * _BYTES_PER_RECORD, 1.0)
    runnable = [entry for entry in plan.entries if entry.status is None]
    given = [entry for entry in runnable if not entry.cell.finds_batch]
    asked = [entry for entry in runnable if entry.cell.finds_batch]
    pictured = (
        {entry.cell.quality_key: entry for entry in given} if _has_pictures(plan.suite) else {}
    )
    seconds = counting + sum(_timing_s(plan.suite, entry, latency, machine) for entry in given)
    seconds += sum(_search_s(entry, latency, machine) for entry in asked)
    seconds += sum(_pictures_s(plan.suite, entry, machine) for entry in pictured.values())
    size = plan.suite.quality.samples * sum(
        _picture_bytes(plan.suite, entry) for entry in pictured.values()
    )
    lines = len(given) * (plan.suite.timing.processes + 1) + 2 * len(asked)
    lines += len(pictured) * (len(plan.suite.quality.shards) + 1)
    lines += len(plan.counted)
    known = sum(entry.cell.key in latency for entry in runnable) / max(1, len(runnable))
    return Estimate(
        seconds,
        size + lines * _BYTES_PER_RECORD,
        known,
        searches=len(asked),
        trials=sum(len(trials(entry, machine.memory)) for entry in asked),
    )


def _counting_s(plan: Plan, machine: Machine) -> float:
    """Building each model's shapes takes most of it."""
    models = {cell.model for cell in plan.counted}
    return _COUNT_S * len(models) + machine.overhead if models else 0.0


def _timing_s(suite: Suite, entry: Entry, latency: Mapping[str, float], machine: Machine) -> float:
    guess = entry.inspection.macs * entry.cell.steps / machine.rate
    once = latency.get(entry.cell.key, guess)
    timing = suite.timing
    warm = max(timing.warmup * once, min(timing.warmup_cap_s, stopping.least_s(once)))
    timed = max(timing.repeats * once, min(timing.most * once, timing.cap_s))
    share = (
        _GATE_SAMPLES
        * min(_GATE_STEPS, entry.cell.steps)
        / (entry.cell.batch_size * entry.cell.steps)
    )
    process = once + warm + timed + machine.overhead
    return process * timing.processes + once * _GATE_RUNS * share + machine.overhead


def trials(entry: Entry, memory: float) -> tuple[int, ...]:
    """The batches that a search would try if each picture took what _UNITS tokens by hidden width take."""
    cell = entry.cell.of_batch(1)
    number = _BYTES[cell.sampling.dtype]
    picture = cell.rows * _UNITS * entry.inspection.widest * number
    guess = (memory - _EMPTY - entry.inspection.parameters * number) // picture
    tried: list[int] = []

    def fits(batch: int) -> bool:
        tried.append(batch)
        return batch <= guess

    search.largest(fits)
    return tuple(tried)


def _search_s(entry: Entry, latency: Mapping[str, float], machine: Machine) -> float:
    """Every trial of a search, and the gate before it."""
    one = entry.inspection.macs / machine.rate
    gate = one * _GATE_RUNS * _GATE_SAMPLES * _GATE_STEPS + machine.overhead
    tried = trials(entry, machine.memory)
    guess = one * _TRIAL_STEPS * sum(tried) + machine.overhead * len(tried)
    return gate + latency.get(entry.cell.key, guess)


def _pictures_s(suite: Suite, entry: Entry, machine: Machine) -> float:
    """Every shard in a process of its own, and one more that judges."""
    batches = -(-suite.quality.samples // suite.quality.micro_batch)
    rows = suite.quality.micro_batch / entry.cell.batch_size
    one = entry.inspection.macs * entry.cell.steps / machine.rate
    return one * batches * rows + machine.overhead * (len(suite.quality.shards) + 1)


def _picture_bytes(suite: Suite, entry: Entry) -> int:
    """On disk, of one picture and its latents."""
    told, vae = entry.inspection, suite.quality.vae
    latents = told.values * _BYTES_PER_VALUE
    if not told.decoded:
        return latents + told.values
    nothing = vae == "none" or (vae == "own" and entry.cell.weights == "random")
    return latents + (0 if nothing else told.decoded)


def _has_pictures(suite: Suite) -> bool:
    return Stage.QUALITY in map(stage_of, suite.metrics)


def decoded_by(suite: Suite) -> str:
    """What makes pictures of latents (`quality.vae`), where metrics look at pictures; else empty."""
    looking = {name for name in suite.metrics if stage_of(name) is Stage.QUALITY} - {"latent_drift"}
    return suite.quality.vae if looking else ""


def to_json(plan: Plan) -> list[dict[str, Any]]:
    """One plain object a cell; then those that no matrix holds and claims name."""
    planned = {entry.cell.key for entry in plan.entries}
    counted = [cell for cell in plan.claimed if cell.key not in planned]
    return _entries_to_json(plan) + [
        {
            "key": cell.key,
            "id": cell.id,
            **cell.axes,
            "blocks_resolved": list(cell.blocks),
            "status": "will be counted",
            "reason": "a claim names it",
        }
        for cell in counted
    ]


def _entries_to_json(plan: Plan) -> list[dict[str, Any]]:
    will = "will be counted" if plan.counts_only else "will run"
    return [
        {
            "key": entry.cell.key,
            "id": entry.cell.id,
            **entry.cell.axes,
            "blocks_resolved": list(entry.cell.blocks),
            "status": str(entry.status or will),
            "reason": entry.reason,
            "macs": entry.inspection.macs,
            "core_macs": entry.inspection.core_macs,
            "parameters": entry.inspection.parameters,
            "notes": list(entry.inspection.notes),
        }
        for entry in plan.entries
    ]
