"""How it was measured: repeats, gates, pictures, intervals; and where, with what differed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ditbench import units
from ditbench.compare import Comparison
from ditbench.records import Record, Stage, Status
from ditbench.report import condition, making, words
from ditbench.report.tables import NOT_MEASURED, Column, Table, Value
from ditbench.store import Run
from ditbench.summary import Summary, only_counted, spent

_GATES = (
    Column("cell"),
    Column("error of the core", "against softmax in float64, relative L2", numeric=True),
    Column("error of the latents", "exact methods, relative L2", numeric=True),
    Column("calls", "seen of expected", numeric=True),
    Column("second run", "relative L2 to the first", numeric=True),
    Column("effect of attention", "so that the gate is not vacuous", numeric=True),
    Column("kernels"),
)


def sentences(run: Run, summary: Summary) -> tuple[tuple[str, str], ...]:
    """Title and text of each thing that a careful reader asks."""
    by = _by_stage(run.records)
    of_cores = any(cell.op for cell in run.planned)
    told = (
        ("Timing", _timing(by[Stage.TIME])),
        ("Intervals", _INTERVALS),
        ("Gates", "" if only_counted(run) else _gates(by[Stage.GATE], summary)),
        ("Counted, not run", _counted(by[Stage.COUNT])),
        ("Largest batch", _largest(by[Stage.FIT])),
        ("Speed-up", _SPEEDUP_OF_CORES if of_cores else _SPEEDUP),
        ("Multiply-adds", _MACS_OF_CORES if of_cores else f"{_MACS}{_spared(summary)}"),
        ("Ceilings", _ceilings(summary)),
        ("Pictures", "" if of_cores else making.pictures(by[Stage.QUALITY], by[Stage.SAMPLE])),
        ("Fr\N{LATIN SMALL LETTER E WITH ACUTE}chet distance", making.distances(by[Stage.QUALITY])),
        ("Sampling", "" if of_cores else making.sampling(run)),
        ("Memory", _memory(by[Stage.TIME])),
        ("The machine meanwhile", condition.machine(by[Stage.TIME])),
        ("The canary", condition.canary(run)),
        ("Energy", condition.energy(by[Stage.TIME])),
        ("Thresholds", _thresholds(run)),
        ("Time spent", _spent(run)),
    )
    return tuple((title, text) for title, text in told if text)


_INTERVALS = (
    "Every figure is the median of the medians of its processes, because a process, not a repeat, is "
    "what differs from one night to the next; the interval beside it covers 95 % and comes from "
    "resampling whole processes, then samples within each. Where there was one process only, it tells no "
    "more than how the samples of that one differ."
)
_SPEEDUP = (
    "Above 1 is faster. The first column is against the fastest exact method of the same run, with equal "
    'model, batch, steps and compilation; the second against explicit softmax. "Possible" is measured too: '
    "the same model with `identity` in the same blocks, which has no core; or with `zero`, which has no "
    "projections of q, k and v either, for methods that may skip those. A speed-up above it beyond both "
    "intervals (of single processes, by more than 10 %) is called implausible. The MAC ceilings, what the "
    "multiply-adds alone would allow if the core cost nothing, or the whole attention module, are shown and "
    "never judge: softmax waits for memory, so honest methods may exceed them. What else differs between the "
    "two arms of a ratio stands among the doubts."
)
_MACS = (
    "A MAC is one multiply-add, which is two operations: FLOP = 2 MAC. What papers on DiT call Gflops "
    "are GMAC. Per step counts one forward of the whole batch in which nothing is spared, guidance rows "
    "included; per image counts all steps and divides by the batch size. "
    '"With one embedder" leaves out the timestep and label embedders that diffusers repeats in every block.'
)


def _spared(summary: Summary) -> str:
    """What is counted of a method that spares some of its steps, and where that is."""
    if not any(row.reuse for row in summary.rows):
        return ""
    return (
        " Of a method with memory or an accelerator per image counts without what was spared; the whole "
        "run's figure is in the table of Reuse."
    )


def _counted(records: list[Record]) -> str:
    """Cells whose network did not run for what is told of them."""
    if not records:
        return ""
    return (
        f"The multiply-adds and parameters of {words.plural(len(records), 'cell')} were counted from "
        "shapes alone, on tensors without data; what the method declares was held against the count. "
        "Cells that claims name are always counted so: neither --quick nor -k nor the matrix changes what "
        "claims about counts are held against."
    )


_SPEEDUP_OF_CORES = (
    "Above 1 is faster. The first column is against the fastest exact method of the same run at the same "
    "sizes, dtype, cache and compilation; the second against explicit softmax. A method overtakes another "
    "where the whole interval of its speed-up changes sides. Speed of a core by itself is no speed of a "
    "model: projections and everything else take their time too."
)
_MACS_OF_CORES = (
    "A MAC is one multiply-add, which is two operations: FLOP = 2 MAC. They are those of one call of the "
    "whole batch, matrix products only, as the method declares them and a counter finds them."
)


def _ceilings(summary: Summary) -> str:
    """What the device gives at most, and how much of it a core's share is."""
    rates = [row.shares for row in summary.rows if row.shares]
    if not rates:
        return ""
    matrix = sorted({units.count(one.matrix_rate, "MAC") for one in rates})
    bandwidth = sorted({units.count(one.bandwidth_rate, "B") for one in rates})
    return (
        "Measured on the same device in the same run, after the gates of every cell: a product of "
        f"two large matrices in the cell's dtype ({' or '.join(matrix)}/s at best), and a copy of a buffer "
        f"that no cache holds ({' or '.join(bandwidth)}/s at best, read and written). A core's share of the "
        "first are its multiply-adds over its latency; of the second the bytes of q, k, v and the output, "
        "each once, over its latency: with a hot cache that may be more than the memory gives."
    )


def _by_stage(records: Iterable[Record]) -> dict[Stage, list[Record]]:
    found: dict[Stage, list[Record]] = {stage: [] for stage in Stage}
    for record in records:
        if record.status is Status.OK:
            found[record.stage].append(record)
    return found


def _timing(records: list[Record]) -> str:
    if not records:
        return f"Speed was {NOT_MEASURED}."
    warmups = words.span(len(record.warmups.get("latency", ())) for record in records)
    repeats = words.span(len(record.metrics.get("latency", ())) for record in records)
    processes: dict[str, int] = {}
    for record in records:
        processes[record.key] = processes.get(record.key, 0) + 1
    threads = {str(r.facts["threads"]) for r in records if "threads" in r.facts}
    said = " or ".join(sorted(threads))
    with_threads = f", {said} CPU thread{'' if said == '1' else 's'}" if threads else ""
    fresh = words.span(processes.values())
    return (
        f"Each cell ran in {fresh} fresh process{'' if fresh == '1' else 'es'}{with_threads}; in each, one "
        f"first call (told apart), {warmups} warm-up calls thrown away but kept on file, and {repeats} "
        f"timed calls. {_sample(records)}{_warmth(records)}{_stops(records)}"
    )


def _sample(records: list[Record]) -> str:
    """What was timed."""
    flushed = max(int(one.facts.get("flushed_bytes", 0)) for one in records)
    together = {
        int(one.facts["calls_together"]) for one in records if "calls_together" in one.facts
    }
    if not together:
        return (
            "A sample is one batch through all steps, without loading the model, each on noise of its own. "
            "The device is waited for before the clock starts and after it stops."
        )
    return (
        "A sample is one call of the attention core, on q, k and v that lie as a model hands them over, with "
        "queries of its own. With a cold cache the last-level cache is flushed before each call, outside the "
        f"timed interval, by writing {units.size(flushed) if flushed else 'a buffer of twice its size'}. "
        "With a hot one calls follow each other, so many in one interval that the clock's resolution does "
        f"not show (up to {max(together)}); a sample is their mean."
    )


def _warmth(records: list[Record]) -> str:
    """Whether the warm-ups reached a steady speed."""
    facts = [r.facts["warmup"] for r in records if "warmup" in r.facts]
    waited = [one for one in facts if one["stable"] is not None]
    unmet = [one for one in waited if one["unmet"]]
    if not facts:
        return ""
    if not waited:
        return " Nobody waited for a steady speed beyond these warm-ups."
    caps = " or ".join(dict.fromkeys(f"{one['cap_s']:g}" for one in waited))
    said = (
        " Warm-ups went on until the medians of the last calls and of those before them agreed within 2 %, "
        f"for at most {caps} s"
    )
    return said + (
        f"; {words.plural(len(unmet), 'process', 'es')} of {len(waited)} ended without: {unmet[0]['unmet']}."
        if unmet
        else ", and all of them got there."
    )


def _stops(records: list[Record]) -> str:
    """What ended the timed calls where a precision was asked for."""
    facts = [r.facts["stopping"] for r in records if "stopping" in r.facts]
    by = Counter(one["by"] for one in facts if one["precision"] is not None)
    if not by:
        return ""
    asked = " or ".join(
        dict.fromkeys(units.percent(one["precision"]) for one in facts if one["precision"])
    )
    ended = ", ".join(
        f"{_ENDS.get(reason, reason)} in {count}" for reason, count in by.most_common()
    )
    return (
        f" Timed calls went on until the half-width of the median's 95 % interval (between order statistics) "
        f"was {asked} of it; what ended them: {ended}."
    )


_ENDS = {
    "precision": "that precision",
    "plateau": "an interval that twice the calls did not narrow",
    "most_repeats": "the most calls",
    "cap_s": "the most seconds",
}


def _largest(records: list[Record]) -> str:
    if not records:
        return ""
    limits = {size for one in records if (size := one.facts.get("memory_limit"))}
    within = f" within {' or '.join(units.size(size) for size in sorted(limits))}" if limits else ""
    return (
        "Found by doubling and then bisection. Each trial is a fresh process that makes a few steps of the "
        f"whole batch{within}; it fits, or memory ends. Exact below 128, above it to one part in 64. Both "
        "sides of the answer were tried twice. On the CPU only what is held counts: the C library is "
        "told to keep nothing that was freed, so that an ordinary process may run out a little earlier."
    )


def _memory(records: list[Record]) -> str:
    warm = [r for r in records if r.facts.get("peak_without_warmup") is False]
    said = "Peaks are of a fresh process, after the warm-up."
    if warm:
        said += (
            f" In {words.plural(len(warm), 'process', 'es')} the kernel could not reset the peak, "
            "which includes the warm-up there."
        )
    used = {str(r.facts["device_used_by"]) for r in records if "device_used_by" in r.facts}
    if used:
        said += f" Use of the device is that of {' or '.join(sorted(used))}, when the timed calls ended."
    return said if records else ""


def _gates(records: list[Record], summary: Summary) -> str:
    if not records:
        return f"No cell passed its gates: what is shown has {NOT_MEASURED} evidence."
    refused = sum(row.status is Status.FAILED_GATE for row in summary.rows)
    both = {"numeric_error", "numeric_tolerance"}
    numeric = [r.facts for r in records if both <= r.facts.keys()]
    worst = max(numeric, key=_over, default=None)
    said = (
        f"{words.plural(len(records), 'cell')} passed every gate before any stopwatch"
        f"{f', {refused} did not and have no speed' if refused else ''}: {_passed(records)}."
    )
    if worst:
        error = float(worst["numeric_error"])
        said += (
            f" The exact method that came nearest to its tolerance lies {error:.2g} from "
            f"softmax in float64, where {worst['numeric_tolerance']:.2g} is allowed."
        )
    return f"{said}{_own_formulas(records)} The numbers of every cell are below."


def _own_formulas(records: list[Record]) -> str:
    """Operators whose multiply-adds no counter knows but the methods that use them."""
    told = sorted({str(name) for one in records for name in one.facts.get("own_formulas", ())})
    return f" Counted by a method's own formula: {', '.join(told)}." if told else ""


def _passed(records: list[Record]) -> str:
    if any(record.cell.op for record in records):
        return (
            "price, finite, numerics, samples left apart, nothing remembered of an earlier call, kernel, "
            "nothing left behind"
        )
    return "finite, numerics, calls, kernel, the same result twice, nothing left behind"


def _over(facts: Mapping[str, Any]) -> float:
    return float(facts["numeric_error"]) / float(facts["numeric_tolerance"])


def _spent(run: Run) -> str:
    found = spent(run)
    if found is None:
        return ""
    return (
        f"{units.percent(found.share)} of the run's {units.seconds(found.wall)} went into measuring: gates, "
        f"sampling runs, pictures. {units.percent(found.workers / found.wall)} went into starting workers, "
        f"loading weights, counting and judging, and {units.percent(found.between / found.wall)} passed "
        "without a worker."
    )


def gates(run: Run, names: words.Names, limit: int) -> Table:
    """What the gates saw of every cell that passed them."""
    records = _by_stage(run.records)[Stage.GATE]
    rows = tuple(
        (
            Value(names.cell(record.cell)),
            _against(record.facts, "numeric_error", "numeric_tolerance"),
            _plain(record.facts, "latent_error"),
            _calls(record.facts),
            _plain(record.facts, "rerun_error"),
            _plain(record.facts, "attention_effect"),
            Value(", ".join(map(str, record.facts.get("kernels", ()))) or "\N{EN DASH}"),
        )
        for record in records[:limit]
    )
    return Table(_GATES, rows, len(records) - len(rows))


def _plain(facts: Mapping[str, Any], name: str) -> Value:
    if name not in facts:
        return Value("\N{EN DASH}")
    value = float(facts[name])
    return Value("0" if value == 0 else f"{value:.2g}", order=value)


def _against(facts: Mapping[str, Any], name: str, tolerance: str) -> Value:
    shown = _plain(facts, name)
    allowed = f"{float(facts[tolerance]):.0e} allowed" if tolerance in facts else ""
    return Value(shown.text, allowed, shown.order)


def _calls(facts: Mapping[str, Any]) -> Value:
    if not {"calls", "expected_calls"} <= facts.keys():
        return Value("\N{EN DASH}")
    return Value(f"{facts['calls']} of {facts['expected_calls']}", order=float(facts["calls"]))


def environment(run: Run) -> Table:
    """The machine and the code, fact by fact."""
    facts = {
        **{f"code: {name}": value for name, value in run.code.items()},
        **run.environment.facts,
        "run": run.id,
        "started": run.started,
        "command": run.command,
    }
    return Table(
        (Column("fact"), Column("value")),
        tuple((Value(name), Value(str(value))) for name, value in facts.items()),
    )


def differences(comparison: Comparison) -> str:
    """What a reader is told where nothing differs."""
    if not comparison.baseline:
        return "No baseline to differ from."
    if not comparison.differences:
        return "The same in every fact as the baseline's."
    return f"{words.plural(len(comparison.differences), 'fact')} of the environment differ, then and now:"


def _thresholds(run: Run) -> str:
    """The suite's own, where it sets any."""
    told = ", ".join(f"{name} {units.percent(share)}" for name, share in run.gate.items())
    return f"The least change that counts, as the suite says: {told}." if told else ""
