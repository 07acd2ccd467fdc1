"""docs/mistakes.md promises nothing that no test holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (\d+) \| [^|]+ \| (impossible|refused|told) \| [^|]+ \|$", re.MULTILINE)
PLANTED = re.compile(r"def (test_mistake_\d+_\w+)")

ROWS = {int(n) for n, _ in ROW.findall((ROOT / "docs/mistakes.md").read_text())}
TESTS = [
    name
    for path in sorted((ROOT / "tests").rglob("test_*.py"))
    for name in PLANTED.findall(path.read_text())
]


def numbers(name: str) -> set[int]:
    """`test_mistake_29_and_40_...` plants two."""
    head = re.match(r"test_mistake_(\d\d)(?:_and_(\d\d))?_", name)
    assert head, f"{name}: write the number with two digits"
    return {int(number) for number in head.groups() if number}


def test_all_forty_two_are_there():
    assert set(range(1, 43)) == ROWS


@pytest.mark.parametrize("number", sorted(ROWS))
def test_what_is_promised_is_planted_in_a_test(number):
    assert any(number in numbers(name) for name in TESTS)


@pytest.mark.parametrize("name", TESTS)
def test_a_planted_mistake_is_one_of_the_table(name):
    assert numbers(name) <= ROWS
