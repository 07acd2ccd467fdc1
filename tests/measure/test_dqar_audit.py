"""What `dqar` says of itself is what ran, in every one of its ways."""

from __future__ import annotations

import pytest
from cells import TINY, cell

from ditbench.jobs import Findings, Job, Quality, Timing
from ditbench.measure import gates
from ditbench.records import Stage, Status
from ditbench.reuse import entropy

STEPS = 6
OPEN = {
    "threshold": 100.0, "warmup": 0, "snr_low": 0.0, "snr_high": 1e9, "limit": 2, "core": "sdpa",
}  # fmt: skip
# Rows x tokens x width x bytes, of every block.
OUTPUTS = 2 * 2 * 16 * 32 * 4 * TINY.depth


def run(tmp_path, settings) -> Findings:
    what = cell("dqar", settings=tuple((OPEN | settings).items()), steps=STEPS, batch_size=2)
    job = Job(what, Stage.GATE, 0, Timing(), Quality(), ("latency",), "cpu", tmp_path)
    return gates.run(job, lambda _phase: None)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, 2.0),
        ({"mode": "output"}, 1.0),
        ({"guidance": "apart"}, 2.0),
        ({"precision": "int8"}, 0.5),
        ({"guidance": "apart", "across": True, "mode": "output", "limit": 1}, 1.0),
    ],
    ids=str,
)
def test_computed_and_reused_are_all_forwards_and_multiply_adds_agree(tmp_path, settings, kept):
    found = run(tmp_path, settings)
    assert (found.status, found.reason) == (Status.OK, "")
    told = found.facts["reuse"]
    assert told["forwards"] == STEPS * TINY.depth
    assert found.metrics["reuse_ratio"][0] == pytest.approx(1 / 2 if "limit" in settings else 2 / 3)
    scales = 2 * 4 * 2 * TINY.depth * 4 if settings.get("precision") else 0
    assert found.metrics["cache_bytes"] == (OUTPUTS * kept + scales,)
    whole = STEPS * found.metrics["macs"][0]
    assert found.metrics["trajectory_macs"][0] < whole
    assert set(told["map"]) == {f"transformer_blocks.{n}.attn1" for n in range(TINY.depth)}


def test_entropy_that_is_looked_at_costs_multiply_adds_and_they_are_told(tmp_path):
    """A tau of 0.1 lets nothing pass, so it is looked at in every step but the last."""
    blind, looking = run(tmp_path, {}), run(tmp_path, {"threshold": 0.4})
    assert (looking.status, looking.reason) == (Status.OK, "")
    assert looking.metrics["reuse_ratio"] == (0.0,)
    looks = (STEPS - 1) * TINY.depth * entropy.macs(4, 2, 16, 16, 16)
    assert looking.metrics["macs"] == blind.metrics["macs"]
    assert looking.metrics["trajectory_macs"] == (STEPS * looking.metrics["macs"][0] + looks,)
    assert looking.metrics["cache_bytes"][0] == blind.metrics["cache_bytes"][0] + 4 * TINY.depth


def test_with_the_defaults_a_run_may_end_before_anything_is_reused(tmp_path):
    found = run(tmp_path, {"warmup": STEPS})
    assert (found.status, found.metrics["reuse_ratio"]) == (Status.OK, (0.0,))
    assert found.facts["reuse"]["reasons"] == [["warming up", False, STEPS * TINY.depth]]
    assert found.facts["reuse"]["drift"][-1] < 1e-6
