"""Builders of records and runs that nobody measured: exact where a test counts, noisy elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ditbench.environment import Environment
from ditbench.metrics import LARGEST_BATCH
from ditbench.records import LARGEST, Cell, Choice, Record, Sampling, Stage, Status
from ditbench.store import Run, Terms

MODEL = Choice("fashion-dit", (("depth", 6), ("hidden", 128), ("heads", 4), ("tokens", 256)))
SAMPLING = Sampling(guidance_scale=1.5)
DEPTH = 6
STEPS = 20
FD = "fd_fashion_cnn_48"

# label, name, settings, seconds at batch 1, multiply-adds of the core per row, drift, exact
METHODS = {
    "softmax": ("softmax", {}, 0.100, 100e6, 0.0, True),
    "sdpa": ("sdpa", {"backend": "auto"}, 0.060, 100e6, 2e-7, True),
    "monarch": ("monarch", {"block_size": 16, "num_steps": 3}, 0.055, 20e6, 0.12, False),
    "monarch {block_size: 8}": (
        "monarch",
        {"block_size": 8, "num_steps": 3},
        0.052,
        12e6,
        0.20,
        False,
    ),
    "nystromformer": ("nystromformer", {"rank": 32}, 0.050, 15e6, 0.31, False),
    "identity": ("identity", {}, 0.045, 0.0, 0.92, False),
}
REST = 300e6  # multiply-adds of all but the core, per row

FACTS = {
    "device": "cpu",
    "cpu": "Some CPU",
    "cpus": 2,
    "torch": "2.13.0",
    "python": "3.11.2",
    "OMP_NUM_THREADS": "2",
}
ENVIRONMENT = Environment(FACTS)
# Most fake runs have two or three processes, and whoever sets a baseline of one always does it on this day.
PROVISIONAL = Terms(provisional=True, now=datetime(2026, 11, 22, 6, tzinfo=UTC))
CODE = {"version": "0.1.0", "commit": "0123abcd", "dirty": False}


def cell(label: str = "softmax", batch_size: int = 1, **axes) -> Cell:
    """A cell of a method in METHODS, or of any other name without settings."""
    name, settings = METHODS[label][:2] if label in METHODS else (label, {})
    plain = {
        "model": MODEL,
        "attention": Choice(name, tuple(settings.items()), label),
        "weights": "embedded",
        "blocks": tuple(range(DEPTH)),
        "batch_size": batch_size,
        "steps": STEPS,
        "sampling": SAMPLING,
    }
    return Cell(**(plain | axes))


def record(of: Cell, stage: Stage, **parts) -> Record:
    """A record with everything that every record has."""
    plain = {
        "status": Status.OK,
        "started": "2026-11-21T10:00:00+00:00",
        "seconds": 1.5,
        "environment": ENVIRONMENT.id,
        "code": "0.1.0+0123abcd",
    }
    return Record(of, stage, **(plain | parts))


def gate(of: Cell, core: float = 100e6, *, exact: bool = False, **facts) -> Record:
    """A passed gate. core: multiply-adds of the core per row."""
    total = (REST + core) * of.rows
    return record(
        of,
        Stage.GATE,
        metrics={
            "macs": (total,),
            "core_macs": (core * of.rows,),
            "macs_shared_embedder": (total - 1e6 * of.rows,),
        },
        facts={
            "parameters": 2_100_000,
            "weights": "5f2c",
            "rows": of.rows,
            "nfe": of.steps,
            "exact": exact,
            "counted_core_macs": core,
            "uncounted": [],
            "numeric_error": 3e-7,
            "numeric_tolerance": 1e-5,
            "calls": 4 * len(of.blocks),
            "expected_calls": 4 * len(of.blocks),
            "rerun_error": 0.0,
            "attention_effect": 0.9,
            "kernels": ["math"],
        }
        | facts,
    )


def timed(of: Cell, *processes: tuple[float, ...], peak: float = 200e6) -> tuple[Record, ...]:
    """One record a process, its latencies as given."""
    return tuple(
        record(
            of,
            Stage.TIME,
            replicate=number,
            metrics={
                "first_call": (2 * values[0],),
                "latency": tuple(values),
                "step_latency": tuple(v / of.steps for v in values for _ in range(of.steps)),
                "peak_resident": (peak,),
            },
            warmups={"latency": (1.2 * values[0], values[0])},
            facts={"threads": 2, "peak_without_warmup": True},
        )
        for number, values in enumerate(processes)
    )


def noisy(of: Cell, seconds: float, processes: int = 3, repeats: int = 10) -> tuple[Record, ...]:
    """Times as a machine gives them: half a per cent between processes, one within."""
    rng = np.random.default_rng(int(of.key, 16) % 2**32)
    return timed(
        of,
        *(
            tuple((seconds * rng.normal(1, 0.005) * rng.normal(1, 0.01, repeats)).tolist())
            for _ in range(processes)
        ),
    )


def quality(of: Cell, drift: float, **facts) -> Record:
    """The pictures' record; a drift of zero gives identical pictures."""
    rng = np.random.default_rng(int(of.quality_key, 16) % 2**32)
    drifts = (drift * rng.uniform(0.8, 1.2, 48)).tolist()
    psnr = [float("inf") if d < 1e-5 else 12 - 20 * np.log10(d) for d in drifts]
    near, far = {"change": 40 * drift, "error": 0.4}, {"change": 40 * drift, "error": 0.3}
    return record(
        of,
        Stage.QUALITY,
        metrics={
            "latent_drift": tuple(drifts),
            "psnr": tuple(map(float, psnr)),
            f"{FD}@dataset": (21.4 + 40 * drift,),
            f"{FD}@softmax": (40 * drift,),
        },
        facts={
            "samples": 48,
            "micro_batch": 16,
            "extractor": {"name": "fashion_cnn", "sha256": "ab" * 32},
            "pictures": f"images/{of.quality_key}",
            "paired": {f"{FD}@dataset": near, f"{FD}@softmax": far},
            "knob_digest": of.quality_key,
            "constant_share": 0.0,
        }
        | facts,
    )


def searched(label: str, largest: int = 40, **facts) -> tuple[Record, ...]:
    """Every record of a good cell of METHODS whose batch size is `max`."""
    of = cell(label, LARGEST)
    told = {
        "trials": [[largest, "fits", 5 * 2**20, 1.0], [largest + 1, "out of memory", None, 1.0]],
        "fails": largest + 1,
        "wavering": [],
        "peak": "peak_resident",
        "memory_limit": 2**30,
    }
    return (
        record(of, Stage.GATE, facts={"exact": METHODS[label][5], "kernels": ["math"]}),
        record(of, Stage.FIT, metrics={LARGEST_BATCH: (float(largest),)}, facts=told | facts),
    )


def measured(label: str, batch_size: int = 1, slower: float = 1.0, **axes) -> tuple[Record, ...]:
    """Every record of a good cell of METHODS but the pictures'."""
    _, _, seconds, core, _, exact = METHODS[label]
    of = cell(label, batch_size, **axes)
    kernels = ["flash"] if label == "sdpa" else ["math"]
    return (
        gate(of, core, exact=exact, kernels=kernels),
        *noisy(of, slower * seconds * batch_size**0.9),
    )


def failures() -> tuple[Record, ...]:
    """One cell of each kind that is not ok, each as the stage that finds it out would say it."""
    oom, crash = cell("oom"), cell("crash")
    return (
        record(
            cell("wrong-axis"),
            Stage.GATE,
            status=Status.FAILED_GATE,
            reason="is declared exact, but lies 1.02 from softmax in float64",
        ),
        record(
            cell("overflow"),
            Stage.GATE,
            status=Status.NOT_FINITE,
            reason="3.1% of the core's output is not finite",
        ),
        gate(oom),
        record(
            oom,
            Stage.TIME,
            status=Status.OUT_OF_MEMORY,
            reason="CUDA out of memory",
            facts={"replicates_skipped": 2},
        ),
        record(
            cell("hang"), Stage.GATE, status=Status.TIMEOUT, reason="no answer within 1800 seconds"
        ),
        gate(crash),
        *timed(crash, (0.1, 0.1)),
        record(
            crash,
            Stage.TIME,
            status=Status.CRASHED,
            replicate=1,
            reason="segmentation fault (SIGSEGV)",
        ),
        record(
            cell("xformers"), Stage.PLAN, status=Status.UNSUPPORTED, reason="needs an NVIDIA GPU"
        ),
        record(
            cell("softmax", 64), Stage.PLAN, status=Status.EXCLUDED, reason="out of memory, slow"
        ),
    )


CLAIMS = (
    {
        "metric": "core_macs",
        "value": 40e6,
        "tolerance": 0.005,
        "source": "Monarch paper, DiT table",
        "per": "step",
        "where": {"attention": "monarch", "attention.block_size": 16, "batch_size": 1},
    },
    {
        "metric": "macs",
        "value": 1.19e11,
        "tolerance": 0.01,
        "source": "DiT paper, table 4",
        "per": "image",
        "where": {"attention": "softmax", "batch_size": 1},
    },
    {
        "metric": "latency",
        "value": 0.01,
        "tolerance": 0.1,
        "source": "a blog post",
        "per": "step",
        "where": {"attention": "sageattention"},
    },
)


def good_records(batches: tuple[int, ...] = (1, 4), **slower: float) -> tuple[Record, ...]:
    """Gates, times and pictures of all METHODS. slower: factors on the seconds of a method by name."""
    rows = [
        part
        for batch in batches
        for label, (name, *_) in METHODS.items()
        for part in measured(label, batch, slower.get(name, 1.0))
    ]
    return (*rows, *(quality(cell(label), method[4]) for label, method in METHODS.items()))


def fake_run(*records: Record, **parts) -> Run:
    """A run of those records; of all METHODS at batch 1 and 4 and of one failure of each kind if none."""
    records = records or (*good_records(), *failures())
    own = [one for one in records if not one.stage.of_pictures and one.stage is not Stage.CANARY]
    cells = {one.cell.key: one.cell for one in own}
    plain = {
        "id": "20261121-100000-1f2e",
        "folder": Path("results/fashion/20261121-100000-1f2e"),
        "suite": "fashion",
        "suite_path": "suites/fashion.yaml",
        "suite_text": "name: fashion\nmodel: fashion-dit\nattention: [softmax, sdpa]\n",
        "command": "ditbench run suites/fashion.yaml",
        "started": "2026-11-21T10:00:00+00:00",
        "finished": True,
        "environment": ENVIRONMENT,
        "code": CODE,
        "planned": tuple(cells.values()),
        "records": tuple(records),
        "gate": {"latency": 0.02},
        "claims": CLAIMS,
    }
    return Run(**(plain | parts))
