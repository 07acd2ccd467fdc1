"""Each gate refuses the mistake it is there for, and lets right methods through."""

from __future__ import annotations

import faulty
import pytest
import torch
from cells import TINY, cell

from ditbench.jobs import Findings, Job, Quality, Timing
from ditbench.measure import gates
from ditbench.measure.bench import set_up
from ditbench.models.dit import attentions, close_gates
from ditbench.models.seam import Denoiser
from ditbench.records import Cell, Sampling, Stage, Status


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
        close_gates(bench.denoiser.network)
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


def test_mistake_16_a_cache_of_the_first_picture_is_refused_though_it_repeats_itself(tmp_path):
    faulty.Memoises.kept.clear()
    faulty.Memoises.calls.clear()
    found = run(cell("faulty:Memoises"), tmp_path)
    assert found.reason.startswith("the same samples in the other order differ by")
    assert found.facts["rerun_error"] == 0


def test_mistake_17_a_method_that_stays_in_the_model_is_refused(tmp_path, monkeypatch):
    def forget_the_first(self: Denoiser) -> None:
        pairs = list(zip(attentions(self.network), self._native, strict=True))
        for attn, native in pairs[1:]:
            attn.set_processor(native)

    monkeypatch.setattr(Denoiser, "uninstall", forget_the_first)
    assert "after the method was taken out" in run(cell("identity"), tmp_path).reason


def test_mistake_18_a_method_that_is_never_called_is_refused(tmp_path, monkeypatch):
    def bypassed(what: Cell, device: str):
        bench = set_up(what, device)
        last = list(attentions(bench.denoiser.network))[-1]
        last.forward = lambda x, **_ignored: x
        return bench

    monkeypatch.setattr(gates, "set_up", bypassed)
    found = run(cell("softmax"), tmp_path)
    assert found.reason.startswith("block 1 was called 0 times in 4 forwards")


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


def test_mistake_03_fused_softmax_for_the_models_own_is_bit_exact():
    bench = set_up(cell("sdpa"), "cpu")
    inputs = bench.inputs(range(2))
    native = bench.sample(inputs)
    bench.denoiser.install(bench.layers)
    assert torch.equal(bench.sample(inputs), native)


def test_a_method_that_works_in_place_on_its_inputs_leaves_the_model_whole(tmp_path):
    """v is a view of a projection, not of a weight: the gate need not refuse, the model is the same."""
    assert run(cell("faulty:Overwrites"), tmp_path).status is Status.OK


def test_the_softmax_gate_is_tight_in_every_dtype():
    """A relative error of a tenth, as a wrong scale gives, is outside every tolerance."""
    assert max(gates.CORE_TOLERANCE.values()) < 0.1
    assert TINY.tokens == 16
