"""A page that is too long for GitHub is cut where it stays a page."""

from __future__ import annotations

import sys

import pytest
from workflow_steps import ACTION

LIMIT = 2000


@pytest.fixture
def shorten(monkeypatch):
    monkeypatch.syspath_prepend(str(ACTION))
    monkeypatch.delitem(sys.modules, "shorten", raising=False)
    import shorten

    return shorten.shorten


def test_a_page_that_fits_stays_as_it_is(shorten):
    text = "# fine\n\n| a | b |\n| --- | --- |\n| \N{MICRO SIGN}s | 1 |\n"
    assert shorten(text, len(text.encode())) == text


@pytest.mark.parametrize("letter", ["x", "\N{MICRO SIGN}", "\N{GRINNING FACE}"])
def test_a_page_is_cut_between_lines_and_counted_in_bytes(shorten, letter):
    text = "".join(f"- {n:04d} {letter * 20}\n" for n in range(1000))
    short = shorten(text, LIMIT)
    assert len(short.encode()) <= LIMIT
    *kept, last = [line for line in short.splitlines() if line]
    assert kept == text.splitlines()[: len(kept)]
    assert len(kept) > 10
    assert last == f"**{1000 - len(kept)} more lines of 1000 are in `report.md` of the artifact.**"


def test_an_open_block_of_code_is_closed(shorten):
    short = shorten("```text\n" + "line\n" * 1000 + "```\n", LIMIT)
    assert short.count("```") == 2
    assert short.index("more lines") > short.rindex("```")


def test_open_folds_are_closed(shorten):
    head = "<details><summary>a</summary>\n" * 3 + "</details>\n"
    short = shorten(head + "line\n" * 1000, LIMIT)
    assert short.count("<details") == short.count("</details>") == 3


def test_one_line_that_is_too_long_leaves_only_what_is_said_of_it(shorten):
    assert shorten("x" * 5000 + "\n", LIMIT) == (
        "\n**1 more lines of 1 are in `report.md` of the artifact.**\n"
    )


def test_a_picture_beside_the_page_is_named_where_it_cannot_be_shown(shorten):
    text = "![speed](charts/speed.svg) ![badge](https://example.org/b.svg)\n"
    assert shorten(text, LIMIT) == (
        "*speed: `charts/speed.svg` of the artifact* ![badge](https://example.org/b.svg)\n"
    )
