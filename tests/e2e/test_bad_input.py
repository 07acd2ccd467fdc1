"""A person's mistake is one clear line, the right exit code, and no traceback."""

from __future__ import annotations

import pytest

GOOD = "name: x\nmodel: fashion-dit\nattention: softmax\n"
NUMBERS = f"[{', '.join(map(str, range(1, 1001)))}]"
MATRIX = f"""
name: x
model: fashion-dit
attention: {{monarch: {{block_size: {NUMBERS}, num_steps: {NUMBERS}}}}}
batch_size: {NUMBERS}
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nname: *b\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", "not YAML"),
        ("name: x\n\tmodel: y\n", "tab"),
        (GOOD.replace("softmax", "softmx"), "did you mean 'softmax'?"),
        (GOOD.replace("softmax", "{monarch: {block_sise: 4}}"), "did you mean 'block_size'?"),
        (GOOD + "steps: many\n", "steps"),
        (GOOD + "batch_size: -1\n", "batch_size"),
        (GOOD + "batch_size: []\n", "nothing would run"),
        (MATRIX, "at most 100,000"),
        (BOMB, "anchor"),
        (GOOD + "weights: no/such/folder\n", "no/such/folder"),
        (GOOD + "name: y\n", "stands twice"),
    ],
    ids=["not YAML", "tab", "unknown method", "misspelt setting", "wrong type", "negative batch",
         "empty axis", "10^9 cells", "alias bomb", "missing weights", "duplicate key"],
)  # fmt: skip
def test_a_bad_suite_is_told_in_one_line(shell, text, words):
    ended = shell.again("plan", shell.suite(text, "bad.yaml"))
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert ended.err.startswith("bad.yaml:")
    assert "Traceback" not in ended.err + ended.out


def test_weights_that_are_none_end_the_plan_before_anything_runs(shell):
    (shell.folder / "empty").mkdir()
    ended = shell.again("run", shell.suite(GOOD + "weights: ./empty\n", "bad.yaml"))
    assert ended.code == 2
    assert ended.err.startswith("ditbench: empty/config.json: no configuration in the hub's layout")
    assert len(ended.err.strip().splitlines()) == 1
    assert not (shell.folder / "results").exists()


def test_several_mistakes_are_told_at_once(shell):
    ended = shell("run", shell.suite(GOOD + "steps: 0\nseed: 1\n", "bad.yaml"))
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["show", "nothing"], "results"),
        (["frobnicate"], "frobnicate"),
        (["baseline", "show", "none-such"], "none-such"),
        (["compare", "a", "b"], "results"),
    ],
    ids=["missing suite", "no run", "unknown verb", "no baseline", "nothing to compare"],
)
def test_a_bad_command_is_one_line_and_exit_2(shell, arguments, words):
    ended = shell.again(*arguments)
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.err


def test_mistake_40_a_variable_that_changes_the_baseline_too_is_refused(shell):
    ended = shell("plan", shell.suite(GOOD, "good.yaml"), DIFFUSERS_ATTN_BACKEND="flex")
    assert ended.code == 6
    assert "DIFFUSERS_ATTN_BACKEND" in ended.err


def test_mistake_33_zero_cells_is_exit_2(shell):
    ended = shell.again("plan", shell.suite(GOOD, "good.yaml"), "-k", "nothing-like-this")
    assert ended.code == 2
    assert "matches none of the 1 cells" in ended.err
