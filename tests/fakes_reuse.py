"""Builders of runs whose methods have a memory: patterns, reasons and times that nobody measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from fakes_runs import DEPTH, STEPS, cell, fake_run, gate, measured, quality, record, timed

from ditbench.records import Cell, Choice, Record, Stage
from ditbench.store import Run

# In the order of their letters: a, b, c.
REASONS = (("nothing kept", False), ("too different", False), ("close enough", True))
STEP_S, SPARED_S = 0.003, 0.0002


def dqar(threshold: float = 0.05, limit: int = 2, name: str = "dqar", **axes) -> Cell:
    """A method of two numeric settings; `limit` 0 spares nothing."""
    settings = (("core", "sdpa"), ("threshold", threshold), ("limit", limit))
    label = f"{name} {{threshold: {threshold}, limit: {limit}}}"
    return cell(attention=Choice(name, settings, label), **axes)


def pattern(share: float) -> dict[str, str]:
    """By site a letter a step: the first computes, and of the rest the first blocks spare that share."""
    spared = round(share * DEPTH)
    return {
        f"blocks.{block}": "a" + ("c" if block < spared else "b") * (STEPS - 1)
        for block in range(DEPTH)
    }


def facts(sites: Mapping[str, str], drift: float = 0.1, gate_share: float = 0.02) -> dict:
    """What a gate tells of one whole trajectory."""
    counts = Counter("".join(sites.values()))
    reasons = [
        [words, reused, counts[letter]]
        for letter, (words, reused) in zip("abc", REASONS, strict=True)
    ]
    return {
        "forwards": sum(map(len, sites.values())),
        "reused": counts["c"],
        "reasons": reasons,
        "map": dict(sites),
        "drift": [drift * step / STEPS for step in range(STEPS + 1)],
        "gate_share": gate_share,
    }


def remembering(of: Cell, share: float = 0.5, drift: float = 0.1, **metrics) -> tuple[Record, ...]:
    """Every record of a good cell: half of its forwards spared, and three processes."""
    sites = pattern(share)
    told = facts(sites, drift)
    passed = gate(of, reuse=told, core_only=False)
    of_gate = passed.metrics | {
        "trajectory_macs": (STEPS * 400e6 * of.rows - told["reused"] * 30e6,),
        "reuse_ratio": (told["reused"] / told["forwards"],),
        "cache_bytes": (share * 8 * 2**20,),
    }
    steps = [
        STEP_S - SPARED_S * sum(row[step] == "c" for row in sites.values()) for step in range(STEPS)
    ]
    times = timed(of, *(3 * (sum(steps) * slower,) for slower in (0.999, 1.0, 1.001)))
    return (
        record(of, Stage.GATE, facts=passed.facts, metrics=of_gate | _given(metrics, Stage.GATE)),
        *(
            record(
                of,
                Stage.TIME,
                replicate=one.replicate,
                facts=one.facts,
                metrics=one.metrics
                | {"step_latency": 3 * tuple(steps), "replay_latency": (0.9 * sum(steps),)}
                | _given(metrics, Stage.TIME),
            )
            for one in times
        ),
        quality(of, drift),
    )


def _given(metrics: Mapping[str, float], stage: Stage) -> dict[str, tuple[float, ...]]:
    timed_too = {"replay_latency", "latency"}
    return {
        name: (value,)
        for name, value in metrics.items()
        if (name in timed_too) == (stage is Stage.TIME)
    }


def reuse_run(*more: Record, **parts) -> Run:
    """softmax, sdpa, zero-like identity, and a sweep of thresholds and limits."""
    swept = [
        one
        for threshold in (0.02, 0.05, 0.1)
        for limit in (1, 2)
        for one in remembering(
            dqar(threshold, limit),
            share=min(1.0, 5 * threshold * limit),
            drift=2 * threshold * limit,
        )
    ]
    exact = (
        *measured("softmax"),
        *measured("sdpa"),
        *measured("identity"),
        quality(cell("softmax"), 0.0),
        quality(cell("sdpa"), 2e-7),
    )
    return fake_run(*exact, *swept, *more, **({"claims": ()} | parts))
