"""Runs of attention cores by themselves that nobody measured, with times that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping

from fakes_runs import fake_run, record

from ditbench.records import Cell, Choice, Op, Record, Sampling, Stage
from ditbench.store import Run

EXACT = frozenset({"softmax", "sdpa", "flash"})
MATRIX, BANDWIDTH = 50e9, 20e9
# Seconds by method and tokens: monarch overtakes sdpa between 256 and 1,024 tokens.
SECONDS = {
    "softmax": {64: 2e-4, 256: 2e-3, 1024: 3e-2},
    "sdpa": {64: 1e-4, 256: 1e-3, 1024: 1e-2},
    "monarch": {64: 4e-4, 256: 2e-3, 1024: 5e-3},
}


def core(label: str, tokens: int, cache: str = "cold", **axes) -> Cell:
    plain = {
        "blocks": (0,),
        "steps": 1,
        "sampling": Sampling(guidance_scale=1.0),
    } | axes
    return Cell(Op(tokens, 4, 32, cache).choice, Choice(label), **plain)


def macs(of: Cell) -> float:
    return 2.0 * of.batch_size * of.op.heads * of.op.tokens**2 * of.op.head_dim


def records(of: Cell, seconds: float, spread: float = 0.01, **facts) -> tuple[Record, ...]:
    """A gate and two processes. spread: how far the processes lie from the middle. facts: of the times."""
    label = of.attention.name
    ceilings = {"matrix_rates": [0.9 * MATRIX, MATRIX], "bandwidths": [BANDWIDTH, 0.5 * BANDWIDTH]}
    told = {"exact": label in EXACT, "kernels": ["math"], "rows": of.rows}
    cold = of.op.cache == "cold"
    timed = {
        "calls_together": 1 if cold else 20,
        "flushed_bytes": 2**26 if cold else 0,
        "threads": 1,
    }
    return (
        record(
            of,
            Stage.GATE,
            metrics={"macs": (macs(of),), "core_macs": (macs(of),)},
            facts=told | ceilings,
        ),
        *(
            record(
                of,
                Stage.TIME,
                replicate=number,
                metrics={
                    "first_call": (2 * seconds,),
                    "latency": (seconds * factor,) * 5,
                    "peak_resident": (1e6 * of.op.tokens,),
                },
                warmups={"latency": (seconds,)},
                facts=timed | facts,
            )
            for number, factor in enumerate((1 - spread, 1 + spread))
        ),
    )


def op_run(
    seconds: Mapping[str, Mapping[int, float]] = SECONDS,
    caches: tuple[str, ...] = ("cold",),
    spread: float = 0.01,
    **parts,
) -> Run:
    made = [
        one
        for cache in caches
        for label, by_tokens in seconds.items()
        for tokens, value in by_tokens.items()
        for one in records(core(label, tokens, cache), value, spread)
    ]
    return fake_run(*made, **({"claims": (), "gate": {}, "suite": "cores"} | parts))
