"""A policy that was trained on something else runs, and is told as such beside the figures."""

from __future__ import annotations

from cells import cell

from ditbench.digests import sealed
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import catalog, gates
from ditbench.records import Stage, Status
from ditbench.reuse.policy import Policy

MODEL = "other, weights random, seed 0, ddim 50 steps, guidance 2, float32"


def gated(tmp_path, about):
    """What plan and gate say of a cell with such a policy."""
    path = tmp_path / "p.safetensors"
    path.write_bytes(Policy(Policy.untrained().layers, about).write())
    settings = (("mode", "output"), ("warmup", 0), ("policy", sealed(str(path))))
    wanted = cell("dqar", settings=settings, steps=4)
    job = Job(wanted, Stage.GATE, 0, Timing(), Quality(), ("latency",), "cpu", tmp_path)
    found = gates.run(job, lambda _phase: None)
    assert (found.status, found.reason) == (Status.OK, "")
    return path, wanted, catalog.inspect([wanted], "cpu")[0].notes, found.facts.get("remarks")


def test_a_policy_of_another_model_mode_and_number_of_steps_is_told(tmp_path):
    path, wanted, planned, found = gated(tmp_path, {"model": MODEL, "method": "dqar[limit=4]"})
    told = (
        f"policy {path} was trained on model other, not {wanted.model.label}; mode kv, not output; "
        "steps 50, not 4"
    )
    assert (planned, found) == ((told,), [told])


def test_a_policy_of_this_very_cell_is_not(tmp_path):
    label = cell().model.label
    model = f"{label}, weights random, seed 0, ddim 4 steps, guidance 2, float32"
    _, _, planned, found = gated(tmp_path, {"model": model, "method": "dqar[mode=output]"})
    assert (planned, found) == ((), None)
