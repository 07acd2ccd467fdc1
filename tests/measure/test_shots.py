"""One shard of pictures: nothing but its key and its index decides about a picture."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from cells import TINY, cell, model
from paced import pace
from patient import holds_once

from ditbench import pictures, sampling
from ditbench.errors import StoreError
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import gates, shots
from ditbench.models.base import presets
from ditbench.records import Sampling, Stage, Status
from ditbench.store.pictures import Part, Shards
from ditbench.store.shelf import file_of, folder_of

IN_SHARDS = Quality(samples=11, micro_batch=4, shard=4)
IN_ONE_GO = dataclasses.replace(IN_SHARDS, shard=11)


def quiet(_phase):
    """Nobody listens."""


def made(what, folder, quality=IN_SHARDS, numbers=None):
    """Findings of every shard."""
    found = []
    for number in range(len(quality.shards)) if numbers is None else numbers:
        job = Job(what, Stage.SAMPLE, number, Timing(), quality, ("latent_drift",), "cpu", folder)
        found.append(shots.run(job, quiet))
    return found


def kept(what, folder):
    return Shards.open(folder_of(folder, what))


def test_shards_hold_what_one_go_makes_bit_for_bit(tmp_path):
    what = cell("softmax")
    found = made(what, tmp_path / "a")
    made(what, tmp_path / "b", IN_ONE_GO)
    shards, whole = kept(what, tmp_path / "a"), kept(what, tmp_path / "b")
    assert [part.stop for part in shards.parts] == [4, 8, 11]
    assert np.array_equal(shards.latents(), whole.latents())
    assert np.array_equal(shards.images(), whole.images())
    assert shards.labels.tolist() == whole.labels.tolist()
    assert shards.key == whole.key == found[0].facts["image_key"]
    assert [one.facts["samples"] for one in found] == [4, 4, 3]
    assert all(one.facts["loop_s"] > 0 for one in found)
    assert np.array_equal(shards.images(), pictures.quantise(shards.latents()))


def test_a_picture_does_not_depend_on_the_order_in_which_shards_are_made(tmp_path):
    what = cell("identity")
    made(what, tmp_path / "a")
    made(what, tmp_path / "b", numbers=(2, 0, 1))
    bytes_of = [
        [part.path.read_bytes() for part in kept(what, tmp_path / name).parts] for name in "ab"
    ]
    assert bytes_of[0] == bytes_of[1]


def test_mistake_26_a_method_that_each_process_draws_anew_is_refused(tmp_path):
    """Every gate passes it, for within one process it is one method."""
    what = cell("faulty:DrawsAnew")
    gate = Job(what, Stage.GATE, 0, Timing(), IN_SHARDS, (), "cpu", tmp_path)
    assert gates.run(gate, quiet).status is Status.OK
    first, second, _ = made(what, tmp_path)
    assert first.status is Status.OK
    assert second.status is Status.FAILED_GATE
    assert second.reason.startswith("pictures depend on how they are cut into shards")
    assert second.reason.endswith(
        "apart from that of 000000-000004.npz: something is drawn anew in each process"
    )
    assert [path.name for path in folder_of(tmp_path, what).iterdir()] == ["000000-000004.npz"]


def test_mistake_26_noise_from_a_generator_of_each_shard_is_seen(tmp_path, monkeypatch):
    """As from `torch.manual_seed(seed)` at the start and `torch.randn` after it: our comparison finds it."""
    set_up = shots.set_up

    def seeded(*args):
        torch.manual_seed(0)
        return set_up(*args)

    def running(process, _seed, indices):
        return torch.randn(len(indices), *process.latent)

    monkeypatch.setattr(shots, "set_up", seeded)
    monkeypatch.setattr(sampling, "noise", running)
    what = cell("softmax")
    made(what, tmp_path / "a")
    made(what, tmp_path / "b", IN_ONE_GO)
    shards, whole = kept(what, tmp_path / "a"), kept(what, tmp_path / "b")
    assert np.array_equal(shards.latents(0, 4), whole.latents(0, 4))
    assert not np.array_equal(shards.latents(), whole.latents())


def test_one_shard_alone_makes_no_trial_run(tmp_path, monkeypatch):
    monkeypatch.setattr(shots, "_trial", None)
    assert made(cell("softmax"), tmp_path, IN_ONE_GO)[0].status is Status.OK


def test_another_micro_batch_is_another_key(tmp_path):
    what = cell("softmax")
    made(what, tmp_path / "a", IN_ONE_GO)
    made(what, tmp_path / "b", dataclasses.replace(IN_ONE_GO, micro_batch=3))
    one, other = kept(what, tmp_path / "a"), kept(what, tmp_path / "b")
    assert one.key != other.key
    assert (one.identity["micro_batch"], other.identity["micro_batch"]) == (4, 3)
    moved = np.abs(one.images().astype(int) - other.images())
    assert moved.max() <= 1


def test_mistake_27_a_shard_ends_with_the_first_picture_that_is_lost(tmp_path, monkeypatch):
    sample, calls = shots.Bench.sample, []

    def second_is_lost(self, inputs, steps=None):
        calls.append(steps)
        out = sample(self, inputs, steps)
        if len(calls) == 2:
            out = out.clone()
            out[1] = torch.nan
        return out

    monkeypatch.setattr(shots.Bench, "sample", second_is_lost)
    (found,) = made(cell("softmax"), tmp_path, IN_ONE_GO)
    assert (found.status, found.reason) == (
        Status.NOT_FINITE,
        "the latents are not finite: of pictures 5",
    )
    assert len(calls) == 2
    assert not list(tmp_path.rglob("*.npz"))


def test_a_torn_file_in_its_place_is_made_again_and_said(tmp_path):
    what = cell("softmax")
    made(what, tmp_path)
    path = file_of(folder_of(tmp_path, what), 4, 8)
    right = path.read_bytes()
    path.write_bytes(right[:-30])
    (found,) = made(what, tmp_path, numbers=[1])
    assert "000004-000008.npz: is torn" in found.facts["replaced"]
    assert path.read_bytes() == right


def test_pictures_of_another_key_in_its_place_are_left_alone_and_named(tmp_path):
    what = cell("softmax")
    made(what, tmp_path)
    path = file_of(folder_of(tmp_path, what), 4, 8)
    other = Part.read(path).key
    again = dataclasses.replace(IN_SHARDS, micro_batch=2)
    with pytest.raises(StoreError, match=f"another key, {other} and not") as told:
        made(what, tmp_path, again, numbers=[1])
    assert str(told.value).endswith("remove it, and go on with --resume")
    assert Part.read(path).key == other


@pytest.mark.parametrize("sampler", ["ddim", "dpmsolver++", "ddpm"])
def test_every_sampler_makes_its_trial_run(tmp_path, sampler):
    what = cell("softmax", sampling=Sampling(sampler=sampler, guidance_scale=2.0))
    assert {one.status for one in made(what, tmp_path)} == {Status.OK}
    trials = [part.array("trial") for part in kept(what, tmp_path).parts]
    assert all(np.array_equal(trials[0], one) for one in trials)
    assert np.isfinite(trials[0]).all()
    assert trials[0].size == TINY.size**2


@pytest.mark.slow
def test_a_shard_takes_little_more_than_its_denoising(tmp_path):
    """On the CPU, loosely; `test_gpu_shots.py` says how little it is where it matters."""
    spec = presets()["fashion-dit"].model
    what = dataclasses.replace(cell("sdpa", spec=spec), model=model(spec, "fashion-dit"))
    quality = Quality(samples=32, micro_batch=16, shard=32)
    assert holds_once(lambda: pace(what, "cpu", tmp_path, quality) >= 0.9)
