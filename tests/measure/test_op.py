"""Attention cores by themselves on the CPU: gates, the stopwatch, the flush, and what the device gives."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ditbench.jobs import Findings, Job, Quality, Timing
from ditbench.measure import catalog, ceilings, flush, measure, op_timing, timing
from ditbench.measure.flush import Flush, cpu_cache_bytes
from ditbench.records import Cell, Choice, Op, Sampling, Stage, Status

SMALL = Op(tokens=32, heads=2, head_dim=8, cache="hot")
MONARCH = (("block_size", 4), ("num_steps", 1), ("pad", "pre"))


def core(method="softmax", op=SMALL, *, settings=(), dtype="float32", **fields) -> Cell:
    sampling = Sampling(guidance_scale=1.0, dtype=dtype)
    plain = {"blocks": (0,), "steps": 1, "sampling": sampling} | fields
    return Cell(op.choice, Choice(method, tuple(settings)), **plain)


def done(what: Cell, stage: Stage, tmp_path, timing_=None) -> Findings:
    timing_ = timing_ or Timing(1, 3, 1, warmup_cap_s=0)
    job = Job(what, stage, 0, timing_, Quality(), ("latency",), "cpu", tmp_path)
    return measure(job, lambda _phase: None)


@pytest.mark.parametrize(
    ("method", "settings"),
    [("softmax", ()), ("sdpa", ()), ("monarch", MONARCH), ("performer", ()), ("zero", ())],
)
def test_a_right_method_passes_and_tells_what_the_device_gives(method, settings, tmp_path):
    found = done(core(method, settings=settings, batch_size=2), Stage.GATE, tmp_path)
    assert (found.status, found.reason) == (Status.OK, "")
    assert found.metrics["macs"] == found.metrics["core_macs"]
    assert min(found.facts["matrix_rates"]) > 1e6
    assert min(found.facts["bandwidths"]) > 1e6


def test_the_multiply_adds_are_those_of_one_call_of_the_batch(tmp_path):
    found = done(core(batch_size=3), Stage.GATE, tmp_path)
    assert found.metrics["macs"] == (3 * 2 * 2 * 32 * 32 * 8,)
    assert found.facts["counted_core_macs"] == found.metrics["macs"][0]


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("OverHeads", "is declared exact, but lies"),
        ("ScaledTwice", "is declared exact, but lies"),
        ("PricedAtZero", "declares 0 multiply-adds a site"),
        ("NotANumber", "is not finite"),
        ("WrongShape", "must keep shape and dtype"),
        ("MixesTheBatch", "must depend on that sample's q, k and v alone"),
        ("FusedOnlyByName", "silent fallback: asked for a flash kernel"),
        ("KeepsByAllContent", "operators where the first ran"),
        ("KeepsByTensor", "the same tensors with other numbers in them"),
        ("ScalesTheQueryInPlace", "changes q, k or v"),
    ],
)
def test_a_faulty_core_is_refused_with_the_reason(method, reason, tmp_path):
    found = done(core(f"faulty:{method}"), Stage.GATE, tmp_path)
    assert found.status in {Status.FAILED_GATE, Status.NOT_FINITE}
    assert reason in found.reason
    assert not found.metrics


def test_mistake_15_the_gates_of_a_core_tell_knobs_apart(tmp_path):
    def digest(rank):
        of = core("nystromformer", settings=(("rank", rank),))
        return done(of, Stage.GATE, tmp_path).facts["knob_digest"]

    assert digest(4) == digest(4) != digest(5)


def test_a_core_that_leaves_a_switch_turned_is_refused(tmp_path):
    settings = (("switch", "torch.backends.cuda.matmul.allow_tf32"),)
    found = done(core("faulty:Leaves", settings=settings), Stage.GATE, tmp_path)
    torch.backends.cuda.matmul.allow_tf32 = False
    assert found.reason.startswith("leaves the process changed: torch.backends.cuda.matmul")


def test_a_core_that_a_compiler_cannot_take_whole_is_refused(tmp_path):
    found = done(core("faulty:BreaksTheGraph", compile=True), Stage.GATE, tmp_path)
    assert found.reason.startswith("does not compile whole")


def test_what_is_timed_is_the_method_as_a_site_makes_it_ready(tmp_path):
    """performer's directions are drawn once, before the first call, as in a model."""
    made = op_timing.set_up(core("performer"), "cpu")
    assert "w" in vars(made.attend.__self__)


class Watched(timing.CpuStopwatch):
    """A clock of which every interval lasts `each` seconds, and which writes down what happened when."""

    def __init__(self, told, each=1e-4):
        self.told, self.each = told, each

    def start(self):
        self.told.append("start")

    def mark(self, step):
        self.told.append(f"mark {step}")

    def seconds(self):
        return [self.each]


@pytest.fixture
def told(monkeypatch):
    """What a timed process did, in order."""
    found = []
    call, flushed = op_timing.Core.__call__, Flush.__call__
    monkeypatch.setattr(op_timing, "stopwatch", lambda _device: Watched(found))
    monkeypatch.setattr(op_timing.Core, "__call__", lambda one: found.append("call") or call(one))
    monkeypatch.setattr(Flush, "__call__", lambda one: found.append("flush") or flushed(one))
    monkeypatch.setattr(flush, "cpu_cache_bytes", lambda: 4096)
    return found


def test_a_cold_call_follows_a_flush_that_is_not_timed(told, tmp_path):
    cold = core(op=dataclasses.replace(SMALL, cache="cold"))
    found = done(cold, Stage.TIME, tmp_path)
    once = ["start", "flush", "mark 0", "call", "mark 1"]
    assert told == ["start", "mark 0", "call", "mark 1", "call", *once * 4]
    assert found.facts["flushed_bytes"] == 2 * 4096
    assert found.facts["calls_together"] == 1
    assert found.metrics["latency"] == (1e-4,) * 3
    assert found.warmups["latency"] == (1e-4,)
    assert found.metrics["first_call"] == (1e-4,)


def test_hot_calls_are_so_many_that_the_clock_does_not_show(told, tmp_path):
    found = done(core(), Stage.TIME, tmp_path)
    assert found.facts["calls_together"] == 10
    assert found.facts["flushed_bytes"] == 0
    assert told[-14:] == ["start", "call", "mark 0", *["call"] * 10, "mark 1"]
    assert found.metrics["latency"] == pytest.approx((1e-5,) * 3)


def test_every_interval_has_queries_of_its_own(monkeypatch, tmp_path):
    seen = []
    call = op_timing.Core.__call__
    monkeypatch.setattr(
        op_timing.Core, "__call__", lambda one: seen.append(float(one.qkv[0].sum())) or call(one)
    )
    done(core(op=dataclasses.replace(SMALL, tokens=16)), Stage.TIME, tmp_path)
    assert len(set(seen)) >= 1 + 3 + 1 + 3  # first, tries, warm-up, repeats


def test_queries_that_are_drawn_anew_lie_as_the_first_ones(tmp_path):
    made = op_timing.set_up(core(), "cpu")
    before = made.qkv[0].clone()
    strides, place = made.qkv[0].stride(), made.qkv[0].data_ptr()
    made.draw(torch.Generator().manual_seed(3))
    assert (made.qkv[0].stride(), made.qkv[0].data_ptr()) == (strides, place)
    assert not made.qkv[0].is_contiguous()
    assert not torch.equal(made.qkv[0], before)
    assert float(made.qkv[0].std()) == pytest.approx(2**0.5, rel=0.2)


def test_a_flush_writes_a_buffer_of_twice_the_cache(monkeypatch):
    monkeypatch.setattr(flush, "cpu_cache_bytes", lambda: 10_000)
    one = Flush.of(torch.device("cpu"))
    assert one.bytes == 20_000
    one()
    one()
    assert one.buffer.unique().tolist() == [2]


def test_the_buffer_of_the_flush_is_no_part_of_the_peak(monkeypatch, tmp_path):
    monkeypatch.setattr(flush, "cpu_cache_bytes", lambda: 50_000_000)
    cold = core(op=dataclasses.replace(SMALL, cache="cold"))
    found = done(cold, Stage.TIME, tmp_path)
    assert found.facts["flushed_bytes"] == 100_000_000
    assert found.metrics["peak_resident"][0] < 50e6


def test_a_timed_call_that_is_not_finite_has_no_speed(monkeypatch, tmp_path):
    monkeypatch.setattr(op_timing.Core, "__call__", lambda one: one.qkv[2] / 0)
    found = done(core(), Stage.TIME, tmp_path)
    assert (found.status, dict(found.metrics)) == (Status.NOT_FINITE, {})


def cache(folder, index, level, size):
    place = folder / f"index{index}"
    place.mkdir(parents=True)
    (place / "level").write_text(f"{level}\n")
    (place / "size").write_text(f"{size}\n")


def test_the_last_level_cache_is_the_one_of_the_highest_level(tmp_path):
    cache(tmp_path, 0, 1, "32K")
    cache(tmp_path, 3, 3, "36M")
    cache(tmp_path, 2, 2, "2048K")
    assert cpu_cache_bytes(tmp_path) == 36 * 2**20


@pytest.mark.parametrize("size", ["", "many", None])
def test_a_cache_that_nobody_tells_of_has_no_size(size, tmp_path):
    if size is not None:
        cache(tmp_path, 0, 3, size)
    assert cpu_cache_bytes(tmp_path) == 0


def test_a_cold_cell_is_refused_where_the_cache_is_not_known(monkeypatch):
    monkeypatch.setattr(catalog, "cpu_cache_bytes", lambda: 0)
    cells = [core(op=dataclasses.replace(SMALL, cache=one)) for one in ("cold", "hot")]
    cold, hot = catalog.inspect(cells, "cpu")
    assert cold.reasons == (
        "cache: cold: this system does not tell how large the last-level cache is",
    )
    assert hot.reasons == ()


def test_a_plan_knows_what_a_core_costs_and_why_it_cannot_run():
    settings = (("block_size", 64), ("num_steps", 1), ("pad", "pre"))
    fine, wrong = catalog.inspect([core(), core("monarch", settings=settings)], "cpu")
    assert (fine.macs, fine.core_macs, fine.parameters) == (2 * 2 * 32 * 32 * 8,) * 2 + (0,)
    assert wrong.reasons == ("block_size 64 is more than the 32 tokens",)


@pytest.mark.parametrize(
    ("rates", "amount"),
    [
        (lambda: ceilings.matrix_rates(torch.device("cpu"), torch.float32, 0), 1024**3),
        (lambda: ceilings.bandwidths(torch.device("cpu"), 0), 2 * 2**26),
    ],
    ids=["multiply-adds", "bytes read and written"],
)
def test_a_ceiling_is_the_work_over_the_seconds_of_each_repetition(rates, amount, monkeypatch):
    monkeypatch.setattr(flush, "cpu_cache_bytes", lambda: 4096)
    monkeypatch.setattr(ceilings, "stopwatch", lambda _device: Watched([], each=0.5))
    assert rates() == pytest.approx((2 * amount,) * 2)
