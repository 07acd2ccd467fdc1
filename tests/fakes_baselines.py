"""Baselines that nobody measured: as ditbench wrote them before, and as full as a GPU's would be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from fakes_runs import FD, METHODS, cell, fake_run, gate, noisy, quality

from ditbench.records import Record
from ditbench.store import Run
from ditbench.store.seal import sealed
from ditbench.store.writing import to_plain

EFFORT = {
    "timing": {"processes": 5, "repeats": 20},
    "quality": {"samples": 48},
    "metrics": ["latency", "macs", "latent_drift", "frechet"],
}


def flat(path: Path, run: Run) -> Path:
    """A baseline as schema 2 wrote it: a head, and every record whole."""
    head = {
        "schema": 2,
        "baseline": True,
        "run": run.id,
        "suite": run.suite,
        "suite_path": run.suite_path,
        "started": run.started,
        "environment": dict(run.environment.facts),
        "code": dict(run.code),
        "gate": dict(run.gate),
        "effort": dict(run.effort),
    }
    lines = (head, *(to_plain(one) | {"schema": 2} for one in run.records))
    path.write_text("".join(sealed(line, sort_keys=True) + "\n" for line in lines))
    return path


def full(**parts) -> Run:
    """Ten cells of five methods at two batches, each timed twenty times in five processes, with pictures."""
    cells = [cell(label, batch) for label in list(METHODS)[:5] for batch in (1, 4)]
    records = [
        part
        for of in cells
        for part in (
            gate(of, 20e6, company_error=0.0, own_formulas=[], knob_digest=of.key),
            *(_on_a_gpu(one) for one in noisy(of, 0.06 * of.batch_size, 5, 20)),
            *((_judged(of),) if of.batch_size == 1 else ()),
        )
    ]
    return fake_run(*records, **({"effort": EFFORT} | parts))


def _on_a_gpu(one: Record) -> Record:
    """With everything that a GPU's record tells."""
    memory = {"peak_allocated": (1234567890.0,), "peak_reserved": (2234567890.0,)}
    facts = {
        "weights": "5f2c",
        "gpu_uuid": "GPU-6a1b2c3d-0000-1111-2222-333344445555",
        "rows": 2,
        "nfe": 20,
        "warmup": {"calls": 3, "seconds": 1.2345, "cap_s": 10.0, "stable": True, "unmet": ""},
        "stopping": {"calls": 20, "by": "repeats", "precision": 0.0012, "unmet": ""},
        "phase_s": {"loading": 1.0, "first call": 0.5, "warm-up": 1.2, "timing": 3.7},
        "timed_ns": [18021782216736, 18025548600645],
        "memory_limit": 17500000000,
        "energy": {"joules": 123.4, "source": "counter"},
        "telemetry": {
            "window_s": 3.766383909,
            "samples": 80,
            "slowed_share": 0.0,
            "power_capped": 0.0125,
            "foreign_share": 0.0,
            "foreign": [],
            "others": 0.123456789 + 0.01 * one.replicate,
            "sm_clock": [1.9e9, 1.98e9 + 1e6 * one.replicate, 1.98e9],
            "memory_clock": [2.6e9, 2.6e9, 2.6e9],
            "temperature": [50.0, 55.0, 60.0],
            "power": [300.1, 400.2, 500.3],
        },
    }
    metrics = {"energy": (12.345678,) * 20, "device_used": (3234567890.0,)} | memory
    return replace(one, facts={**one.facts, **facts}, metrics={**one.metrics, **metrics})


def _judged(of) -> Record:
    """Pictures with every metric, and everything by which their comparison is refused."""
    one, rng = quality(of, 0.1), np.random.default_rng(of.batch_size)
    facts = {
        "extractors": {
            "fashion_cnn": {"sha256": "ab" * 32, "dim": 128, "resize": "none"},
            "lpips_alex": {"sha256": "cd" * 32, "dim": 5, "resize": "none"},
        },
        "references": {
            "dataset": {"name": "fashion", "sha256": "ef" * 32, "count": 10000},
            "softmax": {"image_key": "0123456789abcdef"},
        },
        "protocol": {"vae": "none", "guidance_scale": 1.5, "sampler": "ddim", "batch": 16},
        "errors": {f"{FD}@dataset": 0.41234567},
        "by_count": {f"{FD}@dataset": [[12, 30.1], [24, 25.1], [48, 21.4]]},
    }
    more = {
        "ssim": tuple(rng.uniform(0.5, 0.9, 48).tolist()),
        "lpips": tuple(rng.uniform(0.1, 0.5, 48).tolist()),
    }
    return replace(one, metrics={**one.metrics, **more}, facts={**one.facts, **facts})
