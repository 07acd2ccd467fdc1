"""`make gate-real`: what it measures is what it says; the half hour itself is not run here."""

from __future__ import annotations

import importlib
import os
import select
import sys
from pathlib import Path

import pytest
import torch
from fakes_runs import cell
from fakes_sessions import noise, session, turns

from ditbench.attention.base import METHODS, Shape
from ditbench.devices.family import Family
from ditbench.records import Choice

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench():
    places = [str(ROOT / "benchmarks"), str(ROOT / "suites")]
    sys.path[:0] = places
    yield importlib.import_module("gate_real")
    for place in places:
        sys.path.remove(place)


def equal(processes, *cells):
    """Equal arms, of which every process has a time of its own."""
    times = [0.02 + 1e-5 * number for number in range(processes)]
    return session(*(one for of in cells for one in turns(of, times, times)), inside=True)


def test_no_process_is_in_two_comparisons(bench):
    cut = list(bench.comparisons(equal(20, cell("sdpa"), cell("monarch")), 4))
    seen = [{one.facts["process"] for one in found.records} for found in cut]
    assert [sorted(numbers) for numbers in seen] == [
        list(range(first, first + 5)) for first in (0, 5, 10, 15)
    ]
    assert all(len(found.records) == 2 * 2 * 5 for found in cut)


def test_equal_arms_are_judged_cell_by_cell_in_every_comparison(bench):
    of = cell("sdpa")
    found = bench.judged(equal(20, of, cell("monarch")), 4, noise(of, 0.004), alone=False)
    assert len(found) == 8
    assert {str(one.verdict) for one in found} == {"unchanged"}


def test_planted_comparisons_are_of_one_cell_each_and_no_more_than_asked_for(bench):
    cells = (cell("sdpa"), cell("monarch"))
    found = bench.judged(equal(10, *cells), 3, noise(cells[0], 0.004), alone=True)
    assert [one.cell for one in found] == [cells[0], cells[1], cells[0]]


def test_a_false_verdict_breaks_the_promise_and_is_shown(bench):
    of = cell("sdpa")
    slow = session(*turns(of, [0.02] * 5, [0.03] * 5), inside=True)
    findings = bench.judged(slow, 1, noise(of, 0.004), alone=False)
    assert [str(one.verdict) for one in findings] == ["regressed"]
    told = bench.told("equal", "", findings, lambda counts: not counts["regressed"])
    assert not told.kept
    assert told.verdicts == {"regressed": 1}
    assert told.worst[0].startswith("sdpa x1: side by side B/A is 1.500")


@pytest.mark.parametrize("method", ["softmax", "sdpa", "monarch", "nystromformer", "linear"])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0, 2.3])
def test_more_work_is_real_and_changes_no_bit(bench, method, share):
    q, k, v = torch.randn(3, 2, 4, 64, 16).unbind()
    heavy = METHODS.get(bench.HEAVIER)(method=method, share=share)
    plain = METHODS.get(method)()
    assert torch.equal(heavy.attend(q, k, v), plain.attend(q, k, v))
    assert heavy.is_exact == plain.is_exact
    shape = Shape(2, 4, 64, 16)
    more = heavy.macs(shape) - plain.macs(shape)
    assert more == 2 * 2 * 4 * round(share * 64) * 64 * 16


def test_the_heavier_cell_differs_in_its_attention_alone(bench):
    of = cell("sdpa", 2)
    heavy = bench.heavier(of, 0.123456)
    settings = (("method", "sdpa"), ("share", 0.1235))
    assert heavy.attention == Choice(bench.HEAVIER, settings, "sdpa + 0.12 softmax")
    assert (heavy.model, heavy.batch_size, heavy.steps) == (of.model, of.batch_size, of.steps)
    assert heavy.key != of.key


def test_shares_are_found_on_the_line_through_two_measured_points(bench, monkeypatch):
    """Here extra work costs 1 % by being there, and 20 % for each whole share."""
    asked = []

    def effects(_machine, _name, shares):
        asked.append(shares)
        return [0.01 + 0.2 * share for share in shares]

    monkeypatch.setattr(bench, "effects", effects)
    assert bench.calibrated(None, [0.05, 0.11]) == pytest.approx([0.2, 0.5])
    assert asked[0] == [0.5, 0.5]


def test_the_busy_process_is_a_stranger_and_is_gone_afterwards(bench):
    with bench.a_busy_core() as pid:
        handle = os.pidfd_open(pid)
        assert not Family(os.getpid()).ours(pid)
    assert select.select([handle], [], [], 60)[0], "it still runs"
    os.close(handle)
