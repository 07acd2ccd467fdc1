"""Two arms in one process: in turns, on equal numbers, and each value kept."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from cells import cell
from fakes_ops import core

from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import duel, measure, op_timing, timing
from ditbench.measure.timing import stopping_of
from ditbench.records import Choice, Sampling, Stage, Status

QUICK = Timing(warmup=2, repeats=4, processes=1, warmup_cap_s=0)


@pytest.fixture(autouse=True)
def no_least(monkeypatch):
    monkeypatch.setattr(duel, "_LEAST_S", 0.0)


def fought(tmp_path, a, b, process=0, what=QUICK):
    job = Job(
        b, Stage.TIME, process, what, Quality(), ("latency",), "cpu", tmp_path / "p", beside=a
    )
    return measure(job, lambda _phase: None)


@pytest.fixture
def seen(monkeypatch):
    """Which arm sampled what, in order: the method's name and the sum of the latents that it began with."""
    found = []
    sample = timing.Bench.sample

    def watched(bench, inputs, *rest, **more):
        found.append((bench.cell.attention.name, inputs[-1].tolist(), float(inputs[0].sum())))
        return sample(bench, inputs, *rest, **more)

    monkeypatch.setattr(timing.Bench, "sample", watched)
    return found


@pytest.mark.parametrize(("process", "order"), [(0, "abba"), (1, "baab")])
def test_mistake_10_no_arm_always_comes_first(tmp_path, seen, process, order):
    """Neither in a process, where calls go A B B A, nor of all processes."""
    found = fought(tmp_path, cell("softmax"), cell("sdpa"), process)
    names = {"a": "softmax", "b": "sdpa"}
    assert [name for name, *_ in seen[2:]] == [names[arm] for arm in order] * 3
    assert [name for name, *_ in seen[:2]] == [names[arm] for arm in order[:2]]
    assert found.facts["begins"] == order[0]


def test_both_arms_of_a_pair_work_on_equal_numbers_and_no_two_pairs_do(tmp_path, seen):
    fought(tmp_path, cell("softmax", batch_size=2), cell("sdpa", batch_size=2))
    pairs = [(one[1:], other[1:]) for one, other in zip(seen[2::2], seen[3::2], strict=True)]
    assert all(one == other for one, other in pairs)
    assert [one[0] for one, _ in pairs] == [[2 * n, 2 * n + 1] for n in range(6)]


def test_an_arm_against_itself_keeps_every_value_in_order(tmp_path):
    found = fought(tmp_path, cell("softmax"), cell("softmax"))
    assert found.status is Status.OK
    for arm in ("a", "b"):
        told = found.facts["arms"][arm]
        assert len(told["metrics"]["latency"]) == 4
        assert len(told["warmups"]["latency"]) == 2
        assert len(told["warmups"]["first_call"]) == 1
        assert told["facts"]["rows"] == 2
    assert found.facts["stopping"]["by"] == "repeats"
    begin, end = found.facts["timed_ns"]
    spent = sum(sum(told["metrics"]["latency"]) for told in found.facts["arms"].values())
    assert spent <= (end - begin) / 1e9
    starts = found.facts["calls_ns"]
    assert len(starts) == 4
    assert starts == sorted(starts)
    assert 0 <= starts[0] < starts[-1] < end - begin


class Clock:
    """Both arms' stopwatch: each run takes the next of these seconds, in one step."""

    def __init__(self, seconds):
        self.left = list(seconds)

    def start(self):
        pass

    def mark(self, step):
        pass

    def seconds(self):
        return [self.left.pop(0)]


def test_pairs_go_on_until_their_median_ratio_is_known(tmp_path, monkeypatch):
    """Of speeds that change threefold from pair to pair, and of ratios that hardly do."""
    speeds = [3.0 if n % 4 < 2 else 1.0 for n in range(1000)]
    at = [1.02 if n % 4 in {1, 2} else 1.0 for n in range(1000)]  # A B B A
    clock = Clock([s * r for s, r in zip(speeds, at, strict=True)])
    monkeypatch.setattr(duel, "stopwatch", lambda _device: clock)
    what = Timing(0, 4, 1, warmup_cap_s=0, precision=0.005, most_repeats=100)
    found = fought(tmp_path, cell("softmax"), cell("softmax"), what=what)
    assert found.facts["stopping"]["by"] == "precision"
    assert found.facts["stopping"]["calls"] == 6  # the fewest of which a median has an interval


def test_pairs_that_become_no_clearer_go_on_to_the_end_all_the_same(tmp_path, monkeypatch):
    """A run gives up there; a neighbour who came in the middle of a process may leave again."""
    ratios = [0.9, 1.0, 1.1, 1.0, 0.9, 1.1] * 8
    calls = [(1.0, b) if n % 2 == 0 else (b, 1.0) for n, b in enumerate(ratios)]  # A B B A
    first = (1.0, 1.0)
    monkeypatch.setattr(
        duel, "stopwatch", lambda _device: Clock([s for pair in (first, *calls) for s in pair])
    )
    what = Timing(0, 4, 1, warmup_cap_s=0, precision=0.01, most_repeats=24)
    found = fought(tmp_path, cell("softmax"), cell("softmax"), what=what)
    assert stopping_of(what).reason(ratios[:16], 1.0) == "plateau"
    assert found.facts["stopping"]["by"] == "most_repeats"
    assert found.facts["stopping"]["calls"] == 24


def test_a_process_lasts_a_while_however_fast_its_calls(tmp_path, monkeypatch):
    """Each look at this clock finds a tenth of a second gone."""
    looks = itertools.count(0, 100_000_000)
    slow = SimpleNamespace(monotonic_ns=looks.__next__, perf_counter_ns=time.perf_counter_ns)
    monkeypatch.setattr(timing, "time", slow)
    monkeypatch.setattr(duel, "_LEAST_S", 0.5)
    found = fought(tmp_path, cell("softmax"), cell("softmax"))
    assert len(found.facts["arms"]["a"]["metrics"]["latency"]) == 2 * 5


def test_cells_that_need_one_network_share_it_and_others_do_not(tmp_path, monkeypatch):
    made = []
    set_up = duel.set_up
    monkeypatch.setattr(duel, "set_up", lambda *what: made.append(what) or set_up(*what))
    fought(tmp_path, cell("softmax"), cell("sdpa", batch_size=2))
    assert len(made) == 1
    halved = cell("softmax", sampling=Sampling(guidance_scale=2.0, dtype="bfloat16"))
    fought(tmp_path, cell("softmax"), halved)
    assert [what[0].sampling.dtype for what in made[1:]] == ["float32", "bfloat16"]


def test_compiled_code_has_a_network_to_itself():
    """Another method put into it would have it compiled again at every turn."""
    eager, compiled = cell("softmax"), cell("softmax", compile=True)
    assert duel._network(eager) == duel._network(cell("sdpa"))
    assert duel._network(compiled) != duel._network(compiled)


def test_each_arm_runs_its_own_method_on_the_network_that_both_share(tmp_path, monkeypatch):
    called = []
    for name in ("softmax", "sdpa"):
        kind = type(duel.make(cell(name).attention))
        attend = kind.attend

        def watched(method, *qkv, _attend=attend, _name=name):
            called.append(_name)
            return _attend(method, *qkv)

        monkeypatch.setattr(kind, "attend", watched)
    fought(tmp_path, cell("softmax"), cell("sdpa"))
    runs = [called[n : n + 8] for n in range(0, len(called), 8)]  # 4 steps of 2 blocks
    assert all(len(set(run)) == 1 for run in runs)
    assert [run[0] for run in runs[2:6]] == ["softmax", "sdpa", "sdpa", "softmax"]


@pytest.mark.parametrize("first", [0, 1])
def test_arms_that_share_a_network_have_each_its_own_accelerator(tmp_path, monkeypatch, first):
    """And the arm without one has none."""
    told = {}
    sample = timing.Bench.sample

    def watched(bench, *rest, **more):
        out = sample(bench, *rest, **more)
        every = bench.denoiser.accelerated.decisions().values()
        told[bench.cell.is_accelerated] = sum(one.reused for row in every for one in row)
        return out

    monkeypatch.setattr(timing.Bench, "sample", watched)
    pab = Choice("pab", (("every", 8), ("below", 1000), ("above", 0)))
    arms = [cell("sdpa"), replace(cell("sdpa"), accelerator=pab)]
    fought(tmp_path, arms[first], arms[1 - first])
    assert told[False] == 0
    assert told[True] > 0


def test_mistake_27_an_arm_that_is_not_finite_has_no_speed(tmp_path, monkeypatch):
    sample = timing.Bench.sample

    def broken(bench, *what, **more):
        latents = sample(bench, *what, **more)
        return latents / 0 if bench.cell.attention.name == "sdpa" else latents

    monkeypatch.setattr(timing.Bench, "sample", broken)
    found = fought(tmp_path, cell("softmax"), cell("sdpa"))
    assert (found.status, found.reason) == (
        Status.NOT_FINITE,
        "what arm b computed is not finite",
    )


def test_cores_by_themselves_meet_too_on_equal_queries(tmp_path, monkeypatch):
    drawn = []
    draw = op_timing.Core.draw

    def watched(one, generator):
        draw(one, generator)
        drawn.append((one.cell.attention.name, float(one.qkv[0].sum())))

    monkeypatch.setattr(op_timing.Core, "draw", watched)
    found = fought(tmp_path, core("softmax", 16), core("sdpa", 16))
    assert found.status is Status.OK
    pairs = list(zip(drawn[::2], drawn[1::2], strict=True))
    assert all(one[1] == other[1] for one, other in pairs)
    assert [one[0] for one, _ in pairs] == ["softmax", "sdpa"] * 3
    assert len({one[1] for one, _ in pairs}) == 6
    assert found.facts["arms"]["b"]["facts"]["calls_together"] == 1
