"""What a method finds out about a model: once, kept whole, on samples that no figure is made of."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from cells import cell

from ditbench.accelerators.base import Accelerator
from ditbench.accelerators.base import problems as problems_of_accelerators
from ditbench.accelerators.none import Idle
from ditbench.attention.base import METHODS, AttentionMethod, CoreLayer
from ditbench.attention.base import problems as problems_of_methods
from ditbench.errors import StoreError
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import calibration, duel, fit, gates, timing
from ditbench.measure.bench import set_up
from ditbench.records import Stage, Status

SOFTMAX = METHODS.get("softmax")()
TRIED = Counter()


@dataclass(frozen=True)
class Scaled(AttentionMethod):
    """Softmax times a number that it finds out; without it, nothing."""

    name: ClassVar[str] = "scaled"
    paper: ClassVar[str] = "none"
    formula: ClassVar[str] = "none"
    cost: ClassVar[str] = "none"
    calibrated: ClassVar[bool] = True

    factor: float = 0.0

    def attend(self, q, k, v):
        return self.factor * SOFTMAX.attend(q, k, v)

    def macs(self, shape):
        return SOFTMAX.macs(shape)

    def calibrate(self, trial):
        TRIED["times"] += 1
        seen = []

        def around(forward, now):
            out = forward()
            assert torch.equal(out, forward())
            seen.append([now.step, now.steps, now.guided, len(out)])
            return out

        latents = trial.sample(lambda _site: CoreLayer(SOFTMAX), 3, around)
        sites = [site.name for site in trial.sites]
        return {"factor": 0.5, "seen": seen, "latents": list(latents.shape), "sites": sites}

    def with_calibration(self, found):
        return dataclasses.replace(self, factor=found["factor"])


CELL = cell("test_calibration:Scaled", settings=(("factor", 0.0),), steps=3)


@pytest.fixture
def job(tmp_path):
    TRIED.clear()
    few = Timing(warmup=1, repeats=2, processes=1, warmup_cap_s=0)
    return Job(CELL, Stage.GATE, 0, few, Quality(), ("latency",), "cpu", tmp_path)


def silent(_phase):
    pass


def test_every_stage_of_a_run_uses_what_was_found_out_once(job):
    said = []
    found = gates.run(job, said.append)
    assert (found.status, found.reason) == (Status.OK, "")
    assert timing.run(job, silent).status is Status.OK
    assert fit.run(dataclasses.replace(job, cell=CELL), silent).status is Status.OK
    against = dataclasses.replace(job, beside=cell("softmax", steps=3))
    assert duel.run(against, silent).status is Status.OK
    assert TRIED["times"] == 1
    assert said.count("calibrating") == 1


def test_a_trial_sees_every_step_and_every_site(job):
    gates.run(job, silent)
    plain = json.loads(calibration.path_of(job.pictures, CELL).read_text())
    assert plain["found"]["seen"] == [[step, 3, True, 6] for step in range(3)]
    assert plain["found"]["latents"] == [3, 1, 8, 8]
    assert len(plain["found"]["sites"]) == 2
    assert calibration.seconds(job) == plain["seconds"] > 0


def test_its_seconds_stand_apart_from_any_latency(job):
    found = gates.run(job, silent)
    assert found.metrics["calibration_time"] == (calibration.seconds(job),)
    assert "calibration_time" not in timing.run(job, silent).metrics


def test_a_method_that_needs_none_has_none(tmp_path):
    plain = Job(cell(), Stage.GATE, 0, Timing(), Quality(), ("latency",), "cpu", tmp_path)
    assert "calibration_time" not in gates.run(plain, silent).metrics
    assert calibration.seconds(plain) is None
    assert not any(tmp_path.rglob("*.json"))


def test_samples_of_a_calibration_are_nobodys_pictures(job):
    bench = set_up(CELL, "cpu")
    ours, theirs = (
        bench.inputs(range(4)),
        bench.inputs(range(calibration._FIRST, calibration._FIRST + 4)),
    )
    assert not torch.equal(ours[0], theirs[0])


PLANNED = cell("ditfastattn", settings=(("threshold", 0.0),), steps=3)
HERE = {"seconds": 1, "weights": "random, seed 0"}


@pytest.mark.parametrize(
    ("of", "kept", "why"),
    [
        (CELL, '{"seconds": 1', "Expecting "),
        (CELL, "[" * 100_000, ""),
        (CELL, "null", ""),
        (CELL, '{"found": {"factor": 1}}', "'seconds' is missing"),
        (CELL, json.dumps(HERE | {"found": {"a": 1}}), "'factor'"),
        (PLANNED, json.dumps(HERE | {"found": {"a": 1}}), "'model' is missing"),
        (
            CELL,
            json.dumps(HERE | {"weights": "theirs", "found": {"factor": 1}}),
            "it was found on weights theirs, and these are random, seed 0",
        ),
    ],
    ids=range(7),
)
def test_a_file_that_is_no_calibration_of_this_is_named_with_the_way_out(job, of, kept, why):
    path = calibration.path_of(job.pictures, of)
    path.parent.mkdir(parents=True)
    path.write_text(kept)
    with pytest.raises(StoreError) as caught:
        calibration.ready(job, set_up(of, "cpu"), silent)
    told = str(caught.value)
    assert told.startswith(f"{path}: holds no calibration ({why}")
    assert told.endswith("): remove it, and it is made again")
    assert "\n" not in told


def test_a_calibration_of_these_weights_is_taken(job):
    path = calibration.path_of(job.pictures, CELL)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(HERE | {"found": {"factor": 2.0}}))
    assert calibration.ready(job, set_up(CELL, "cpu"), silent).method == Scaled(2.0)
    assert not TRIED


@dataclass(frozen=True)
class SaysSo(AttentionMethod):
    """Says that it is calibrated, and leaves it at that."""

    name: ClassVar[str] = "says-so"
    paper: ClassVar[str] = "none"
    formula: ClassVar[str] = "none"
    cost: ClassVar[str] = "none"
    calibrated: ClassVar[bool] = True

    def attend(self, q, k, v):
        return SOFTMAX.attend(q, k, v)

    def macs(self, shape):
        return SOFTMAX.macs(shape)


@dataclass(frozen=True)
class AroundSaysSo(Accelerator):
    """The same of an accelerator."""

    name: ClassVar[str] = "says-so"
    paper: ClassVar[str] = "none"
    skips: ClassVar[str] = "none"
    calibrated: ClassVar[bool] = True

    def install(self, host):  # noqa: ARG002 (it does nothing)
        return Idle()


def test_a_plug_in_that_says_it_is_calibrated_and_does_not_say_how_is_refused():
    told = ["says that it is calibrated, and does not define calibrate"]
    assert problems_of_methods(SaysSo) == problems_of_accelerators(AroundSaysSo) == told
    assert problems_of_methods(Scaled) == []
