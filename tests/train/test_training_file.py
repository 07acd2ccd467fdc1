"""A training file is read as strictly as a suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from ditbench.errors import SuiteError, UsageError
from ditbench.models.dit import FASHION
from ditbench.registry import settings_of
from ditbench.train import command, features
from ditbench.train.command import Asked
from ditbench.train.file import read
from ditbench.train.spec import Quality, Sampling, Shared, Training

SHIPPED = Path(__file__).parents[2] / "suites" / "train"
GOOD = "name: x\nmodel: {name: dit, hidden: 32, heads: 2, out_channels: 4}\ndata: there\n"
ARMS = """\
name: x
data: there
label_dropout: 0
arms:
  dit: {model: gqa-dit, attention: {linformer: {rank: 8}}}
  unet: {model: {name: unet, hidden: 16}}
"""


def mistakes(tmp_path, text: str) -> tuple[str, ...]:
    file = tmp_path / "t.yaml"
    file.write_text(text)
    with pytest.raises(SuiteError) as caught:
        read(file)
    return tuple(problem.split(":", 1)[1] for problem in caught.value.problems)


def test_the_shipped_files_are_read():
    model = read(SHIPPED / "fashion-dit.yaml")
    assert isinstance(model, Training)
    assert model.process == FASHION
    assert model.total(60_000) == 3000
    assert isinstance(read(SHIPPED / "fashion-cnn.yaml"), features.Features)


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_file_is_one(file):
    assert read(file).name == file.stem


def test_arms_are_read_with_their_models_and_methods(tmp_path):
    (tmp_path / "t.yaml").write_text(
        ARMS + "epochs: 2\nsampling: {steps: 10}\nquality: {samples: 64}\n"
    )
    made = read(tmp_path / "t.yaml")
    dit, unet = made.arms
    assert (dit.name, dit.model.name, dit.attention["rank"]) == ("dit", "gqa-dit", 8)
    assert (unet.model["hidden"], unet.attention) == (16, None)
    assert (made.sampling, made.quality) == (Sampling(10), Quality(samples=64))
    assert made.total(640) == 20


def test_the_page_about_training_has_every_key():
    page = (SHIPPED.parents[1] / "docs" / "training.md").read_text()
    keys = [one.name for kind in (Shared, Sampling, Quality) for one in settings_of(kind)]
    assert [key for key in keys if f"`{key}`" not in page] == []


def test_every_mistake_is_told_at_once(tmp_path):
    told = mistakes(tmp_path, GOOD + "step: 3\nbatch_size: none\n")
    assert len(told) == 2
    assert "did you mean 'steps'?" in told[0]
    assert "batch_size" in told[1]


def test_an_architecture_that_cannot_be_built_is_told(tmp_path):
    told = mistakes(tmp_path, GOOD.replace("heads: 2", "heads: 3"))
    assert "hidden 32 is not a multiple of heads 3" in told[0]


def test_a_variance_that_nothing_would_teach_is_told(tmp_path):
    told = mistakes(tmp_path, GOOD.replace("out_channels: 4", "out_channels: 8"))
    assert "training teaches no variance" in told[0]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (("model: gqa-dit", "modle: gqa-dit"), "unknown key 'modle' (did you mean 'model'?)"),
        (("gqa-dit", "gqa-did"), "unknown model 'gqa-did' (did you mean 'gqa-dit'?)"),
        (
            ("linformer", "linfomer"),
            "unknown attention method 'linfomer' (did you mean 'linformer'?)",
        ),
        (("rank: 8", "rank: [8, 9]"), "one value for each setting: another is another arm"),
        (("hidden: 16", "size: 32"), "latent 1x32x32 where dit has 1x28x28: arms may differ"),
        (
            ("hidden: 16", "prediction: v_prediction"),
            "prediction v_prediction where dit has epsilon",
        ),
        (("gqa-dit", "pixart"), "is told more than a class"),
        (("hidden: 16", "hidden: 17"), "hidden 17 is not a multiple"),
        (("  dit:", "  ../dit:"), "an arm's name is its folder"),
        (("arms:", "arms: {}\nseeds:"), "must be a mapping such as"),
        (("label_dropout: 0", "label_dropout: 0.1"), "write label_dropout: 0"),
        (("name: x", "name: x\nsteps: 3\nepochs: 2"), "steps are given too: one of the two"),
        (("name: x", "name: x\nfeatures: on"), "of which VAE? give vae: too"),
        (("name: x", "name: x\nprocesses: 3"), "batch_size 64 is not 3 equal parts"),
        (("name: x", "name: x\nsampling: {guidance_scale: 2}"), "guidance asks for the null class"),
        (("name: x", "name: x\nprecision: half"), "unknown value 'half'"),
        (("name: x", "name: x\nmodel: unet"), "both are given"),
        (("arms:", "limbs:"), "'arms' is missing"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_mistake_in_a_file_of_arms_has_its_place_and_its_cause(change, cause, tmp_path):
    told = mistakes(tmp_path, ARMS.replace(*change))
    assert any(cause in line for line in told), told
    assert all(line.split(":")[0].isdigit() for line in told)


def test_two_arms_that_are_one_are_told(tmp_path):
    told = mistakes(tmp_path, ARMS + "  again: {model: {name: unet, hidden: 16}}\n")
    assert "arms.again: the same as unet" in told[0]


def test_a_setting_of_the_other_kind_of_training_is_unknown(tmp_path):
    cnn = "name: x\nmodel: fashion_cnn\ndata: there\n"
    assert "arms" in mistakes(tmp_path, cnn + "arms: 3\n")[0]


def test_what_is_missing_is_named(tmp_path):
    assert "'data' is missing" in mistakes(tmp_path, "name: x\nmodel: fashion_cnn\n")[0]
    assert "'data' is missing" in mistakes(tmp_path, "name: x\nmodel: unet\n")[0]


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "no.yaml")


def test_the_data_may_be_given_on_the_command_line_and_must_be_there(tmp_path):
    (tmp_path / "t.yaml").write_text(GOOD)
    asked = Asked(tmp_path / "t.yaml", tmp_path / "elsewhere", tmp_path / "out", device="cpu")
    with pytest.raises(UsageError, match="elsewhere: is not there"):
        command.train(asked)


@pytest.mark.parametrize(
    ("asked", "text", "cause"),
    [
        ({"arm": "unte"}, ARMS, "has no arm 'unte' .did you mean 'unet'"),
        ({"arm": "dit"}, GOOD, "known: none"),
        ({"export": Path("x")}, ARMS, "ships nothing"),
        ({"device": "tpu"}, ARMS, "'tpu' is neither cpu nor cuda"),
        ({}, ARMS + "precision: float16\n", "float16 needs a GPU"),
        ({}, ARMS + "quality: {extractor: inceptoin}\n", "unknown extractor 'inceptoin'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_command_line_says_wrong_is_one_line(asked, text, cause, tmp_path):
    (tmp_path / "t.yaml").write_text(text)
    known = {"device": "cpu", **asked}
    with pytest.raises(UsageError, match=cause):
        command.train(Asked(tmp_path / "t.yaml", None, tmp_path / "out", **known))
