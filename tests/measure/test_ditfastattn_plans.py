"""A plan is found once a run on the cell's own model, kept as a file, and another run goes by that file."""

from __future__ import annotations

import dataclasses
import gc
import json

import pytest
import torch
from cells import cell
from generations import GENERATIONS

from ditbench.attention.ditfastattn import DiTFastAttn
from ditbench.digests import sealed
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import calibration, catalog, gates
from ditbench.measure.bench import set_up
from ditbench.records import Cell, Stage, Status
from ditbench.registry import settings_of

DEFAULTS = {one.name: one.default for one in settings_of(DiTFastAttn)}


def planned(**settings) -> Cell:
    return cell("ditfastattn", settings=tuple((DEFAULTS | {"samples": 2} | settings).items()))


def job_of(wanted, folder):
    return Job(wanted, Stage.GATE, 0, Timing(), Quality(), ("latency",), "cpu", folder)


def calibrated(wanted, folder):
    return calibration.ready(job_of(wanted, folder), set_up(wanted, "cpu"), lambda _phase: None)


def latents(bench):
    bench.denoiser.install(bench.layers)
    return bench.sample(bench.inputs(range(2)))


def test_a_cell_passes_its_gates_by_the_plan_that_it_found(tmp_path):
    wanted = planned(threshold=0.3)
    found = gates.run(job_of(wanted, tmp_path), lambda _phase: None)
    assert (found.status, found.reason) == (Status.OK, "")
    assert found.metrics["calibration_time"][0] > 0
    plan = json.loads(calibration.path_of(tmp_path, wanted).read_text())["found"]
    assert plan["forwards"] > 4
    assert set("".join(plan["plan"])) != {"F"}


def test_without_a_width_no_window_is_tried(tmp_path):
    """For where a band is slower than all pairs."""
    ways = []
    for window in (0.0, 0.125):
        wanted, folder = planned(threshold=0.3, window=window), tmp_path / str(window)
        assert gates.run(job_of(wanted, folder), lambda _phase: None).status is Status.OK
        plan = json.loads(calibration.path_of(folder, wanted).read_text())["found"]
        ways.append(set("".join(plan["plan"])))
    assert not ways[0] & {"W", "w"}
    assert ways[0] & {"=", "f"}


def test_what_a_run_kept_is_a_plan_that_a_suite_can_name(tmp_path):
    wanted = planned(threshold=0.3)
    ours = latents(calibrated(wanted, tmp_path))
    kept = calibration.path_of(tmp_path, wanted)
    named = planned(threshold=0.3, plan=sealed(str(kept)))
    assert catalog.inspect([named], "cpu")[0].reasons == ()
    assert torch.equal(latents(calibrated(named, tmp_path / "anew")), ours)


def test_the_plan_of_another_cell_is_refused_before_anything_runs(tmp_path):
    wanted = planned(threshold=0.0)
    calibrated(wanted, tmp_path)
    kept = calibration.path_of(tmp_path, wanted)
    named = dataclasses.replace(planned(threshold=0.05, plan=sealed(str(kept))), steps=9)
    assert catalog.inspect([named], "cpu")[0].reasons == (
        f"plan {kept} is for steps 4, not 9; threshold 0.0, not 0.05",
    )


def test_a_file_that_is_no_plan_is_refused_before_anything_runs(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text("{}")
    found = catalog.inspect([planned(plan=sealed(str(path)))], "cpu")[0]
    assert found.reasons[0].startswith(f"{path}: is no plan: 'model' is missing; ")


def test_under_a_threshold_of_zero_every_bit_is_that_of_sdpa(tmp_path):
    ours = latents(calibrated(planned(threshold=0.0), tmp_path))
    assert torch.equal(ours, latents(set_up(cell("sdpa"), "cpu")))


ALL_KINDS = {
    "model": cell().model.label, "steps": 4, "guidance_scale": 2.0, "window": 0.125,
    "threshold": None, "blocks": [0, 1], "plan": ["Ff", "WW", "w=", "=f"],
}  # fmt: skip


@pytest.fixture
def bench(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(ALL_KINDS))
    return set_up(planned(plan=sealed(str(path))), "cpu")


def test_mistake_16_a_run_that_was_cut_off_leaves_nothing_to_the_next(bench):
    first = latents(bench)
    bench.denoiser.install(bench.layers)

    def stop(step):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.sample(bench.inputs(range(2, 4)), on_step=stop)
    assert torch.equal(latents(bench), first)


def tensors():
    """How many are alive, and of how many bytes."""
    gc.collect()
    alive = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
    return len(alive), sum(one.nbytes for one in alive)


@pytest.mark.parametrize("generations", GENERATIONS)
def test_mistake_41_many_generations_keep_no_more_than_the_first(bench, generations):
    latents(bench)
    after_one = tensors()
    for _ in range(generations - 1):
        latents(bench)
    assert tensors() == after_one
