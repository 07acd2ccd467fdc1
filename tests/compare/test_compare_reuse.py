"""Of methods with memory caches are exact, calibration is judged where it is gated, and bounds never are."""

from __future__ import annotations

import pytest
from fakes_reuse import dqar, remembering
from fakes_runs import fake_run

from ditbench.compare import Verdict, compare

OF = dqar()


def found(then, now, **parts):
    """Findings by metric of one cell, with these metrics then and now."""
    before, after = (fake_run(*remembering(OF, **one)) for one in (then, now))
    result = compare(fake_run(*after.records, **parts), before, "main")
    return {one.metric: one for one in result.findings}


@pytest.mark.parametrize(
    ("now", "verdict", "reason"),
    [
        (1048576.0, Verdict.UNCHANGED, "equal"),
        (1048577.0, Verdict.REGRESSED, "1.00 MiB -> 1.00 MiB; a count needs no confirmation"),
        (524288.0, Verdict.IMPROVED, "1.00 MiB -> 512 KiB; a count needs no confirmation"),
        (0.0, Verdict.IMPROVED, "1.00 MiB -> 0 B; a count needs no confirmation"),
    ],
    ids=["equal", "a byte more", "half", "none"],
)
def test_bytes_of_a_cache_are_exact(now, verdict, reason):
    one = found({"cache_bytes": 1048576.0}, {"cache_bytes": now})["cache_bytes"]
    assert (one.verdict, one.reason) == (verdict, reason)


def test_a_cache_that_was_empty_is_no_hole_in_a_baseline():
    one = found({"cache_bytes": 0.0}, {"cache_bytes": 1024.0})["cache_bytes"]
    assert (one.verdict, one.reason) == (
        Verdict.REGRESSED,
        "0 B -> 1.00 KiB; a count needs no confirmation",
    )


def test_another_share_of_reuse_is_told_and_is_neither_better_nor_worse():
    one = found({"reuse_ratio": 0.4}, {"reuse_ratio": 0.5})["reuse_ratio"]
    assert (one.verdict, one.reason) == (
        Verdict.INCONCLUSIVE,
        "0.400 -> 0.500: neither better nor worse by itself; times and drift say what it is worth",
    )


def test_more_work_over_a_trajectory_is_a_regression():
    one = found({"trajectory_macs": 5e9}, {"trajectory_macs": 6e9})["trajectory_macs"]
    assert one.verdict is Verdict.REGRESSED


def test_calibration_is_judged_only_where_a_suite_gates_it():
    then, now = {"calibration_time": 100.0}, {"calibration_time": 130.0}
    assert "calibration_time" not in found(then, now)
    one = found(then, now, gate={"calibration_time": 0.2})["calibration_time"]
    assert (one.verdict, one.reason) == (
        Verdict.REGRESSED,
        "+30.0 % beyond the suite's 20.0 %",
    )
    one = found(now, then, gate={"calibration_time": 0.2})["calibration_time"]
    assert (one.verdict, one.reason) == (
        Verdict.IMPROVED,
        "\N{MINUS SIGN}23.1 % beyond the suite's 20.0 %",
    )


def test_a_calibration_within_a_second_has_not_changed():
    one = found(
        {"calibration_time": 1.0}, {"calibration_time": 1.9}, gate={"calibration_time": 0.1}
    )
    assert one["calibration_time"].verdict is Verdict.UNCHANGED


def test_the_time_of_a_bound_is_never_judged():
    gate = {"replay_latency": 0.01}
    assert "replay_latency" not in found(
        {"replay_latency": 0.04}, {"replay_latency": 0.09}, gate=gate
    )
