"""`ditbench train-policy` as a person types it: what is trained, what is told, and what is refused."""

from __future__ import annotations

import json

import pytest
from fakes_traces import planted

from ditbench.cli import main
from ditbench.reuse.policy import Policy
from ditbench.reuse.trace import text


@pytest.fixture
def traced(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(text(planted()))
    return path


def train(traced, *more):
    return main(["train-policy", str(traced), "--epochs", "150", *map(str, more)])


def test_it_writes_a_policy_and_sets_it_beside_one_that_nobody_trained(traced, tmp_path, capsys):
    out = tmp_path / "p.safetensors"
    assert train(traced, "--out", out) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[:3] == ["trained on 240 reuses of", "  m", "  dqar"]
    assert lines[3].startswith("judged on 80 reuses of 1 samples that it has not seen (seed:sample")
    assert [line.split()[0] for line in lines[6:10]] == ["trained", "untrained", "always", "never"]
    assert lines[-1] == str(out)
    assert told.err == ""
    assert Policy.read(out.read_bytes()).about["trained"] == "yes"


def test_in_json_every_arm_is_an_object(traced, tmp_path, capsys):
    assert train(traced, "--out", tmp_path / "p.safetensors", "--json") == 0
    arms = json.loads(capsys.readouterr().out)
    assert [arm["arm"] for arm in arms] == ["trained", "untrained", "always", "never"]
    assert arms[0]["accuracy"] >= 0.9
    assert arms[0]["judged"] == 80
    assert len(arms[0]["samples"]) == 1
    assert arms[2]["loss"] is None


def test_the_same_command_writes_the_same_file(traced, tmp_path):
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path in paths:
        assert train(traced, "--out", path) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_policy_is_judged_on_other_samples_and_refused_on_its_own(traced, tmp_path, capsys):
    policy, others = tmp_path / "p.safetensors", tmp_path / "others.jsonl"
    train(traced, "--out", policy)
    others.write_text(text(planted(seed=1)))
    capsys.readouterr()
    assert train(others, "--judge", policy) == 0
    assert "judged on 320 reuses of 4 samples" in capsys.readouterr().out
    assert train(traced, "--judge", policy) == 2
    assert "the policy was trained on sample" in capsys.readouterr().err


def test_a_policy_that_nobody_trained_is_not_called_trained(traced, tmp_path, capsys):
    blank = tmp_path / "u.safetensors"
    blank.write_bytes(Policy.untrained(3).write())
    assert train(traced, "--judge", blank) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "trained by nobody"
    assert [line.split()[0] for line in told[4:6]] == ["given", "untrained"]
    assert told[4].split()[1:] == told[5].split()[1:]


def test_a_damaged_line_is_told_and_the_others_are_learned_from(traced, tmp_path, capsys):
    traced.write_text(traced.read_text() + '{"trace": 1, "mod')
    assert train(traced, "--out", tmp_path / "p.safetensors") == 0
    assert f"ditbench: {traced}:321: is not JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ((), "write TRACE... --out FILE to train a policy, TRACE... --judge FILE to judge one"),
        (("--out", "p", "--judge", "q"), "write TRACE... --out FILE to train a policy"),
        (("--out", "p", "--untrained"), "write TRACE... --out FILE to train a policy"),
        (("--judge", "absent.safetensors"), "absent.safetensors: cannot be read: No such file"),
        (("--out", "p", "--tolerance", "9"), "240 of the 240 reuses to learn from have an error"),
        (
            ("--out", "p", "nowhere.jsonl"),
            "nowhere.jsonl: cannot be read: No such file or directory",
        ),
        (("--out", "t.jsonl/p"), "t.jsonl/p: cannot be written: "),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(traced, monkeypatch, capsys, arguments, cause):
    monkeypatch.chdir(traced.parent)
    assert train(traced, *arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"ditbench: {cause}")
    assert told.count("\n") == 1


def test_a_file_that_is_no_policy_is_named(traced, capsys):
    assert train(traced, "--judge", traced) == 2
    assert f"{traced}: no reuse policy: " in capsys.readouterr().err


def test_what_training_starts_from_can_be_written_without_a_trace(tmp_path, capsys):
    out = tmp_path / "untrained.safetensors"
    assert main(["train-policy", "--untrained", "--seed", "3", "--out", str(out)]) == 0
    assert out.read_bytes() == Policy.untrained(3).write()
    assert capsys.readouterr().out == f"{out}\n"
