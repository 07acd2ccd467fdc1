"""Reuse behind gates: the seed's counts, what a reuse spares, and what a layer remembers."""

from __future__ import annotations

import math

import pytest
import torch

from ditbench.attention.base import METHODS, Moment, Shape, Site
from ditbench.attention.dqar import ACROSS, Dqar
from ditbench.digests import sealed
from ditbench.measure import bench, opened
from ditbench.records import Cell, Choice, Sampling
from ditbench.registry import settings_of
from ditbench.reuse import entropy, spent
from ditbench.reuse.gating import REUSED
from ditbench.reuse.policy import Policy

HEADS, TOKENS, WIDTH = 2, 8, 4
DIM = HEADS * WIDTH
SITE = Site(0, 6, HEADS, WIDTH, (2, 4))
STEPS = 12
# No gate but age and number of reuses.
OPEN = {"threshold": 100.0, "warmup": 0, "snr_low": 0.0, "snr_high": 1e9, "max_gap": 6}


class Linears:
    """A site's projections, fixed and random, that note which parts of how many rows were asked for.

    sharp: by how much the queries of the first half of the rows are larger.
    """

    def __init__(self, sharp=1.0):
        generator = torch.Generator().manual_seed(0)
        self.weights = {
            part: torch.randn(DIM, DIM, generator=generator) / DIM**0.5 for part in "qkvo"
        }
        self.sharp, self.asked = sharp, []

    def __call__(self, x, parts="qkv"):
        self.asked.append((parts, len(x)))
        return tuple(self._part(x, part) for part in parts)

    def _part(self, x, part):
        made = x @ self.weights[part]
        if part == "q":  # the last number of a row tells its half
            made = made * torch.where(x[:, :1, -1:] > 0, self.sharp, 1.0)
        return made.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)

    def finish(self, out):
        return out.transpose(1, 2).flatten(2) @ self.weights["o"]


def run(method, *, rows=2, linears=None, layer=None):
    """Layer, outputs by step, and projections, of a run whose inputs are other ones at each step."""
    linears = linears or Linears()
    layer = layer or method.open(SITE)
    generator = torch.Generator().manual_seed(1)
    given = []
    for step in range(STEPS):
        x = torch.randn(rows, TOKENS, DIM, generator=generator)
        x[..., -1] = torch.where(torch.arange(rows)[:, None] < rows // 2, 1.0, -1.0)
        now = Moment(step, STEPS, 0.5 * step - 3, guided=True, prompt=12.0)
        given.append(layer(x, linears, linears.finish, now))
    return layer, torch.stack(given), linears


def reasons(layer):
    return [one.reason for one in layer.decisions]


def reused_at(layer):
    return [one.step for one in layer.decisions if one.reused]


@pytest.mark.parametrize("mode", ["kv", "output"])
@pytest.mark.parametrize("guidance", ["shared", "apart"])
@pytest.mark.parametrize(
    "off",
    [{"limit": 0}, {"threshold": 0.0}, {"max_gap": 0}, {"warmup": STEPS}, {"snr_low": 1e9}],
    ids=str,
)
def test_with_reuse_off_it_is_its_core_bit_for_bit(off, mode, guidance):
    layer, given, linears = run(Dqar(mode=mode, guidance=guidance, **OPEN | off))
    _, true, _ = run(METHODS.get("sdpa")())
    assert torch.equal(given, true)
    assert not any(one.reused for one in layer.decisions)
    assert linears.asked == [("qkv", 2)] * STEPS


def test_reused_keys_and_values_meet_fresh_queries():
    layer, given, linears = run(Dqar(limit=2, **OPEN))
    assert reused_at(layer) == [1, 2, 4, 5, 7, 8, 10, 11]
    assert linears.asked == [("qkv", 2), ("q", 2), ("q", 2)] * 4
    assert {(one.ran, one.reused) for one in layer.decisions} == {("qkvo", False), ("qo", True)}
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(2, TOKENS, DIM, generator=generator) for _ in range(2))
    for x in (first, second):
        x[..., -1] = torch.tensor([1.0, -1.0])[:, None]
    (q,), (k, v) = Linears()(second, "q"), Linears()(first, "kv")
    true = Linears().finish(METHODS.get("sdpa")().attend(q, k, v))
    assert torch.equal(given[1], true)
    assert (
        len({float(one.sum()) for one in given}) == STEPS
    )  # fresh queries: no two outputs are equal


def test_a_reused_output_runs_nothing_and_is_the_last_computed_one():
    layer, given, linears = run(Dqar(mode="output", limit=2, **OPEN))
    assert reused_at(layer) == [1, 2, 4, 5, 7, 8, 10, 11]
    assert linears.asked == [("qkv", 2)] * 4
    assert {(one.ran, one.core) for one in layer.decisions if one.reused} == {("", 0)}
    assert all(torch.equal(given[step], given[step - step % 3]) for step in range(STEPS))


@pytest.mark.parametrize(
    ("method", "spared"),
    [
        *(
            (Dqar(limit=limit, **OPEN | {"threshold": threshold}), spared)
            for threshold, counts in ((1.5, (0, 0, 0)), (3.0, (44, 52, 56)), (5.0, (44, 52, 56)))
            for limit, spared in zip((2, 4, 6), counts, strict=True)
        ),
        (Dqar(**OPEN | {"limit": 100, "max_gap": 100}), 62),
        (Dqar(limit=0), 0),
    ],
    ids=lambda one: f"{one.threshold}-{one.limit}" if isinstance(one, Dqar) else str(one),
)
def test_the_reuse_counts_of_the_seeds_sweep_of_its_toy(toy, method, spared):
    """Of 72 forwards: 6 blocks, 12 steps; random rows of 8 tokens, 12 words."""
    toy.denoiser.install(method.open)
    toy.sample(toy.inputs([7]))
    told = [one for layer in toy.denoiser.layers().values() for one in layer.decisions]
    toy.denoiser.uninstall()
    assert (len(told), sum(one.reused for one in told)) == (72, spared)


@pytest.fixture(scope="module")
def toy():
    cell = Cell(
        Choice("dqar-dummy"), Choice("softmax"), blocks=tuple(range(6)), steps=12,
        sampling=Sampling(guidance_scale=1.0),
    )  # fmt: skip
    return bench.set_up(cell, "cpu")


APART = OPEN | {"guidance": "apart", "limit": 2}


def test_halves_are_decided_about_apart():
    """The half with its condition looks at one token; the other at all, which a threshold refuses."""
    settings = APART | {"threshold": 1.5}
    layer, given, linears = run(Dqar(**settings), linears=Linears(sharp=50.0))
    by_half = [layer.decisions[half::2] for half in (0, 1)]
    assert [one.step for one in by_half[0] if one.reused] == [1, 2, 4, 5, 7, 8, 10, 11]
    assert not any(one.reused for one in by_half[1])
    assert {one.reason for one in by_half[1][1:]} == {"entropy above the threshold"}
    assert {(one.of, one.rows) for one in layer.decisions} == {(0.5, 0.5)}
    assert linears.asked[:3] == [("qkv", 2), ("q", 1), ("qkv", 1)]
    _, true, _ = run(METHODS.get("sdpa")(), linears=Linears(sharp=50.0))
    torch.testing.assert_close(given[:, 1], true[:, 1])
    assert not torch.allclose(given[1, 0], true[1, 0])
    cores = [sum(one.core for one in layer.decisions if one.step == step) for step in range(2)]
    one_row = Dqar().macs(Shape(1, HEADS, TOKENS, WIDTH))
    looks = entropy.macs(1, HEADS, TOKENS, TOKENS, WIDTH)
    assert cores == [2 * one_row + 2 * looks, 2 * one_row + looks]


def test_shared_entries_are_one_decision_about_the_mean_of_both_halves():
    layer, _, linears = run(Dqar(**APART | {"guidance": "shared"}), linears=Linears(sharp=50.0))
    assert len(layer.decisions) == STEPS
    assert {rows for _, rows in linears.asked} == {2}


def test_across_lets_the_half_without_its_condition_take_the_others_keys():
    settings = APART | {"threshold": 1.5, "across": True}
    layer, given, linears = run(Dqar(**settings), linears=Linears(sharp=50.0))
    mine, others = (layer.decisions[half::2] for half in (0, 1))
    # Each use counts: what both took at one step is used up.
    assert [one.step for one in others if one.reused] == [1, 3, 5, 7, 9, 11]
    assert {one.reason for one in others if one.reused} == {ACROSS}
    assert {one.reason for one in mine if one.reused} == {REUSED}
    assert linears.asked[:2] == [("qkv", 2), ("q", 2)]
    # Its own keys are not those that it was given.
    _, alone, _ = run(Dqar(**APART), linears=Linears(sharp=50.0))
    assert not torch.equal(given[1, 1], alone[1, 1])


@pytest.mark.parametrize("cooldown", [1, 2, 3])
def test_a_cooldown_asks_for_computed_steps_in_a_row_those_of_the_warm_up_too(cooldown):
    layer, _, _ = run(Dqar(limit=2, **OPEN | {"warmup": 2, "cooldown": cooldown}))
    first = max(2, cooldown)
    expected = [s for s in range(first, STEPS) if (s - first) % (cooldown + 2) < 2]
    assert reused_at(layer) == expected


def test_memory_is_given_back_once_nothing_more_can_be_reused():
    layer, linears, sizes = Dqar(**OPEN | {"warmup": 4}).open(SITE), Linears(), []
    for step in range(8):
        layer(torch.randn(2, TOKENS, DIM), linears, linears.finish, Moment(step, 8))
        sizes.append(opened.size([layer]))
    kept = 2 * 2 * TOKENS * DIM * 4
    # Reused at 4, 5 and 6; what step 7 computes nobody will ask for.
    assert sizes == [0, 0, 0, kept, kept, kept, kept, 0]


@pytest.mark.parametrize("mode", ["kv", "output"])
def test_at_a_joint_site_picture_and_text_are_both_given_again(mode):
    class Joint(Linears):
        def finish(self, out):
            both = super().finish(out)
            return both[:, :5], both[:, 5:]

    layer, linears = Dqar(mode=mode, **OPEN).open(SITE), Joint()
    x = torch.randn(2, TOKENS, DIM)
    first, again = (layer(x, linears, linears.finish, Moment(step, 3)) for step in range(2))
    assert reused_at(layer) == [1]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert [one.shape[1] for one in again] == [5, 3]


def test_halves_without_guidance_are_one():
    method = Dqar(**APART)
    layer, linears = method.open(SITE), Linears()
    layer(torch.randn(2, TOKENS, DIM), linears, linears.finish, Moment(0, 4, 0.0))
    assert [one.of for one in layer.decisions] == [1.0]


class SameBuffer(Linears):
    """Writes every projection into memory that it used before, as a captured graph does."""

    def __init__(self):
        super().__init__()
        self.buffers = {}

    def _part(self, x, part):
        made = super()._part(x, part)
        return self.buffers.setdefault(part, made).copy_(made)


@pytest.mark.parametrize("precision", ["own", "half", "int8", "mixed"])
def test_buffers_that_are_written_again_do_not_change_what_is_kept(precision):
    method = Dqar(**OPEN | {"precision": precision})
    _, plain, _ = run(method)
    _, given, _ = run(method, linears=SameBuffer())
    assert torch.equal(given, plain)


def test_a_network_that_writes_to_what_it_was_given_does_not_change_what_is_kept():
    method = Dqar(mode="output", **OPEN)
    layer, linears, x = method.open(SITE), Linears(), torch.randn(2, TOKENS, DIM)
    seen = []
    for step in range(4):
        out = layer(x, linears, linears.finish, Moment(step, 4))
        seen.append(out.clone())
        out.fill_(math.nan)
    assert all(torch.equal(one, seen[0]) for one in seen)


@pytest.mark.parametrize("mode", ["kv", "output"])
def test_mistake_16_a_run_opened_anew_remembers_nothing(mode):
    method = Dqar(mode=mode, **APART)
    first, given, _ = run(method)
    again, repeated, _ = run(method)
    assert torch.equal(given, repeated)
    assert reasons(again) == reasons(first)
    assert method.open(SITE).entries == {}
    # Planted: the same layer goes on where the last run ended, and is told by its first decision.
    leaked, _, _ = run(method, layer=first)
    assert leaked.decisions[24].reason == "of this very step"
    assert again.decisions[0].reason == "nothing kept"


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"mode": "output"}, 1 * 4),
        ({}, 2 * 4),
        ({"precision": "half"}, 2 * 2),
        ({"precision": "int8", "granularity": "tensor"}, 2 * 1),
        ({"precision": "mixed", "granularity": "tensor"}, 2 + 1),
        ({"guidance": "apart"}, 2 * 4),
    ],
    ids=str,
)
def test_bytes_kept_are_those_of_the_precision_and_the_scales_beside(settings, kept):
    rows = 4
    layer, _, _ = run(Dqar(**OPEN | settings), rows=rows)
    scales = {"int8": 2, "mixed": 1}.get(settings.get("precision", ""), 0) * rows * 4
    assert opened.size([layer]) == rows * TOKENS * DIM * kept + scales


@pytest.mark.parametrize(
    ("precision", "mib", "scales"), [("own", 63.0, 0), ("int8", 31.5, 2), ("mixed", 47.25, 1)]
)
def test_the_cache_of_dit_xl_weighs_what_was_published(precision, mib, scales):
    """28 blocks, 256 tokens of 1152 numbers, two rows under guidance, float16; scales of heads beside."""
    method = Dqar(core="identity", precision=precision, scheduler=False, **OPEN)
    layers = [method.open(Site(block, 28, 16, 72, (16, 16))) for block in range(28)]
    x = torch.zeros(2, 256, 1152, dtype=torch.float16)
    parts = torch.ones(2, 16, 256, 72, dtype=torch.float16)
    for layer in layers:
        layer(x, lambda _, asked="qkv": (parts,) * len(asked), lambda out: out, Moment(0, 50))
    assert opened.size(layers) == mib * 2**20 + scales * 28 * 2 * 16 * 4


def test_what_storing_lost_is_told_where_somebody_listens():
    method = Dqar(**OPEN | {"precision": "int8"})
    unheard, _, _ = run(method)
    assert not any("sqnr_k" in one.seen for one in unheard.decisions)
    with spent.collect("cpu"):
        heard, _, _ = run(method)
    told = [one.seen["sqnr_v"] for one in heard.decisions if not one.reused]
    assert all(30 < value < 60 for value in told)
    coarse = Dqar(**OPEN | {"precision": "int8", "bits": 4})
    with spent.collect("cpu"):
        coarser, _, _ = run(coarse)
    assert coarser.decisions[0].seen["sqnr_v"] < told[0] - 15


def test_balanced_keys_lose_less_where_one_channel_is_far_larger():
    """Beside it the other channels of a head, which share its scale, would be rounded away."""

    def error(**settings):
        linears = Linears()
        linears.weights["k"][:, 1] *= 30
        linears.weights["q"][:, 1] /= 30
        _, given, _ = run(Dqar(**OPEN | settings), linears=linears)
        return given

    exact = error()
    plain, balanced = (
        float((error(precision="int8", bits=6, balance=balance) - exact).norm())
        for balance in (False, True)
    )
    assert 0 < balanced < plain / 2


@pytest.mark.parametrize(
    ("settings", "times"),
    [({"threshold": 2.4}, 3), ({"threshold": 2.5}, 0), ({"threshold": 2.4, "limit": 0}, 0)],
    ids=str,
)
def test_entropy_is_taken_at_computed_steps_where_it_can_decide(monkeypatch, settings, times):
    """tau is 2.078 and 2.165; no entropy over 8 keys is above ln 8 = 2.0794 by more than 0.0001.

    Computed at 0, 4 and 8; at the last step nobody could reuse it.
    """
    taken, real = [], entropy.entropy
    monkeypatch.setattr(entropy, "entropy", lambda q, k: taken.append(len(q)) or real(q, k))
    layer, _, _ = run(Dqar(**OPEN | settings))
    assert len(taken) == times
    looks = entropy.macs(2, HEADS, TOKENS, TOKENS, WIDTH) if times else 0
    core = Dqar().macs(Shape(2, HEADS, TOKENS, WIDTH))
    assert layer.decisions[0].core == core + looks


def test_seconds_of_decisions_are_those_of_what_they_look_at():
    with spent.collect("cpu") as looking:
        run(Dqar(**OPEN | {"threshold": 2.4}))
    with spent.collect("cpu") as blind:
        run(Dqar(**OPEN))
    assert (looking.times, blind.times) == (STEPS + 3, STEPS)
    assert looking.seconds > 0


def test_a_policy_is_read_once_from_its_file_and_its_no_is_a_reason(tmp_path):
    place = tmp_path / "policy.safetensors"
    place.write_bytes(Policy.untrained(7).write())
    named = sealed(str(place))
    never, _, _ = run(Dqar(policy=named, **OPEN | {"min_probability": 1.0}))
    place.unlink()  # every site of every run asks for it
    always, _, _ = run(Dqar(policy=named, **OPEN | {"min_probability": 0.0}))
    assert set(reasons(never)) == {"nothing kept", "the policy says no"}
    assert reused_at(always) == reused_at(run(Dqar(**OPEN))[0])
    seen = always.decisions[1].seen
    x = run_input(1)
    assert seen["log_norm"] == pytest.approx(float(x.flatten(1).norm(dim=1).log().mean()))
    assert (seen["log_snr"], seen["prompt"], seen["step_share"]) == (-2.5, 12.0, 1 / 11)
    asked = (seen[name] for name in ("entropy", "log_snr", "log_norm", "step_share", "prompt"))
    assert seen["probability"] == Policy.untrained(7).probability(*asked)


def run_input(step):
    """What `run` gives its layers at a step."""
    generator = torch.Generator().manual_seed(1)
    x = [torch.randn(2, TOKENS, DIM, generator=generator) for _ in range(step + 1)][-1]
    x[..., -1] = torch.tensor([1.0, -1.0])[:, None]
    return x


SHAPE = Shape(2, HEADS, TOKENS, WIDTH)


@pytest.mark.parametrize(
    ("settings", "plane", "told"),
    [
        ({}, True, []),
        ({"guidance": "apart", "precision": "mixed"}, True, []),
        ({"mode": "output", "precision": "int8"}, True, ["write mode: kv"]),
        ({"snr_low": 2.0, "snr_high": 1.0}, True, ["write the smaller one as snr_low"]),
        ({"snr_low": 1.0, "snr_high": 1.0}, True, []),
        ({"across": True}, True, ["write guidance: apart"]),
        ({"balance": True, "precision": "mixed"}, True, ["write precision: int8"]),
        ({"guidance": "apart"}, False, ["text among them"]),
        ({"core": "static-reuse"}, True, ["spares forwards itself"]),
        ({"core": "dqar"}, True, ["spares forwards itself"]),
        ({"mode": "output", "precision": "half", "across": True}, True, ["mode: kv", "apart"]),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_the_way_out(settings, plane, told):
    shape = Shape(2, HEADS, TOKENS, WIDTH, (2, 4), plane)
    refusals = Dqar(**settings).unsupported(shape, "float32", "cpu")
    assert len(refusals) == len(told)
    assert all(part in refusal for part, refusal in zip(told, refusals, strict=True))


def test_a_file_that_is_no_policy_is_refused_in_one_line(tmp_path):
    place = tmp_path / "odd"
    place.write_text("nothing of the kind")
    (refusal,) = Dqar(policy=sealed(str(place))).unsupported(SHAPE, "float32", "cpu")
    assert refusal.startswith(f"{place}: no reuse policy: ")
    assert "\n" not in refusal
    place.write_text("something else")
    (refusal,) = Dqar(policy=f"{place}#{'0' * 12}").unsupported(SHAPE, "float32", "cpu")
    assert "is not the file that the suite named" in refusal


def test_a_core_that_projects_nothing_leaves_nothing_to_keep():
    layer, _, linears = run(Dqar(core="zero", **OPEN))
    assert linears.asked == []
    assert set(reasons(layer)) == {"nothing kept"}


def test_the_defaults_are_the_seeds():
    found = {one.name: one.default for one in settings_of(Dqar)}
    seeds = {"threshold": 2.5, "limit": 3, "max_gap": 4, "cooldown": 1, "warmup": 3, "snr_low": 0.1,
             "snr_high": 100.0, "early": 4, "middle": 12, "min_probability": 0.5}  # fmt: skip
    assert seeds.items() <= found.items()
