"""Each gate refuses the mistake it is there for, and lets right methods through."""

from __future__ import annotations

import dataclasses

import faulty
import pytest
import torch
from cells import TINY, cell, registered

from ditbench.attention.base import Shape
from ditbench.attention.linear import Linear
from ditbench.jobs import Findings, Job, Quality, Timing
from ditbench.measure import flags, gates
from ditbench.measure.bench import set_up
from ditbench.measure.core import CORE_TOLERANCE, check_core
from ditbench.measure.evidence import Evidence
from ditbench.models.base import presets
from ditbench.models.dit import DiT
from ditbench.models.seam import Denoiser
from ditbench.records import LARGEST, Cell, Sampling, Stage, Status


def run(what: Cell, tmp_path) -> Findings:
    job = Job(what, Stage.GATE, 0, Timing(), Quality(), ("latency",), "cpu", tmp_path)
    return gates.run(job, lambda _phase: None)


@pytest.mark.parametrize("method", ["softmax", "sdpa", "identity", "zero"])
def test_right_methods_pass(method, tmp_path):
    found = run(cell(method), tmp_path)
    assert (found.status, found.reason) == (Status.OK, "")
    assert found.facts["calls"] == found.facts["expected_calls"] == 2 * 4
    assert found.metrics["macs"][0] > found.metrics["core_macs"][0]


def test_an_approximate_method_in_half_of_the_blocks_passes(tmp_path):
    settings = (("block_size", 4), ("num_steps", 1), ("pad", "pre"))
    assert run(cell("monarch", settings=settings, blocks=(1,)), tmp_path).status is Status.OK


def test_mistake_01_attention_over_heads_is_refused_with_its_error(tmp_path):
    found = run(cell("faulty:OverHeads"), tmp_path)
    assert found.status is Status.FAILED_GATE
    assert "declared exact, but lies" in found.reason
    assert found.facts["numeric_error"] > 0.5


def test_mistake_02_scaling_twice_is_refused(tmp_path):
    found = run(cell("faulty:ScaledTwice"), tmp_path)
    assert "declared exact, but lies" in found.reason
    assert found.facts["numeric_error"] > 0.1


def test_mistake_04_closed_gates_are_called_vacuous(tmp_path, monkeypatch):
    def closed(what: Cell, device: str):
        bench = set_up(what, device)
        bench.denoiser.spec.close_gates(bench.denoiser.network)
        return bench

    monkeypatch.setattr(gates, "set_up", closed)
    found = run(cell("softmax"), tmp_path)
    assert found.status is Status.FAILED_GATE
    assert found.reason.startswith("vacuous:")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_gate_on_latents_is_never_looser_than_a_fifth_of_leaving_attention_out(dtype, tmp_path):
    sampling = Sampling(guidance_scale=2.0, dtype=dtype)
    found = run(cell("sdpa", sampling=sampling), tmp_path)
    assert found.status is Status.OK, found.reason
    assert found.facts["latent_tolerance"] <= found.facts["attention_effect"] / 5
    assert found.facts["latent_error"] <= found.facts["latent_tolerance"]


def test_mistake_05_a_method_priced_at_zero_is_refused(tmp_path):
    found = run(cell("faulty:PricedAtZero"), tmp_path)
    assert found.reason == "declares 0 multiply-adds a site, 3.277e+04 counted"


def test_mistake_16_state_that_leaks_into_the_next_run_is_refused(tmp_path):
    faulty.Remembers.last.clear()
    found = run(cell("faulty:Remembers"), tmp_path)
    assert "state is kept between runs" in found.reason


def test_mistake_16_state_of_a_layer_is_found_in_the_second_run(tmp_path, monkeypatch):
    """The core repeats itself, and what is around it does not."""
    once = []

    def differs(self, *args, **kwargs):
        once.append(1)
        return sample(self, *args, **kwargs) * (1.001 if len(once) == 3 else 1)

    sample = gates.Bench.sample
    monkeypatch.setattr(gates.Bench, "sample", differs)
    found = run(cell("softmax"), tmp_path)
    assert (
        found.reason == "the same sampling run twice differs by 0.001: state is kept between runs"
    )


def test_what_two_runs_may_differ_by_on_a_gpu_is_the_rounding_of_this_model():
    def differing(share, rounding, device):
        ours, evidence = torch.ones(4), gates.Evidence({"rounding": rounding})
        gates._check_rerun(ours, ours * (1 + share), torch.device(device), evidence)

    differing(1e-3, 2e-3, "cuda")
    differing(5e-6, 0.0, "cuda")
    for share, rounding, device in ((1e-3, 1e-4, "cuda"), (1e-6, 2e-3, "cpu")):
        with pytest.raises(gates.GateError, match="state is kept between runs"):
            differing(share, rounding, device)


def test_mistake_16_a_cache_of_the_first_picture_is_refused_though_it_repeats_itself(tmp_path):
    faulty.Memoises.kept.clear()
    faulty.Memoises.calls.clear()
    found = run(cell("faulty:Memoises"), tmp_path)
    assert found.reason.startswith("the same samples in the other order differ by")
    assert found.facts["rerun_error"] == 0


def test_mistake_17_a_method_that_stays_in_the_model_is_refused(tmp_path, monkeypatch):
    def forget_the_first(self: Denoiser) -> None:
        pairs = list(zip(self._modules(), self._native, strict=True))
        for attn, native in pairs[1:]:
            attn.set_processor(native)

    monkeypatch.setattr(Denoiser, "uninstall", forget_the_first)
    assert "after the method was taken out" in run(cell("identity"), tmp_path).reason


@pytest.mark.parametrize("switch", faulty.SWITCHES)
def test_mistake_17_a_switch_that_is_left_turned_is_named(switch, tmp_path, monkeypatch):
    before = flags.read()
    sdpa = torch.nn.functional.scaled_dot_product_attention
    try:
        found = run(cell("faulty:Leaves", settings=[("switch", switch)]), tmp_path)
    finally:
        torch.nn.functional.scaled_dot_product_attention = sdpa
        torch.backends.cuda.enable_flash_sdp(True)
        torch.backends.cuda.enable_mem_efficient_sdp(True)
        torch.backends.cuda.enable_math_sdp(True)
        torch.backends.cuda.enable_cudnn_sdp(True)
        torch.set_num_threads(before["torch.set_num_threads"])
        torch.set_default_dtype(torch.float32)
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(False)
        flags.settle()
    assert found.status is Status.FAILED_GATE
    assert found.reason.startswith(f"leaves the process changed: {switch}: ")
    assert flags.changed(before) == []


def test_mistake_17_the_model_is_sampled_before_the_method_ever_ran(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "gelu", torch.nn.functional.gelu)
    found = run(cell("faulty:SpoilsTheModel"), tmp_path)
    assert found.reason == "the model is another one after the method was taken out"


def test_mistake_26_a_core_that_mixes_samples_is_refused(tmp_path):
    found = run(cell("faulty:MixesTheBatch"), tmp_path)
    assert found.reason.startswith("a sample's result alone differs by 0.0")
    assert found.facts["company_error"] > 100 * found.facts["company_tolerance"]


def test_a_core_that_reads_another_layout_is_refused(tmp_path):
    found = run(cell("faulty:ReadsRawMemory"), tmp_path)
    assert found.reason.startswith("a sample's result of contiguous q, k and v differs by")


def test_mistake_01_rows_in_the_middle_of_the_batch_are_looked_at_too(tmp_path):
    found = run(cell("faulty:RightForTheFirstAndLast", batch_size=4), tmp_path)
    assert "declared exact, but lies" in found.reason


def test_a_method_may_use_up_its_inputs(tmp_path):
    """q, k and v are its own: the gate hands out copies."""
    assert run(cell("faulty:Overwrites"), tmp_path).status is Status.OK


def test_a_core_that_refuses_is_told_in_one_line(tmp_path):
    found = run(cell("faulty:RefusesOddHeads"), tmp_path)
    assert found.status is Status.FAILED_GATE
    assert found.reason == "raises ValueError on tensors without data: needs an odd number of heads"


def test_mistake_05_an_operator_without_a_formula_is_listed_and_not_refused(tmp_path):
    found = run(cell("faulty:CustomOperator"), tmp_path)
    assert (found.status, found.reason) == (Status.OK, "")
    assert found.facts["uncounted"] == ["faulty.fused"]
    assert found.facts["own_formulas"] == []


def test_mistake_05_an_operator_is_counted_by_its_methods_own_formula_and_told_as_such(tmp_path):
    found = run(cell("faulty:CountsItsOperator"), tmp_path)
    assert (found.status, found.reason) == (Status.OK, "")
    assert (found.facts["uncounted"], found.facts["own_formulas"]) == ([], ["faulty.fused"])
    assert found.facts["counted_core_macs"] == 2 * 2 * 2 * 16**2 * 16


def test_mistake_05_a_formula_of_an_operator_is_held_to_what_the_method_declares(tmp_path):
    found = run(cell("faulty:CountsHalfItsOperator"), tmp_path)
    assert found.status is Status.FAILED_GATE
    assert found.reason == "declares 3.277e+04 multiply-adds a site, 1.638e+04 counted"


def test_compiled_by_name_only_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Denoiser, "compile", lambda *_self, **_on: None)
    found = run(cell("softmax", compile=True), tmp_path)
    assert found.reason == "compile is on, but nothing was compiled: it ran as eager code"


@pytest.mark.parametrize(
    ("error", "rounding", "nudge", "passes"),
    [
        pytest.param(8e-6, 0.0, 0.0, True, id="of the dtype"),
        pytest.param(4e-4, 1e-4, 0.0, True, id="of the model"),
        pytest.param(4e-4, 0.0, 1e-4, True, id="of the inputs"),
        pytest.param(9e-4, 1e-4, 1e-4, False, id="more than rounding"),
        pytest.param(0.15, 0.05, 0.0, False, id="near leaving attention out"),
    ],
)
def test_what_compiled_code_may_differ_by_was_measured(error, rounding, nudge, passes):
    evidence = gates.Evidence({"rounding": rounding, "attention_effect": 0.5})
    eager = torch.ones(4)
    if passes:
        gates.check_compiled(eager * (1 + error), eager, nudge, evidence)
    else:
        with pytest.raises(gates.GateError, match="compiled code gives another output"):
            gates.check_compiled(eager * (1 + error), eager, nudge, evidence)


def test_mistake_18_a_method_that_is_never_called_is_refused(tmp_path, monkeypatch):
    def bypassed(what: Cell, device: str):
        bench = set_up(what, device)
        last = bench.denoiser.network.transformer_blocks[-1].attn1
        last.forward = lambda x, **_ignored: x
        return bench

    monkeypatch.setattr(gates, "set_up", bypassed)
    found = run(cell("softmax"), tmp_path)
    assert found.reason.startswith("transformer_blocks.1.attn1 was called 0 times in 4 forwards")


def test_mistake_19_a_silent_fallback_is_refused(tmp_path):
    found = run(cell("faulty:FusedOnlyByName"), tmp_path)
    assert found.reason == "silent fallback: asked for a flash kernel, ran math"


def test_mistake_27_not_a_number_is_its_own_kind(tmp_path):
    found = run(cell("faulty:NotANumber"), tmp_path)
    assert found.status is Status.NOT_FINITE
    assert found.reason == "100.0% of the core's output is not finite"


def test_a_wrong_shape_is_refused_before_anything_is_timed(tmp_path):
    assert "must keep shape and dtype" in run(cell("faulty:WrongShape"), tmp_path).reason


def test_the_kernel_that_ran_is_recorded(tmp_path):
    assert run(cell("sdpa"), tmp_path).facts["kernels"] == ["flash"]
    assert run(cell("softmax"), tmp_path).facts["kernels"] == ["math"]


def small(name: str) -> DiT:
    """The architecture of a registered model, two blocks deep and two heads wide."""
    spec = presets()[name].model
    return dataclasses.replace(spec, depth=2, heads=2, hidden=2 * spec.head_dim)


@pytest.mark.parametrize(
    "name",
    [name for name in DiT.presets() if f"{name}-256" not in DiT.presets()],  # no model twice
)
def test_mistake_03_fused_softmax_for_the_models_own_is_bit_exact(name):
    bench = set_up(cell("sdpa", spec=small(name), batch_size=1, steps=2), "cpu")
    inputs = bench.inputs(range(1))
    native = bench.sample(inputs)
    bench.denoiser.install(bench.layers)
    assert torch.equal(bench.sample(inputs), native)
    assert list(bench.denoiser.calls().values()) == [2, 2]
    bench.denoiser.install(bench.everywhere("identity"))
    assert not torch.equal(bench.sample(inputs), native)
    bench.denoiser.uninstall()
    assert torch.equal(bench.sample(inputs), native)


def test_mistake_03_the_trained_weights_that_ship_stay_where_they_are():
    what = dataclasses.replace(
        cell("sdpa", spec=presets()["fashion-dit"].model, steps=2),
        model=registered("fashion-dit"),
        weights="embedded",
    )
    bench = set_up(what, "cpu")
    inputs = bench.inputs(range(2))
    native = bench.sample(inputs)
    before = {name: value.clone() for name, value in bench.denoiser.network.state_dict().items()}
    bench.denoiser.install(bench.layers)
    assert torch.equal(bench.sample(inputs), native)
    after = bench.denoiser.network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_the_softmax_gate_is_tight_in_every_dtype():
    """A relative error of a tenth, as a wrong scale gives, is outside every tolerance."""
    assert max(CORE_TOLERANCE.values()) < 0.1
    assert TINY.tokens == 16


def test_a_cell_that_asks_for_its_batch_is_gated_at_two_samples_and_counts_no_work(tmp_path):
    found = run(cell("sdpa", batch_size=LARGEST), tmp_path)
    assert (found.status, found.reason) == (Status.OK, "")
    assert found.facts["rows"] == 2 * gates.SAMPLES
    assert found.metrics == {}


def test_mistake_27_a_wrong_method_has_no_largest_batch_either(tmp_path):
    assert run(cell("faulty:OverHeads", batch_size=LARGEST), tmp_path).status is Status.FAILED_GATE


def test_of_the_shapes_of_all_sites_the_worst_error_is_kept():
    worse = {"company_error": 0.5, "company_tolerance": 0.6}
    for known, kept in ((worse, True), ({"company_error": 0.0, "company_tolerance": 0.6}, False)):
        evidence = Evidence(dict(known))
        check_core(Linear(), Shape(2, 2, 16, 8), torch.float32, torch.device("cpu"), evidence)
        assert ({name: evidence.facts[name] for name in worse} == known) is kept
