"""What samples show, from a cell to the network: the same for every method, and told to layers."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from ditbench import sampling
from ditbench.errors import UsageError
from ditbench.measure import bench, catalog
from ditbench.models.dit import DiT
from ditbench.models.pixart import PixArt
from ditbench.records import Cell, Choice, Sampling, Shown

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from tiny_pixart import CONFIG, save

CLASSY = DiT(hidden=32, depth=2, heads=2, size=8, classes=10)
WORDY = PixArt(hidden=32, depth=2, heads=2, size=8, words=8, word_width=CONFIG["d_model"])
TEXTS = ("a red shoe", "two bags and one coat", "a")


def cell(spec, **more):
    settings = tuple((one.name, getattr(spec, one.name)) for one in dataclasses.fields(spec))
    choice = Choice(spec.name, settings)
    return Cell(choice, Choice("softmax"), blocks=(0, 1), steps=2, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("pipe"), WORDY)


@pytest.fixture(scope="module")
def wordy(folder):
    return bench.set_up(cell(WORDY, weights=str(folder), shown=Shown.of("prompts", TEXTS)), "cpu")


def seen(made, inputs):
    """The moments of a run, and what the network was told beside latents and times."""
    moments, told = [], []
    made.denoiser.install(made.layers)
    at = made.denoiser.at
    made.denoiser.at = lambda now: (moments.append(now), at(now))[1]

    def predict(latents, times, *conditions):
        told.append(conditions)
        return made.denoiser(latents, times, *conditions)

    made.sample(inputs, predict=predict)
    del made.denoiser.at
    return moments, told


def test_samples_show_the_classes_of_the_suite_in_turn():
    made = bench.set_up(cell(CLASSY, shown=Shown.of("classes", [3, 7])), "cpu")
    _, labels, _ = made.inputs(range(5))
    assert labels.tolist() == [3, 7, 3, 7, 3]
    moments, told = seen(made, made.inputs([1, 2]))
    assert told[0][0].tolist() == [7, 3, 10, 10]
    assert {now.prompt for now in moments} == {1.0}
    assert made.shown == {"shown": {"first": [3, 7]}}


def test_a_class_that_a_network_does_not_have_is_refused():
    with pytest.raises(UsageError, match="no class 10: the model's 10 begin at 0"):
        CLASSY.of_classes([3, 10])


def test_without_a_word_of_the_suite_all_is_as_it_was():
    made = bench.set_up(cell(CLASSY), "cpu")
    _, labels, _ = made.inputs(range(5))
    assert torch.equal(labels, *CLASSY.conditions(0, range(5)))
    assert made.shown == {}


def test_texts_are_read_for_the_network_and_guidance_leads_away_from_the_empty_one(wordy):
    moments, told = seen(wordy, wordy.inputs([0, 1]))
    text, mask = told[0]
    empty = wordy.texts.of([""])
    assert torch.equal(text[:2], wordy.texts.of(TEXTS[:2]).embeddings)
    assert torch.equal(text[2:], empty.embeddings.expand(2, -1, -1))
    assert mask.sum(1).tolist()[2:] == [1, 1]
    assert {now.prompt for now in moments} == {float(mask[:2].sum(1).float().mean())}


def test_a_text_moves_the_picture(wordy):
    ends = []
    for shown in (TEXTS, TEXTS[::-1]):
        made = dataclasses.replace(
            wordy, cell=dataclasses.replace(wordy.cell, shown=Shown.of("prompts", shown))
        )
        made.denoiser.install(made.layers)
        ends.append(made.sample(made.inputs([0])))
    assert (ends[0] - ends[1]).norm() > 1e-4 * ends[0].norm()


def test_texts_are_the_same_for_every_method(wordy):
    others = dataclasses.replace(
        wordy, cell=dataclasses.replace(wordy.cell, attention=Choice("sdpa"))
    )
    mine, theirs = (made.inputs([2, 0]) for made in (wordy, others))
    assert all(torch.equal(*pair) for pair in zip(mine, theirs, strict=True))


def test_weights_say_by_what_texts_were_read(wordy):
    assert wordy.weights.endswith(f"texts by {wordy.texts.identity}")


def test_a_random_text_fills_all_words():
    made = bench.set_up(cell(WORDY), "cpu")
    moments, _ = seen(made, made.inputs([0]))
    assert {now.prompt for now in moments} == {8.0}


def test_weights_without_an_encoder_are_refused_with_the_way_out(folder, tmp_path):
    (tmp_path / "transformer").symlink_to(folder / "transformer")
    shown = Shown.of("prompts", TEXTS)
    cells = [cell(WORDY, weights=str(where), shown=shown) for where in ("random", tmp_path, folder)]
    random, bare, whole = (one.reasons for one in catalog.inspect(cells, "cpu"))
    assert "random weights have no text encoder" in random[0]
    assert "leave prompts out for random embeddings" in bare[0]
    assert whole == ()


def test_what_says_nothing_may_be_given_for_one_sample():
    given = (torch.full((1, 3), 5.0),)
    told = []

    def predict(latents, _times, condition):
        told.append(condition)
        return latents

    sampling.sample(
        predict, CLASSY, torch.zeros(2, *CLASSY.latent), (torch.ones(2, 3),), sampler="ddim",
        steps=1, guidance_scale=Sampling().guidance_scale, null=given,
    )  # fmt: skip
    assert told[0].tolist() == [[1.0] * 3] * 2 + [[5.0] * 3] * 2
