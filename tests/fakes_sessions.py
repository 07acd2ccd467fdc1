"""Sessions of two arms that nobody measured: each process a few calls around its median."""

from __future__ import annotations

from pathlib import Path

from fakes_runs import CODE, ENVIRONMENT, cell, record

from ditbench.records import CANARY, Cell, Record, Stage
from ditbench.store import Arm, Floor, Noise, Session

ARMS = (
    Arm("git:main", CODE | {"commit": "89abcdef"}, ENVIRONMENT),
    Arm("git:HEAD", CODE, ENVIRONMENT),
)
# Calls of a process around its median, which stays what it is.
CALLS = (0.999, 1.0, 1.001)


def process(of: Cell, arm: str, number: int, seconds: float, **facts) -> Record:
    """One process of one arm."""
    calls = tuple(seconds * factor for factor in CALLS)
    peak = facts.pop("peak", 200e6)
    return record(
        of,
        Stage.TIME,
        replicate=number,
        metrics={"first_call": (2 * seconds,), "latency": calls, "peak_allocated": (peak,)},
        facts={"arm": arm, "process": number} | facts,
    )


def abba(of: Cell, base, judged, **facts) -> tuple[Record, ...]:
    """Processes in the order A B B A, each with its median."""
    order = "abba" * max(len(base), len(judged))
    left = {"a": list(base), "b": list(judged)}
    rows = []
    for arm in order:
        if left[arm]:
            rows.append(process(of, arm, len(rows), left[arm].pop(0), **facts))
    return tuple(rows)


def turns(of: Cell, base, judged, **facts) -> tuple[Record, ...]:
    """Both arms in each process."""
    return tuple(
        process(of, arm, number, seconds, **facts)
        for number, pair in enumerate(zip(base, judged, strict=True))
        for arm, seconds in zip("ab", pair, strict=True)
    )


def beside(of: Cell, timed: tuple[Record, ...], seconds) -> tuple[Record, ...]:
    """The reference method in each of these processes. seconds: its medians by arm."""
    return tuple(
        process(
            cell("sdpa"), one.facts["arm"], one.facts["process"],
            seconds[one.facts["arm"]], witness=of.key,
        )
        for one in timed
    )  # fmt: skip


def canaries(timed: tuple[Record, ...], *, product=1.0, copy=1.0, **facts) -> tuple[Record, ...]:
    """The canary of each of these processes. product, copy: so many times what they are in A, in B."""
    return tuple(
        record(
            CANARY,
            Stage.CANARY,
            metrics={
                "canary_matrix": _repeated(1e-4, arm, product),
                "canary_copy": _repeated(2e-4, arm, copy),
            },
            facts={"arm": arm, "process": one.facts["process"], "side": 128, "copied": 2**22}
            | facts,
        )
        for one in timed
        for arm in [one.facts["arm"]]
    )


def _repeated(best: float, arm: str, times: float) -> tuple[float, ...]:
    best *= times if arm == "b" else 1.0
    return 1.3 * best, best, 1.1 * best


def _named(one: Record) -> bool:
    """Whether a session is about its cell."""
    return one.stage is not Stage.CANARY and "witness" not in one.facts


def session(*records: Record, **parts) -> Session:
    """A session of those records; its pairs are their cells, each with itself."""
    cells = dict.fromkeys(one.cell for one in records if _named(one))
    plain = {
        "path": Path("results/fashion/x/confirm.session.jsonl"),
        "suite": "fashion",
        "suite_path": "suites/fashion.yaml",
        "started": "2026-11-22T03:00:00+00:00",
        "arms": ARMS,
        "inside": False,
        "pairs": tuple((one, one) for one in cells),
        "gate": {},
        "effort": {},
        "records": tuple(records),
        "finished": True,
    }
    return Session(**(plain | parts))


def noise(of: Cell, relative: float, metric: str = "latency") -> Noise:
    """Floors of one cell, inside and apart alike."""
    floor = Floor(of.id, relative, relative, 10)
    return Noise("fashion", "2026-11-21", ENVIRONMENT, CODE, {of.key: {metric: floor}})
