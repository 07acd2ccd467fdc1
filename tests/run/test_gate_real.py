"""`make gate-real`: what it measures is what it says; the half hour itself is not run here."""

from __future__ import annotations

import dataclasses
import importlib
import json
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
from ditbench.store import SessionWriter

NOISE = noise(cell("sdpa"), 0.004)
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
    cut = bench.comparisons(equal(20, of, cell("monarch")), 4)
    found = bench.judged(cut, NOISE)
    assert len(found) == 8
    assert {str(one.verdict) for one in found} == {"unchanged"}


def slowed(bench, processes, by, *cells):
    """Arms of which the second does more work."""
    times = [0.02 + 1e-5 * number for number in range(processes)]
    pairs = tuple((of, bench.heavier(of, 0.25)) for of in cells)
    records = (
        dataclasses.replace(one, cell=pair["ab".index(one.facts["arm"])])
        for pair in pairs
        for one in turns(pair[0], times, [by * one for one in times])
    )
    return session(*records, inside=True, pairs=pairs)


class TestPlanted:
    def test_a_planted_cell_stands_among_the_equal_ones_of_its_comparison(self, bench):
        cells = (cell("sdpa"), cell("monarch"))
        mixed = bench.one_among(slowed(bench, 5, 1.1, *cells), equal(5, *cells), 1)
        assert [b.attention.label for _a, b in mixed.pairs] == ["sdpa", "monarch + 0.25 softmax"]
        assert len(mixed.records) == 2 * 2 * 5
        verdicts = {
            str(one.cell.attention): str(one.verdict) for one in bench.judged([mixed], NOISE)
        }
        assert sorted(verdicts.values()) == ["regressed", "unchanged"]

    def test_each_comparison_has_another_cell_slowed_and_processes_of_its_own(self, bench):
        cells = (cell("sdpa"), cell("monarch"))
        found = bench.judged_planted(slowed(bench, 10, 1.1, *cells), equal(15, *cells), 3, NOISE)
        labels = [one.cell.attention.label for one in found]
        assert labels == [f"{name} + 0.25 softmax" for name in ("sdpa", "monarch", "sdpa")]
        assert {str(one.verdict) for one in found} == {"regressed"}

    def test_more_work_than_was_to_be_planted_breaks_the_promise(self, bench):
        assert bench.worth_told(["sdpa"], [0.05], [0.055]).kept
        told = bench.worth_told(["sdpa", "linear"], [0.05, 0.06], [0.05, 0.09])
        assert not told.kept
        assert told.worst == ("linear: 9.00 % where 6.00 % was to be planted",)


class TestBusy:
    def test_inconclusive_answers_keep_the_promise(self, bench):
        four = equal(4, cell("sdpa"))
        assert bench.told_busy([four], NOISE).kept

    def test_an_unchanged_one_does_not_where_the_exit_code_says_nothing(self, bench):
        told = bench.told_busy([equal(5, cell("sdpa"))], NOISE)
        assert not told.kept
        assert "exit code" not in told.found

    def test_an_unchanged_one_does_where_it_does(self, bench):
        crowded = busy(equal(5, cell("sdpa"), cell("monarch")), "sdpa")
        told = bench.told_busy([crowded], NOISE)
        assert told.kept
        assert told.found == "1 inconclusive, 1 unchanged; exit code 6"

    def test_a_regression_never_does(self, bench):
        crowded = busy(slowed(bench, 5, 1.1, cell("sdpa"), cell("monarch")), "sdpa")
        assert not bench.told_busy([crowded], NOISE).kept


@pytest.mark.slow
class TestWhole:
    """What was measured before, judged anew: every promise, from files."""

    CELLS = (cell("sdpa"), cell("monarch"))

    def write(self, folder, bench, planted=1.05, ratio=1.0):
        crowd = {"telemetry": {"others": 1.0, "samples": 10}}
        even = equal(20, *self.CELLS)
        told = {
            "floor": even,
            "calibration-1": slowed(bench, 4, 1.02, *self.CELLS),
            "calibration-2": slowed(bench, 4, 1.12, *self.CELLS),
            "planted": slowed(bench, 5, planted, *self.CELLS),
            "equal": equal(10, *self.CELLS)
            if ratio == 1
            else slowed(bench, 10, ratio, *self.CELLS),
            "busy-equal": crowded(equal(5, *self.CELLS), crowd),
            "busy-planted": crowded(slowed(bench, 5, 1.05, *self.CELLS), crowd),
        }
        for name, found in told.items():
            path = folder / f"{name}.session.jsonl"
            with SessionWriter.create(dataclasses.replace(found, path=path)) as writer:
                for record in found.records:
                    writer.append(record)
                writer.finish()

    def judged(self, bench, folder, capsys):
        code = bench.main(["--again", str(folder), "--comparisons", "2", "--json"])
        found = json.loads(capsys.readouterr().out)
        return code, {one["name"]: one for one in found["promises"]}, found

    def test_where_all_is_kept_the_code_is_0(self, bench, tmp_path, capsys):
        self.write(tmp_path, bench)
        code, promises, found = self.judged(bench, tmp_path, capsys)
        assert {name: one["kept"] for name, one in promises.items()} == dict.fromkeys(
            ("equal", "planted", "worth", "busy"), True
        )
        assert code == 0
        # 2 % at a half and 12 % at three: 5 % at 1.25.
        assert [one["share"] for one in found["cells"]] == pytest.approx([1.25, 1.25], abs=0.01)
        assert promises["equal"]["verdicts"] == {"unchanged": 4}

    @pytest.mark.parametrize(
        ("parts", "broken"),
        [({"planted": 1.0}, "planted"), ({"planted": 1.08}, "worth"), ({"ratio": 1.05}, "equal")],
    )
    def test_a_promise_that_is_not_kept_is_code_1(self, bench, tmp_path, capsys, parts, broken):
        self.write(tmp_path, bench, **parts)
        code, promises, _found = self.judged(bench, tmp_path, capsys)
        assert (code, promises[broken]["kept"]) == (1, False)


def crowded(found, told):
    """All of it beside other programs."""
    records = (dataclasses.replace(one, facts=one.facts | told) for one in found.records)
    return dataclasses.replace(found, records=tuple(records))


def busy(found, name):
    """The session, in which other programs kept a processor busy beside one of the cells."""
    told = {"telemetry": {"others": 1.0, "samples": 10}}
    records = (
        dataclasses.replace(one, facts=one.facts | told)
        if name in one.cell.attention.label
        else one
        for one in found.records
    )
    return dataclasses.replace(found, records=tuple(records))


def test_a_false_verdict_breaks_the_promise_and_is_shown(bench):
    slow = session(*turns(cell("sdpa"), [0.02] * 5, [0.03] * 5), inside=True)
    findings = bench.judged([slow], NOISE)
    assert [str(one.verdict) for one in findings] == ["regressed"]
    told = bench.told("equal", "", findings, (lambda one: str(one.verdict) == "unchanged", 1))
    assert not told.kept
    assert told.verdicts == {"regressed": 1}
    assert told.worst[0].startswith("sdpa x1: side by side B/A is 1.500")


def test_a_promise_about_nothing_is_not_kept(bench):
    assert not bench.told("equal", "", (), (lambda _one: True, 0)).kept


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


def test_shares_are_found_on_the_line_through_two_measured_points(bench):
    """Here extra work costs 1 % by being there, and 4 % for each whole share."""

    class Source:
        cells = (cell("sdpa"), cell("monarch"))

        def session(self, _name, pairs, processes, _long_s):
            times = [0.02 + 1e-5 * number for number in range(processes)]
            shares = [dict(b.attention.settings)["share"] for _a, b in pairs]
            return session(
                *(
                    dataclasses.replace(one, cell=pair["ab".index(one.facts["arm"])])
                    for pair, share in zip(pairs, shares, strict=True)
                    for one in turns(pair[0], times, [(1.01 + 0.04 * share) * one for one in times])
                ),
                inside=True,
                pairs=pairs,
            )

    assert bench.calibrated(Source(), [0.05, 0.11]) == pytest.approx([1.0, 2.5], rel=1e-3)


def test_the_busy_process_is_a_stranger_and_is_gone_afterwards(bench):
    with bench.a_busy_core() as pid:
        handle = os.pidfd_open(pid)
        assert not Family(os.getpid()).ours(pid)
    assert select.select([handle], [], [], 60)[0], "it still runs"
    os.close(handle)
