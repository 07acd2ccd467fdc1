"""Every accelerator: it skips, repeats itself, is wired, forgets, and comes out again."""

from __future__ import annotations

import dataclasses
import gc

import pytest
import torch
from generations import GENERATIONS
from measure.cells import TINY, cell, model, registered

from ditbench.accelerators import ledger
from ditbench.accelerators.base import ACCELERATORS, Host
from ditbench.attention.base import Moment
from ditbench.measure import calibration, gates
from ditbench.measure.bench import Bench, accelerator_of, set_up
from ditbench.measure.catalog import inspect
from ditbench.measure.cost import on_meta
from ditbench.models.base import presets
from ditbench.models.pixart import PixArt
from ditbench.records import Choice, Sampling

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")

STEPS = 6
SPEC = presets()["fashion-dit"].model
# Settings by which each skips something of six steps, and what else each of them may be.
ALL = {
    "pab": {"every": 3},
    "first-block-cache": {"threshold": 0.3},
    "mag-cache": {"threshold": 0.5},
    "taylorseer": {"interval": 3, "before": 1},
    "faster-cache": {"uncond": 3},
    "dbcache": {"threshold": 0.3},
}
OTHER = {
    "pab": [{"every": 2}, {"below": 400}, {"above": 600}],
    "first-block-cache": [{"threshold": 0.0}],
    "mag-cache": [{"threshold": 0.0}, {"most": 1}, {"retention": 0.6}],
    "taylorseer": [
        {"interval": 2}, {"before": 3}, {"order": 0}, {"identifiers": "blocks"}, {"factors": "float32"},
    ],
    "faster-cache": [{"uncond": 2}, {"uncond_below": 300}, {"every": 1}, {"below": 100}, {"weight": 0.0}],
    "dbcache": [{"first": 3}, {"last": 2}, {"threshold": 0.0}, {"warmup": 4}, {"most": 1}],
}  # fmt: skip
NAMES = pytest.mark.parametrize("name", ALL)


def chosen(name, **settings):
    plugin = ACCELERATORS.get(name)
    values = dataclasses.asdict(plugin()) | settings
    return Choice(name, tuple(values.items()))


# Six blocks of sixteen tokens: what is true of hooks needs no more.
SMALL_SPEC = dataclasses.replace(TINY, depth=6)


@pytest.fixture(scope="module")
def plain() -> Bench:
    """Random weights, which a hook cannot tell from others."""
    return set_up(
        cell("sdpa", spec=SMALL_SPEC, steps=STEPS, settings=(("backend", "auto"),)), "cpu"
    )


@pytest.fixture(scope="module")
def embedded() -> Bench:
    return set_up(
        dataclasses.replace(
            cell("sdpa", spec=SPEC, weights="embedded", steps=STEPS, settings=(("backend", "auto"),)),
            model=registered("fashion-dit"),
        ),
        "cpu",
    )  # fmt: skip


def ratios_of(plain: Bench) -> dict:
    """What the calibration of mag-cache finds."""
    return dict(
        calibration._calibrated(plain, accelerator_of(with_(plain, "mag-cache").cell))["found"]
    )


@pytest.fixture(scope="module")
def ratios(plain) -> dict:
    return ratios_of(plain)


def with_(plain: Bench, name: str, ratios=None, **settings) -> Bench:
    """The same network under an accelerator."""
    own = dataclasses.replace(plain.cell, accelerator=chosen(name, **settings))
    around = accelerator_of(own)
    around = around.with_calibration(ratios) if ratios and around.calibrated else around
    return dataclasses.replace(plain, cell=own, accelerator=around)


def sampled(bench: Bench) -> torch.Tensor:
    bench.denoiser.install(bench.layers)
    return bench.sample(bench.inputs(range(1)))


@NAMES
@pytest.mark.parametrize("on", ["plain", pytest.param("embedded", marks=pytest.mark.slow)])
def test_it_skips_drifts_repeats_itself_and_comes_out_without_a_trace(request, on, name):
    plain = request.getfixturevalue(on)
    ratios = {"ratios": [1.0] * STEPS}
    bench = with_(plain, name, ratios, **ALL[name])
    exact = sampled(plain)
    attributes = {m: set(vars(m)) for m in plain.denoiser.network.modules()}
    ours = sampled(bench)
    handle = bench.denoiser.accelerated
    told = handle.decisions()
    assert any(one.reused for every in told.values() for one in every)
    assert all(len(every) == STEPS for every in told.values())
    assert all([one.step for one in row] == list(range(STEPS)) for row in told.values())
    assert handle.cache_bytes > 0
    assert not torch.equal(ours, exact)
    assert torch.equal(sampled(bench), ours)
    bench.denoiser.uninstall()
    assert {m: set(vars(m)) for m in plain.denoiser.network.modules()} == attributes
    assert torch.equal(sampled(plain), exact)


@NAMES
def test_mistake_41_its_bytes_are_all_the_memory_that_it_keeps_alive(plain, ratios, name):
    """Of a view the whole block: what is left when nothing but the hooks holds it."""
    bench = with_(plain, name, ratios, **ALL[name])
    seen = []

    def look(_step: int) -> None:
        handle = bench.denoiser.accelerated
        blocks = {
            one.untyped_storage()._cdata: one.untyped_storage().nbytes()
            for one in ledger._held(handle.held())
        }
        seen.append((handle.cache_bytes, sum(blocks.values())))

    bench.denoiser.install(bench.layers)
    bench.sample(bench.inputs(range(1)), on_step=look)
    assert any(told for told, _ in seen)
    assert all(told == alive for told, alive in seen)


@NAMES
def test_mistake_15_every_setting_is_wired(plain, ratios, name):
    """Each moves the output away from what the others alone give."""
    settings = {one for other in OTHER[name] for one in other}
    assert settings == {field.name for field in dataclasses.fields(ACCELERATORS.get(name))} - {
        "cross"
    }
    ours = sampled(with_(plain, name, ratios, **ALL[name]))
    for other in OTHER[name]:
        assert not torch.equal(sampled(with_(plain, name, ratios, **(ALL[name] | other))), ours), (
            other
        )


@NAMES
def test_what_an_interrupted_run_left_is_gone_in_the_next(plain, ratios, name):
    bench = with_(plain, name, ratios, **ALL[name])
    ours = sampled(bench)

    def interrupt(step: int) -> None:
        if step == STEPS - 2:
            raise KeyboardInterrupt

    bench.denoiser.install(bench.layers)
    with pytest.raises(KeyboardInterrupt):
        bench.sample(bench.inputs(range(3, 4)), on_step=interrupt)
    assert torch.equal(sampled(bench), ours)


def test_the_first_block_of_dbcache_is_first_block_cache(plain):
    """Two packages, one rule: with one first block and no last they give the same bits."""
    one = sampled(with_(plain, "dbcache", threshold=0.3, warmup=0))
    assert torch.equal(one, sampled(with_(plain, "first-block-cache", threshold=0.3)))


@pytest.mark.slow
def test_the_halves_of_guidance_are_turned_for_faster_cache(embedded, monkeypatch):
    """diffusers leaves out the first half, where ours has its condition: unturned it drifts farther."""
    plain = embedded
    exact = sampled(plain)
    bench = with_(plain, "faster-cache", **ALL["faster-cache"])
    right = float((sampled(bench) - exact).norm())
    monkeypatch.setattr("ditbench.accelerators.faster_cache._turned", lambda rows: rows)
    assert float((sampled(bench) - exact).norm()) > 1.1 * right


def test_the_ratios_of_mag_cache_are_one_a_step_and_are_found_again(plain, ratios):
    assert len(ratios["ratios"]) == STEPS
    assert ratios["ratios"][0] == 1
    again = calibration._calibrated(plain, accelerator_of(with_(plain, "mag-cache").cell))
    assert again["found"] == ratios


def test_mistake_16_state_that_taylorseer_keeps_is_caught_by_the_rerun_gate(monkeypatch):
    """Installed once and never reset, as diffusers leaves it: the second picture begins with the first's."""
    kept = {}
    plugin = ACCELERATORS.get("taylorseer")
    install = plugin.install

    def once(self, host: Host):
        if "handle" not in kept:
            kept["handle"] = install(self, host)
            monkeypatch.setattr(kept["handle"], "uninstall", lambda: None)
        return kept["handle"]

    monkeypatch.setattr(plugin, "install", once)
    own = dataclasses.replace(
        cell("sdpa", settings=(("backend", "auto"),)),
        accelerator=chosen("taylorseer", interval=3, before=1),
    )
    bench = set_up(own, "cpu")
    first, second = (
        (bench.denoiser.install(bench.layers), bench.sample(bench.inputs(range(2))))[1]
        for _ in range(2)
    )
    evidence = gates.Evidence({"rounding": 0.0})
    with pytest.raises(gates.GateError, match="state is kept between runs"):
        gates._check_rerun(second, first, bench.device, evidence)


TINY_CELL = cell("sdpa", settings=(("backend", "auto"),), steps=STEPS)
PIXART = PixArt(
    hidden=32, depth=2, heads=2, patch=2, size=8, channels=4, words=4, word_width=16
)  # fmt: skip


def refusals(**fields):
    (found,) = inspect([dataclasses.replace(TINY_CELL, **fields)], "cpu")
    return found.reasons


@pytest.mark.parametrize("spec", [TINY, PIXART], ids=["dit", "pixart"])
def test_mistake_28_identifiers_that_match_nothing_are_refused(spec):
    """diffusers' defaults on DiT and on PixArt: installed they would be a silent no-op."""
    (told,) = refusals(
        model=model(spec, spec.name), accelerator=chosen("taylorseer", identifiers="default")
    )
    assert told.startswith("accelerator taylorseer: identifiers default match no module whole")
    assert "such as transformer_blocks.0.attn1" in told


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("taylorseer", {"identifiers": "("}, "not a regular expression"),
        ("taylorseer", {"identifiers": r".*blocks\.0.*"}, "and what it lies in"),
        ("taylorseer", {"before": 6}, "none is left to forecast"),
        ("pab", {"every": 1}, "computes at each step, and skips nothing"),
        ("pab", {"above": 800}, "no timestep lies between 800 and 800"),
        ("mag-cache", {"retention": 1.0}, "skips none of 6 steps"),
        ("faster-cache", {"uncond": 1}, "skips nothing"),
        ("dbcache", {"first": 2}, "computes 2 of 2 blocks at each step, and skips none"),
        ("dbcache", {"warmup": 6}, "warms up for 6 of 6 steps, and skips none"),
    ],
)
def test_settings_that_skip_nothing_are_refused(name, settings, told):
    (reason,) = refusals(accelerator=chosen(name, **settings))
    assert told in reason


def test_faster_cache_without_guidance_is_refused():
    (reason,) = refusals(
        accelerator=chosen("faster-cache"), sampling=Sampling(guidance_scale=1.0)
    )  # fmt: skip
    assert "needs guidance above 1" in reason


@pytest.mark.parametrize("name", ["first-block-cache", "mag-cache", "dbcache", "pab"])
def test_networks_whose_blocks_nobody_knows_are_refused(name):
    from models.small_models import SMALL

    spec = SMALL["gqa-dit"]
    told = refusals(
        model=model(spec, spec.name),
        blocks=tuple(range(spec.depth)),
        accelerator=chosen(name),
    )
    assert told
    assert all(one.startswith(f"accelerator {name}: ") for one in told)


def test_methods_with_memory_and_compilation_are_refused():
    memory = Choice("static-reuse", tuple(dataclasses.asdict(_static()).items()))
    (told,) = refusals(attention=memory, accelerator=chosen("pab"))
    assert "static-reuse, which has a memory of its own" in told
    (told,) = refusals(compile=True, accelerator=chosen("pab"))
    assert "cannot be compiled whole" in told


def _static():
    from ditbench.attention.base import METHODS

    return METHODS.get("static-reuse")()


@pytest.mark.parametrize("name", ["pab", "taylorseer"])
def test_pixart_is_hooked_as_dit_is(name):
    assert not refusals(model=model(PIXART, "pixart"), accelerator=chosen(name))


def test_pab_broadcasts_cross_attention_where_it_is_asked_to():
    host = on_meta(model(PIXART, "pixart")).host()
    first = Moment(steps=STEPS)
    for cross, names in ((0, {"attn1"}), (3, {"attn1", "attn2"})):
        around = ACCELERATORS.get("pab")(cross=cross)
        assert not around.unsupported(host, first)
        handle = around.install(host)
        assert {name.rpartition(".")[2] for name in handle.decisions()} == names
        handle.uninstall()


@pytest.mark.parametrize("generations", GENERATIONS)
@NAMES
def test_many_generations_hold_memory_flat_after_the_first(name, generations):
    """Tensors that live between runs, and bytes that the handle holds at the end of each."""
    settings = ALL[name] | ({"first": 1} if name == "dbcache" else {})
    plain = set_up(dataclasses.replace(TINY_CELL, steps=4), "cpu")
    bench = with_(plain, name, ratios_of(plain), **settings)
    held, living = [], []
    for number in range(generations):
        bench.denoiser.install(bench.layers)
        bench.sample(bench.inputs(range(number, number + 1)))
        held.append(bench.denoiser.accelerated.cache_bytes)
        if number in {1, generations - 1}:
            gc.collect()
            living.append(sum(type(one) is torch.Tensor for one in gc.get_objects()))
    assert len(set(held[1:])) == 1
    assert living[1] == living[0]


def test_a_handle_frees_what_it_held_when_it_is_taken_out(plain):
    bench = with_(plain, "pab", **ALL["pab"])
    sampled(bench)
    handle = bench.denoiser.accelerated
    assert handle.cache_bytes > 0
    bench.denoiser.uninstall()
    assert handle.cache_bytes == 0


def test_every_plug_in_says_what_it_is():
    for name, plugin in ACCELERATORS.discover().items():
        assert plugin.name == name
        assert plugin.paper
        assert plugin.skips
