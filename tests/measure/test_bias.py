"""Real pictures against real pictures: what few of them do to a distance, and that the summary says so."""

import os
from pathlib import Path

import numpy as np
import pytest
from fakes_runs import cell, fake_run, gate, measured, record

from ditbench import summary
from ditbench.datasets import open_dataset, padded
from ditbench.distances import frechet, kernel
from ditbench.extractors.base import made
from ditbench.measure import features
from ditbench.records import Stage

# Where Debian's package dataset-fashion-mnist puts it, unless the environment says otherwise.
FASHION = Path(os.environ.get("DITBENCH_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
COUNTS = (32, 64, 125, 250, 500, 1000)


def real():
    """Features of 2,000 real pictures in no order."""
    chosen = np.random.default_rng(0).permutation(10_000)[:2000]
    pictures = padded(open_dataset(str(FASHION), "test"), 32).take(chosen.tolist())[0]
    return features.of_batches(made("fashion_cnn").open(), [pictures]).pool


@pytest.mark.skipif(
    not FASHION.is_dir(),
    reason="no Fashion-MNIST: install dataset-fashion-mnist, or set DITBENCH_FASHION_MNIST to a folder",
)
def test_mistake_21_two_sets_of_real_pictures_are_far_apart_where_they_are_few():
    rows = real()
    far = [frechet.between(rows[:n], rows[1000 : 1000 + n]) for n in COUNTS]
    assert far == sorted(far, reverse=True)
    assert far[0] > 10 * far[-1]
    # Unbiased: no trend, and never far from nothing as its own error goes.
    for n in COUNTS[1:]:
        value = kernel.mmd(rows[:n], rows[1000 : 1000 + n])
        assert abs(value) < 4 * kernel.error(rows[:n], rows[1000 : 1000 + n]), n


@pytest.mark.parametrize(
    ("count", "warned"), [(125, True), (250, True), (500, True), (1000, True), (2049, False)]
)
def test_mistake_21_each_number_below_inceptions_features_is_warned_of(count, warned):
    of = cell("monarch")
    facts = {
        "samples": count,
        "extractors": {"inception": {"sha256": "aa" * 32, "dim": 2048, "resize": "legacy"}},
    }
    judged = record(of, Stage.QUALITY, metrics={f"fid_{count}@dataset": (100.0,)}, facts=facts)
    run = fake_run(gate(of), *measured("monarch"), judged, planned=(of,))
    (row,) = summary.summarise(run).rows
    assert (
        any(f"{count:,} pictures are too few for the 2,048" in one for one in row.doubts) is warned
    )
