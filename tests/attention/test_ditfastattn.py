"""What a layer does by each letter of a plan, what it costs, and the search on a network of two sites."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from fakes_trial import FakeTrial
from torch.utils.flop_counter import FlopCounterMode

from ditbench.attention.band import Band
from ditbench.attention.base import Moment, Shape, Site
from ditbench.attention.ditfastattn import DiTFastAttn
from ditbench.attention.sdpa import Sdpa
from ditbench.digests import sealed
from ditbench.errors import UsageError
from ditbench.records import Cell, Choice, Sampling
from ditbench.reuse.plans import Plan

ROWS, HEADS, TOKENS, HEAD_DIM = 4, 2, 40, 8
SITE = Site(0, 4, HEADS, HEAD_DIM, (5, 8))
REACH = 5  # an eighth of the tokens
FULL = Sdpa().macs(SITE.shape(ROWS))
BANDED = Band(REACH).macs(SITE.shape(ROWS))


def planned(letters, **settings):
    """The method with a plan for block 0, a letter a step."""
    plan = Plan("fake", 2.0, 0.125, (0,), tuple(letters))
    return DiTFastAttn(**settings).with_calibration(plan.as_json())


def inputs(steps):
    """q, k and v of each step."""
    generator = torch.Generator().manual_seed(0)
    sizes = (steps, 3, ROWS, HEADS, TOKENS, HEAD_DIM)
    return torch.randn(sizes, generator=generator, dtype=torch.float64)


class Run:
    """A layer played through a plan: what it gave, and what it asked to be projected."""

    def __init__(self, letters, *, guided=True, qkv=None, first=0):
        self.qkv = inputs(len(letters)) if qkv is None else qkv
        self.layer = planned(letters).open(SITE)
        self.asked, self.given = [], []
        for step in range(first, len(letters)):
            self.step(step, len(letters), guided=guided)

    def step(self, step, steps, *, guided):
        def project(x, parts="qkv"):
            self.asked.append((step, parts, len(x)))
            return tuple(one[: len(x)] for one in self.qkv[step])

        now = Moment(step, steps, guided=guided)
        x = torch.zeros(ROWS, TOKENS, HEADS * HEAD_DIM)
        self.given.append(self.layer(x, project, lambda out: out + 100, now) - 100)

    @property
    def told(self):
        return [
            (one.reason, one.reused, one.ran, one.rows, one.core) for one in self.layer.decisions
        ]


def full(qkv):
    return Sdpa().attend(*qkv)


def near(qkv):
    return Band(REACH).attend(*qkv)


def halves(x):
    return x[: ROWS // 2]


def test_a_window_gives_its_band_and_what_full_attention_gave_more_at_an_earlier_step():
    run = Run("FWW")
    residual = full(run.qkv[0]) - near(run.qkv[0])
    for step in (1, 2):
        torch.testing.assert_close(run.given[step], near(run.qkv[step]) + residual)


def test_a_window_on_what_has_not_changed_is_full_attention():
    qkv = inputs(1).repeat(2, 1, 1, 1, 1, 1)
    run = Run("FW", qkv=qkv)
    torch.testing.assert_close(run.given[1], run.given[0])


def test_a_shared_step_projects_nothing_and_gives_the_step_before_it_again():
    run = Run("FW==")
    assert run.asked == [(0, "qkv", ROWS), (1, "qkv", ROWS)]
    assert torch.equal(run.given[2], run.given[1])
    assert torch.equal(run.given[3], run.given[1])


def test_one_branch_computes_the_rows_with_their_condition_and_gives_them_to_the_others():
    run = Run("Ff")
    assert run.asked[1] == (1, "qkv", ROWS // 2)
    first, second = run.given[1].chunk(2)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, halves(full(run.qkv[1])))


def test_a_window_on_one_branch_is_both():
    run = Run("Fw")
    residual = full(run.qkv[0]) - near(run.qkv[0])
    first, second = run.given[1].chunk(2)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, halves(near(run.qkv[1]) + residual))


def test_the_residual_of_one_branch_serves_both():
    run = Run("fW")
    residual = halves(full(run.qkv[0]) - near(run.qkv[0]))
    assert run.layer.residual is None  # nothing asks for it any more
    torch.testing.assert_close(run.given[1], near(run.qkv[1]) + torch.cat([residual, residual]))


def test_every_decision_has_its_reason_and_what_it_still_ran():
    assert Run("FW=wfWfF").told == [
        ("full with residual", False, "qkvo", 1.0, FULL + BANDED),
        ("window", True, "qkvo", 1.0, BANDED),
        ("shared step", True, "", 1.0, 0),
        ("window one branch", True, "qkvo", 0.5, BANDED // 2),
        ("one branch with residual", True, "qkvo", 0.5, (FULL + BANDED) // 2),
        ("window", True, "qkvo", 1.0, BANDED),
        ("one branch", True, "qkvo", 0.5, FULL // 2),
        ("full", False, "qkvo", 1.0, FULL),
    ]


def test_without_guidance_there_is_one_branch():
    assert [reason for reason, *_ in Run("FwfF", guided=False).told] == [
        "full with residual", "window", "full", "full",
    ]  # fmt: skip


def test_what_is_not_there_is_computed():
    """A run that begins in the middle has nothing to share."""
    assert [reason for reason, *_ in Run("FW=W", first=1).told] == [
        "nothing kept", "shared step", "window",
    ]  # fmt: skip
    assert [reason for reason, *_ in Run("F==", first=1).told] == ["nothing kept", "shared step"]


def test_nothing_is_kept_that_no_later_step_asks_for():
    run = Run("FW=F")
    assert run.layer.residual is None
    assert run.layer.output is None


@pytest.mark.parametrize("letters", ["FWWW", "Ffff", "Fwww", "F===", "fWw="])
def test_mistake_09_what_decisions_tell_is_what_a_counter_finds(letters):
    """The published code counts a window as nothing at all."""
    method = planned(letters)
    qkv = inputs(1)[0].to("meta")
    layer = method.open(SITE)
    with FlopCounterMode(display=False) as counter:
        for step in range(4):
            layer(
                torch.zeros(ROWS, 1),
                lambda x, _parts="qkv": tuple(one[: len(x)] for one in qkv),
                lambda out: out,
                Moment(step, 4, guided=True),
            )
    assert counter.get_total_flops() == 2 * sum(one.core for one in layer.decisions)


def share_of_module(letter, side):
    """What is left of core and projections of a site of DiT-XL at a step after the first."""
    site = Site(0, 28, 16, 72, (side, side))
    layer = planned(["F", letter]).open(site)
    q = torch.empty(2, 16, site.tokens, 72, device="meta")
    for step in range(2):
        layer(
            torch.empty(2, 1),
            lambda x, _parts="qkv": (q[: len(x)],) * 3,
            lambda out: out,
            Moment(step, 2, guided=True),
        )
    spent, width = layer.decisions[-1], 1152
    projections = 2 * 4 * site.tokens * width**2
    of_all = projections + Sdpa().macs(site.shape(2))
    return (len(spent.ran) / 4 * spent.rows * projections + spent.core) / of_all


@pytest.mark.parametrize(
    ("letter", "side", "published", "worked_out"),
    [
        ("W", 32, 0.77, 0.765),
        ("W", 64, 0.51, 0.510),
        ("W", 128, 0.33, 0.329),
        ("f", 32, 0.50, 0.5),
        ("f", 64, 0.50, 0.5),
        ("f", 128, 0.50, 0.5),
        ("w", 32, 0.38, 0.382),
        ("w", 64, 0.26, 0.255),
        ("w", 128, 0.16, 0.164),
        ("=", 32, 0.0, 0.0),
    ],
)
def test_the_published_share_of_the_attention_module(letter, side, published, worked_out):
    """Yuan et al., table 2: at 1K, 4K and 16K tokens of width 1152."""
    share = share_of_module(letter, side)
    assert share == pytest.approx(published, abs=0.006)
    assert share == pytest.approx(worked_out, abs=5e-4)


def test_a_reach_is_a_share_of_the_tokens_or_a_number_of_them():
    assert DiTFastAttn().reach(1024) == 128
    assert DiTFastAttn(window=0.5).reach(49) == 24
    assert DiTFastAttn(window=7.0).reach(49) == 7


TRIAL = FakeTrial(Shape(2, 2, 16, 8))


def test_under_a_threshold_of_zero_no_forward_is_run_and_every_bit_is_the_core_s():
    method = DiTFastAttn(threshold=0.0)
    found = method.calibrate(TRIAL)
    assert (found["plan"], found["forwards"]) == (["FF"] * 8, 0)
    ours = TRIAL.sample(method.with_calibration(found).open, 1)
    assert torch.equal(ours, TRIAL.sample(Sdpa().open, 1))


def test_without_a_plan_every_bit_is_the_core_s():
    assert torch.equal(TRIAL.sample(DiTFastAttn().open, 1), TRIAL.sample(Sdpa().open, 1))


def test_what_is_found_is_what_a_run_by_the_plan_gives():
    """The search goes on with what it decided, so its last state is that of the plan it found."""
    seen = []

    class Watched(FakeTrial):
        def sample(self, layer_of, samples, around):
            seen.append(super().sample(layer_of, samples, around))
            return seen[-1]

    method = DiTFastAttn(threshold=0.1, samples=1)
    found = method.calibrate(Watched(TRIAL.shape))
    assert len(set("".join(found["plan"]))) > 2
    assert torch.equal(TRIAL.sample(method.with_calibration(found).open, 1), seen[0])


def test_a_search_tells_its_forwards():
    class Counted(FakeTrial):
        def sample(self, layer_of, samples, around):
            def counting(forward, now):
                def one_more():
                    self.calls.append(now.step)
                    return forward()

                return around(one_more, now)

            return super().sample(layer_of, samples, counting)

    trial = Counted(TRIAL.shape)
    object.__setattr__(trial, "calls", [])
    found = DiTFastAttn(threshold=1e-9, samples=1).calibrate(trial)
    assert found["plan"] == ["FF"] * 8
    assert found["forwards"] == len(trial.calls) == 8 + 7 * (1 + 2 * 4)


def test_steps_of_the_warm_up_cost_one_forward_each():
    found = DiTFastAttn(threshold=1e-9, samples=1, warmup=0.5).calibrate(TRIAL)
    assert found["forwards"] == 8 + 4 * (1 + 2 * 4)  # of 8 steps, those from p = 4/7 on
    assert DiTFastAttn(threshold=2.0, samples=1, warmup=0.5).calibrate(TRIAL)["plan"] == [
        "FF", "FF", "FF", "FF", "==", "==", "==", "==",
    ]  # fmt: skip


def test_without_guidance_no_branch_is_tried():
    trial = dataclasses.replace(TRIAL, guided=False)
    found = DiTFastAttn(threshold=1e-9, samples=1).calibrate(trial)
    assert found["forwards"] == 8 + 7 * (1 + 2 * 2)
    assert found["guidance_scale"] == 1.0


def left(threshold):
    """Multiply-adds of all cores in a run by the plan that is found."""
    method = DiTFastAttn(threshold=threshold, samples=1)
    method = method.with_calibration(method.calibrate(TRIAL))
    layers = []

    def opened(site):
        layers.append(method.open(site))
        return layers[-1]

    TRIAL.sample(opened, 1)
    return sum(one.core for layer in layers for one in layer.decisions)


def test_the_higher_the_threshold_the_less_is_left():
    core = [left(threshold) for threshold in (0.0, 0.05, 0.1, 0.2, 2.0)]
    assert core == sorted(core, reverse=True)
    assert core[0] > core[1] > core[-1]


def cell(**fields):
    settings = {"window": 0.125, "threshold": 0.05}
    usual = {"blocks": (0, 1), "steps": 8, "sampling": Sampling(guidance_scale=2.0)}
    return Cell(Choice("fake"), Choice("ditfastattn", tuple(settings.items())), **(usual | fields))


def test_a_plan_in_a_file_is_what_it_goes_by_and_costs_no_search(tmp_path):
    searched = DiTFastAttn(samples=1)
    found = searched.calibrate(TRIAL)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(found))
    named = DiTFastAttn(plan=sealed(str(path)))
    assert named.misfits(cell()) == []
    assert named.calibrate(None) == found
    ours = TRIAL.sample(named.open, 1)
    assert torch.equal(ours, TRIAL.sample(searched.with_calibration(found).open, 1))


def test_a_plan_for_another_cell_is_refused_in_one_line(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(DiTFastAttn(samples=1).calibrate(TRIAL)))
    named = DiTFastAttn(plan=sealed(str(path)))
    assert named.misfits(cell(steps=10, blocks=(1,))) == [
        f"plan {path} is for steps 8, not 10; blocks 0, 1, not 1"
    ]


def test_a_plan_that_has_changed_since_it_was_named_is_refused(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(DiTFastAttn(threshold=0.0).calibrate(TRIAL)))
    named = DiTFastAttn(plan=sealed(str(path)))
    path.write_text("{}")
    with pytest.raises(UsageError, match="is not the file that the suite named"):
        named.open(SITE)
