"""Lines of traces that nobody sampled, with a rule planted in them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ditbench.reuse.policy import LOG_SNR_BOUND
from ditbench.reuse.trace import Line


def line(sample=0, step=0, site=0, error=0.01, **changed):
    """Of a run of 20 steps whose SNR grows from 0.01 to 100."""
    seen = {
        "entropy": 3.0 + 0.2 * site,
        "log_snr": LOG_SNR_BOUND * (step / 9.5 - 1),
        "log_norm": 4.0 + 0.01 * sample,
        "step_share": step / 19,
        "prompt": 1.0,
    }
    made = Line(
        *("m", "dqar", 0, sample, f"blocks.{site}", site, step, 20, "both"),
        True,
        "gates",
        seen,
        error,
    )
    return dataclasses.replace(made, **changed)


def planted(samples=4, seed=0):
    """Traces in which the error of a reuse depends on the SNR alone: below 0.05 from the middle on."""
    noise = np.random.default_rng(seed)
    return [
        line(
            sample,
            step,
            site,
            seed=seed,
            error=0.05 * math.exp(-(step - 9.5) / 4 + noise.normal(0, 0.05)),
        )
        for sample in range(samples)
        for step in range(20)
        for site in range(4)
    ]
