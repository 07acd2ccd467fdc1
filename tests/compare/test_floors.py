"""Floors of noise: what equal arms differ by, told by the rule that confirms."""

from __future__ import annotations

import dataclasses

import fakes_sessions
import numpy as np
import pytest
from fakes_runs import cell, timed

from ditbench import deciding
from ditbench.compare import floors as noise_floors
from ditbench.compare.floors import floors
from ditbench.records import Status
from ditbench.store import Session

CELL = cell("sdpa")


def session(a, b, *, inside=True, pair=(CELL, CELL)) -> Session:
    """An A/A session: seconds of each process's calls, A's and B's."""
    records = [
        dataclasses.replace(one, facts={"arm": arm, "process": number})
        for arm, calls, of in zip("ab", (a, b), pair, strict=True)
        for number, one in enumerate(timed(of, *map(tuple, calls)))
    ]
    return fakes_sessions.session(*records, inside=inside, pairs=(pair,))


def noisy(processes: int, within: float, between: float, seed: int = 0) -> Session:
    """One call an arm and process, so that the call is the process's median."""
    rng = np.random.default_rng(seed)
    place = rng.normal(0, between, processes)
    a, b = (0.02 * np.exp(place + rng.normal(0, within / 2**0.5, processes)) for _ in "ab")
    return session(a[:, None].tolist(), b[:, None].tolist())


def floor_of(found: Session):
    return floors(found)[CELL.key]["latency"]


def false_gates(within: float, between: float, *, inside: bool) -> float:
    """The gate that a hundredth of all fresh sessions of equal arms would leave."""
    rng = np.random.default_rng(7)
    place = rng.normal(0, between, (2, 40_000, 5))
    place = place[:1] if inside else place
    a, b = np.exp(place + rng.normal(0, within / 2**0.5, (2, 40_000, 5)))
    decision = deciding.decide(a, b, 0.0, b / a if inside else None)
    first, second = np.log(decision.ratio), np.log(decision.best)
    agreed = np.where(first * second > 0, np.minimum(abs(first), abs(second)), 0)
    return float(np.expm1(np.quantile(agreed, 0.99)))


@pytest.mark.parametrize(("within", "between"), [(0.004, 0.05), (0.01, 0.002)])
def test_a_known_spread_gives_the_floor_of_fresh_sessions(within, between):
    found = floor_of(noisy(400, within, between))
    assert found.inside == pytest.approx(false_gates(within, between, inside=True), rel=0.15)
    assert found.apart == pytest.approx(false_gates(within, between, inside=False), rel=0.15)
    assert found.processes == 400
    assert found.id == CELL.id


def test_ten_processes_seldom_promise_less_than_fresh_sessions_show():
    truth = false_gates(0.004, 0.05, inside=True)
    told = [floor_of(noisy(10, 0.004, 0.05, seed)).inside for seed in range(12)]
    # The gate is twice the floor: that it is too low by half must not happen.
    assert min(told) > truth / 2
    assert np.median(told) > 0.9 * truth
    assert max(told) < 3 * truth


def test_what_all_calls_of_a_process_share_cancels_inside_and_not_apart():
    found = floor_of(noisy(10, 0.002, 0.05))
    assert found.inside < 0.005
    assert found.apart > 0.03


def test_floors_grow_with_the_noise_exactly():
    """Twice the noise in every logarithm is twice the floor's."""
    one, two = (floor_of(noisy(10, scale, 10 * scale)) for scale in (0.002, 0.004))
    for kind in ("inside", "apart"):
        assert np.log1p(getattr(two, kind)) == pytest.approx(2 * np.log1p(getattr(one, kind)))


@pytest.mark.parametrize("kind", ["inside", "apart"])
def test_fewer_processes_promise_less_and_say_their_number(kind):
    """Of the same spread, the middle one of seven sessions of so many processes."""
    told = {}
    for number in (2, 3, 10):
        found = [floor_of(noisy(number, 0.004, 0.02, seed)) for seed in range(7)]
        assert {one.processes for one in found} == {number}
        told[number] = float(np.median([getattr(one, kind) for one in found]))
    assert told[2] > 2 * told[3] > 3 * told[10]


def test_a_fastest_process_without_noise_does_not_hide_that_of_the_others():
    """The best ratio is its own wherever it takes part."""
    place = 0.02 * np.array([0.8, 1.0, 1.01, 1.02, 1.03])
    a, b = place[:, None], (place * [1.0, 1.01, 0.99, 1.01, 0.99])[:, None]
    assert floor_of(session(a.tolist(), b.tolist())).inside > 0.01


def test_equal_times_have_no_noise():
    found = floor_of(session([[0.02]] * 5, [[0.02]] * 5))
    assert (found.inside, found.apart) == (0.0, 0.0)


def test_one_process_has_no_floor():
    assert floors(session([[0.02, 0.03]], [[0.02, 0.03]])) == {}


@pytest.mark.parametrize("bad", [float("nan"), 0.0, -1.0, float("inf")])
def test_a_process_without_a_time_is_none(bad):
    a, b = [[0.020], [0.021], [0.022], [0.020]], [[0.020], [0.0211], [0.0219], [0.02]]
    without = floor_of(session(a[:3], b[:3]))
    assert floor_of(session([*a[:3], [bad]], b)) == without
    assert floor_of(session(a, [*b[:3], [bad]])) == without
    assert floors(session([[bad]] * 4, b)) == {}


def test_a_process_that_one_arm_did_not_live_through_is_none():
    whole = session([[0.020], [0.021], [0.022]], [[0.020], [0.0211], [0.0219]])
    last = whole.records[-1]
    broken = dataclasses.replace(last, status=Status.CRASHED, reason="exit 1", metrics={})
    found = dataclasses.replace(whole, records=(*whole.records[:-1], broken))
    assert floor_of(found) == floor_of(session([[0.020], [0.021]], [[0.020], [0.0211]]))


def test_floors_are_the_same_whenever_they_are_computed():
    assert floors(noisy(10, 0.004, 0.05)) == floors(noisy(10, 0.004, 0.05))


def test_arms_that_are_not_equal_have_no_floor():
    calls = [[0.02]] * 5
    with pytest.raises(ValueError, match="equal arms"):
        floors(session(calls, calls, pair=(CELL, cell("monarch"))))
    with pytest.raises(ValueError, match="shared their processes"):
        floors(session(calls, calls, inside=False))


def test_a_gate_of_twice_the_floor_is_left_by_no_equal_arms():
    """At the floor itself a hundredth of them would be false; at twice the floor none of forty thousand."""
    truth = false_gates(0.01, 0.002, inside=True)
    rng = np.random.default_rng(3)
    a, b = np.exp(rng.normal(0, 0.01 / 2**0.5, (2, 40_000, 5)))
    codes = [deciding.decide(a, b, gate, b / a).codes for gate in (truth, 2 * truth)]
    false = [np.isin(one, (deciding.IMPROVED, deciding.REGRESSED)).mean() for one in codes]
    assert false[0] == pytest.approx(0.01, abs=0.004)
    assert false[1] < 2e-4


def test_another_seed_moves_a_floor_by_little(monkeypatch):
    found = noisy(10, 0.004, 0.05)
    one = floor_of(found)
    monkeypatch.setattr(noise_floors, "_SEED", 1)
    other = floor_of(found)
    assert (other.inside, other.apart) != (one.inside, one.apart)
    assert other.inside == pytest.approx(one.inside, rel=0.05)
    assert other.apart == pytest.approx(one.apart, rel=0.05)
