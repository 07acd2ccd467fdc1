"""Attention cores by themselves are compared as finely as their clock allows."""

from __future__ import annotations

import pytest
from fakes_ops import op_run

from ditbench.compare import Verdict, compare


@pytest.mark.parametrize(
    ("now", "verdict"), [(150e-6, Verdict.INCONCLUSIVE), (100.5e-6, Verdict.UNCHANGED)]
)
def test_tens_of_microseconds_are_a_change_of_a_core(now, verdict):
    """Of a model's latency less than a millisecond would say nothing."""
    before, after = (op_run({"sdpa": {64: value}}, spread=0.001) for value in (100e-6, now))
    found = {one.metric: one.verdict for one in compare(after, before, "main").findings}
    assert found["latency"] is verdict
