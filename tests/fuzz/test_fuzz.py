"""No input makes a traceback, a hang, or a file where none belongs."""

from __future__ import annotations

import pytest
import strategies
import targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_ANY = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
quick = settings(max_examples=60, **_ANY)
many = settings(max_examples=10_000, **_ANY)

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


@quick
@given(case=SUITES)
def test_any_suite_is_a_plan_or_a_mistake_in_lines(folder, case):
    text, override, select = case
    targets.suite(text, folder, override, select)


@quick
@given(case=RECORDS)
def test_any_file_of_records_is_read_or_refused(folder, case):
    targets.records(case[0], folder, case[1])


@quick
@given(data=strategies.baselines())
def test_any_baseline_is_compared_or_refused(folder, data):
    targets.baseline(data, folder)
