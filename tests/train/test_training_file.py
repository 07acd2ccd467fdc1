"""A training file is read as strictly as a suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from ditbench.errors import SuiteError, UsageError
from ditbench.models.dit import FASHION
from ditbench.train import command, dit, features

SHIPPED = Path(__file__).parents[2] / "suites" / "train"
GOOD = "name: x\nmodel: {name: dit, hidden: 32, heads: 2}\ndata: there\n"


def mistakes(tmp_path, text: str) -> tuple[str, ...]:
    file = tmp_path / "t.yaml"
    file.write_text(text)
    with pytest.raises(SuiteError) as caught:
        command.read(file)
    return tuple(problem.split(":", 1)[1] for problem in caught.value.problems)


def test_the_shipped_files_are_read():
    model = command.read(SHIPPED / "fashion-dit.yaml")
    assert isinstance(model, dit.Training)
    assert model.model == FASHION
    assert isinstance(command.read(SHIPPED / "fashion-cnn.yaml"), features.Features)


def test_every_mistake_is_told_at_once(tmp_path):
    told = mistakes(tmp_path, GOOD + "step: 3\nbatch_size: none\n")
    assert len(told) == 2
    assert "did you mean 'steps'?" in told[0]
    assert "batch_size" in told[1]


def test_an_architecture_that_cannot_be_built_is_told(tmp_path):
    told = mistakes(tmp_path, GOOD.replace("heads: 2", "heads: 3"))
    assert "hidden 32 is not a multiple of heads 3" in told[0]


def test_a_setting_of_the_other_kind_of_training_is_unknown(tmp_path):
    assert "epochs" in mistakes(tmp_path, GOOD + "epochs: 3\n")[0]


def test_what_is_missing_is_named(tmp_path):
    assert "'data' is missing" in mistakes(tmp_path, "name: x\nmodel: fashion_cnn\n")[0]


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        command.read(tmp_path / "no.yaml")


def test_the_data_may_be_given_on_the_command_line_and_must_be_there(tmp_path):
    (tmp_path / "t.yaml").write_text(GOOD)
    with pytest.raises(UsageError, match="elsewhere: no train-images-idx3-ubyte"):
        command.train(tmp_path / "t.yaml", tmp_path / "elsewhere", tmp_path / "out", None)
