"""Cells of every model pass through plan, gates and instruments as those of DiT do."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from fakes_runs import fake_run, gate
from small_models import SMALL

from ditbench.attention.base import Site
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import catalog, cost, gates, quality, shots, timing
from ditbench.models.dit import FASHION, DiT
from ditbench.models.pixart import PixArt
from ditbench.records import Cell, Choice, Sampling, Stage, Status
from ditbench.store.pictures import Shards
from ditbench.summary import summarise

OTHERS = [name for name in SMALL if name != "dit"]
CROSS = "cross attention of 16 queries to 5 keys with a mask"
LINEAR = (
    "1 of 2 sites in these blocks were made for linear attention by ReLU, which the method replaces"
)


def cell(name: str, attention: str = "sdpa", blocks=None, **settings) -> Cell:
    spec = SMALL[name]
    values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    sampler = "flow-euler" if spec.prediction == "flow" else "ddim"
    return Cell(
        Choice(spec.name, tuple(values.items())),
        Choice(attention, tuple(settings.items())),
        blocks=tuple(range(spec.depth)) if blocks is None else blocks,
        steps=2,
        sampling=Sampling(sampler, guidance_scale=2.0),
    )


def job(what: Cell, stage: Stage, tmp_path, metrics=("latency",)) -> Job:
    few = Timing(warmup=1, repeats=2, processes=1, warmup_cap_s=0.0)
    return Job(what, stage, 0, few, Quality(2, micro_batch=2), metrics, "cpu", tmp_path)


def gated(what: Cell, tmp_path):
    return gates.run(job(what, Stage.GATE, tmp_path), lambda _phase: None)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("method", ["softmax", "sdpa"])
def test_exact_methods_pass_every_gate_at_every_site_open_to_them(name, method, tmp_path):
    what = cell(name, method)
    (planned,) = catalog.inspect([what], "cpu")
    found = gated(what, tmp_path)
    assert (found.status, found.reason, planned.reasons) == (Status.OK, "", ())
    # Where the model's own attention is softmax too, fused softmax stands in it and is called as often.
    served = [site for site in SMALL[name].sites() if not site.refusal]
    assert found.facts["calls"] == found.facts["expected_calls"] == 2 * len(served)
    assert found.facts.get("sites", []) == list(planned.notes)
    assert (found.metrics["macs"][0], found.metrics["core_macs"][0]) == (
        planned.macs,
        planned.core_macs,
    )
    assert found.metrics["core_macs"][0] < found.metrics["macs"][0]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pixart", [f"1 of 2 sites in these blocks keep the model's own attention: {CROSS}"]),
        ("sd3", []),
        (
            "sana",
            [f"1 of 2 sites in these blocks keep the model's own attention: {CROSS}", LINEAR],
        ),
    ],
)
def test_an_approximate_method_in_one_block_leaves_the_others_as_they_were(name, told, tmp_path):
    found = gated(cell(name, "monarch", (1,), block_size=4, num_steps=1, pad="pre"), tmp_path)
    assert (found.status, found.reason) == (Status.OK, "")
    assert found.facts.get("sites", []) == told
    # In Sana's other block no softmax takes the place of its linear attention.
    assert found.facts["calls"] == 2 * (1 if name == "sana" else SMALL[name].depth)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    "method", ["static-reuse", "dqar", "dqar[mode=output]", "ditfastattn"], ids=str
)
def test_methods_with_memory_pass_the_audit_wherever_they_can_go(name, method, tmp_path):
    """Beside sites that keep the model's own attention, masked as it may be."""
    known, _, mode = method.partition("[mode=")
    settings = {"mode": mode.rstrip("]")} if mode else {}
    what = cell(name, known, **settings)
    (planned,) = catalog.inspect([what], "cpu")
    if planned.reasons:  # the other three go anywhere
        assert method == "ditfastattn"
        assert planned.reasons[0].startswith("a window over the raster order needs")
        return
    found = gated(what, tmp_path)
    assert (found.status, found.reason) == (Status.OK, "")
    assert found.facts["reuse"]["forwards"] > 0


def test_a_window_takes_the_sites_that_lie_in_a_plane_and_is_refused_where_there_are_none(tmp_path):
    (alone,) = catalog.inspect([cell("sd3", "window", size=3)], "cpu")
    (dual,) = catalog.inspect([cell("sd3.5", "window", size=3)], "cpu")
    why = "a window needs the tokens of one picture, without text or other frames among them"
    assert alone.reasons == (why,)
    assert dual.reasons == ()
    assert dual.notes == (f"2 of 3 sites in these blocks keep the model's own attention: {why}",)
    found = gated(cell("sd3.5", "window", size=3), tmp_path)
    assert (found.status, found.facts["sites"]) == (Status.OK, list(dual.notes))


def test_a_sampler_for_another_process_makes_a_cell_unsupported_before_anything_runs():
    wrong = dataclasses.replace(cell("flux"), sampling=Sampling("ddim"))
    (found,) = catalog.inspect([wrong], "cpu")
    assert found.reasons[0].endswith("write sampler: flow-euler")


def test_the_multiply_adds_of_linear_attention_that_stays_are_in_the_rest():
    """Sana with a method in block 1 alone: block 0 keeps its own, 2 N d (d + 1) a head."""
    one, both = (cost.cost(cell("sana", "identity", blocks)) for blocks in ((1,), (0, 1)))
    spec = SMALL["sana"]
    head_dim, tokens = spec.hidden // spec.heads, spec.size**2
    rows = 2
    assert one.total - both.total == rows * spec.heads * 2 * tokens * head_dim * (head_dim + 1)
    assert one.core == both.core == 0


@dataclasses.dataclass(frozen=True)
class Hides(PixArt):
    """Says nothing of its cross attention."""

    def sites(self) -> tuple[Site, ...]:
        return tuple(site for site in super().sites() if site.kind == "self")


def test_a_model_that_hides_attention_is_refused(tmp_path, monkeypatch):
    from ditbench.models import base

    hides = Hides(**dataclasses.asdict(SMALL["pixart"]))
    monkeypatch.setattr(base, "architecture", lambda _name: Hides)
    cost.spec_of.cache_clear()
    cost.on_meta.cache_clear()
    assert base.sites(hides)
    found = gated(cell("pixart", "identity"), tmp_path)
    cost.spec_of.cache_clear()
    cost.on_meta.cache_clear()
    assert found.status is Status.FAILED_GATE
    assert "where its other sites make 0: it has attention that it does not name" in found.reason


def test_a_cell_of_another_model_is_timed_and_judged_and_says_what_cannot_be(tmp_path):
    what = cell("flux", "softmax")
    timed = timing.run(job(what, Stage.TIME, tmp_path), lambda _phase: None)
    assert timed.status is Status.OK
    assert len(timed.metrics["latency"]) == 2
    shots.run(job(what, Stage.SAMPLE, tmp_path), lambda _phase: None)
    made = quality.run(
        job(what, Stage.QUALITY, tmp_path, ("latent_drift", "psnr")), lambda _phase: None
    )
    assert made.metrics == {"latent_drift": (0.0, 0.0)}
    assert made.facts["unpictured"] == (
        "psnr not measured: the latents of flux are no pictures: random weights have no autoencoder beside "
        "them (quality.vae may name one)"
    )
    kept = Shards.open(tmp_path / what.quality_key)
    assert kept.shape == ()
    assert kept.images().size == 0
    assert kept.latents().shape == (2, *SMALL["flux"].latent)
    assert len(kept.labels) == len(kept.classes) == 0


@pytest.mark.parametrize(
    ("name", "spec", "key"),
    [
        ("dit", DiT(), "686a699b66c3a038"),
        ("dit-xl/2-256", DiT.presets()["dit-xl/2-256"].model, "344992b874b04b51"),
        ("fashion-dit", FASHION, "6c150e5bc10f2c83"),
    ],
)
def test_keys_of_cells_measured_when_dit_was_the_only_model_stay(name, spec, key):
    what = Cell(Choice(name, tuple(dataclasses.asdict(spec).items())), Choice("softmax"))
    assert what.key == key


def test_only_what_floats_takes_the_dtype_of_a_cell():
    from ditbench.measure.bench import set_up

    half = dataclasses.replace(cell("pixart"), sampling=Sampling(dtype="bfloat16"))
    latents, words, mask, _ = set_up(half, "cpu").inputs(range(2))
    assert (latents.dtype, words.dtype, mask.dtype) == (torch.bfloat16, torch.bfloat16, torch.long)


def test_ceilings_are_of_the_sites_that_a_method_takes_where_blocks_are_not_alike():
    """SD3.5's first block attends twice: half of the blocks is more than half of the cores there."""
    cells = [
        dataclasses.replace(cell("sd3.5", method), blocks=blocks)
        for method, blocks in (("softmax", (0, 1)), ("identity", (0,)), ("identity", (1,)))
    ]
    prices = [cost.cost(one) for one in cells]
    gates = [
        dataclasses.replace(gate(one), metrics=price.metrics, facts=price.facts | {"exact": True})
        for one, price in zip(cells, prices, strict=True)
    ]
    whole, first, second = summarise(fake_run(*gates)).rows
    assert first.ceiling > second.ceiling
    for row, price in ((first, prices[1]), (second, prices[2])):
        assert row.ceiling == pytest.approx(prices[0].total / price.total)
    saved = [1 - 1 / row.module_ceiling for row in (first, second)]
    assert sum(saved) == pytest.approx(1 - 1 / whole.module_ceiling)
