"""No input makes a traceback, a hang, or a file where none belongs."""

from __future__ import annotations

import subprocess

import pytest
import strategies
import targets
from fence import OutsideError, TooSlowError, fence
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

_ANY = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": (
        Phase.explicit,
        Phase.generate,
        Phase.shrink,
    ),  # to explain a case is to trace it, slowly
    "suppress_health_check": list(HealthCheck),
}
_OVERRIDES = st.tuples(
    st.sampled_from(
        ("", "steps", "attention", "blocks", "timing.repeats", "sampling.seed", "nonsense")
    ),
    st.one_of(st.sampled_from(strategies._BITS), st.text(max_size=10)),
)
SUITES = st.tuples(
    strategies.suites(), _OVERRIDES, st.sampled_from(("", "softmax", "(", "[", "a" * 500))
)
RECORDS = strategies.runs()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def _suite(folder, case):
    text, override, select = case
    targets.suite(text, folder, override, select)


def _records(folder, case):
    targets.records(case[0], folder, case[1])


def _baseline(folder, case):
    targets.baseline(case, folder)


def _report(folder, case):
    targets.report(case[0], folder)


CASES = {
    "suites": (SUITES, _suite),
    "records": (RECORDS, _records),
    "baselines": (strategies.baselines(), _baseline),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_no_input_makes_a_traceback_a_hang_or_a_stray_file(folder, kind):
    _tried(kind, folder, 60)


@pytest.mark.long
@pytest.mark.parametrize("kind", CASES)
def test_of_ten_thousand_inputs_none_makes_a_traceback_a_hang_or_a_stray_file(folder, kind):
    _tried(kind, folder, 10_000)


@pytest.mark.long
def test_any_run_that_can_be_read_gets_its_whole_report(folder):
    settings(max_examples=200, **_ANY)(given(case=RECORDS)(lambda case: _report(folder, case)))()


def _tried(kind, folder, examples):
    inputs, target = CASES[kind]
    settings(max_examples=examples, **_ANY)(given(case=inputs)(lambda case: target(folder, case)))()


@pytest.mark.parametrize(
    "stray",
    [
        lambda outside: (outside / "file").write_text(""),
        lambda outside: (outside / "folder").mkdir(),
        lambda outside: (outside / "link").symlink_to("a"),
        lambda _: subprocess.run(["true"], check=False),
    ],
    ids=["a file", "a folder", "a link", "a process"],
)
def test_the_fence_sees_what_strays(tmp_path, stray):
    inside = tmp_path / "inside"
    inside.mkdir()
    with fence(inside):
        (inside / "file").write_text("")
    with pytest.raises(OutsideError), fence(inside):
        stray(tmp_path)
    assert list(tmp_path.iterdir()) == [inside]


def test_the_fence_sees_what_never_ends(tmp_path):
    def endless():
        while True:
            pass

    with pytest.raises(TooSlowError), fence(tmp_path, 0.05):
        endless()
