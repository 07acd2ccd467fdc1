"""Largest batches on the page: who fits most, against whom, in how much memory."""

from __future__ import annotations

import dataclasses

import pytest
from fakes_runs import cell, fake_run, measured, record, searched

from ditbench.compare import compare
from ditbench.records import LARGEST, Stage, Status
from ditbench.report.render import render
from ditbench.report.view import page
from ditbench.summary import summarise

SEARCHES = (
    *searched("softmax", 40),
    *searched("sdpa", 100, fails=None),
    *searched("nystromformer", 90, wavering=[91]),
    *searched("identity", 120),
)
BROKEN = record(cell("monarch", LARGEST), Stage.GATE, status=Status.FAILED_GATE, reason="wrong")
REFUSED = record(cell("xformers", LARGEST), Stage.PLAN, status=Status.EXCLUDED, reason="no GPU")


def shown(*records):
    run = fake_run(*records, claims=())
    return page(run, summarise(run), compare(run, None, ""))


@pytest.fixture(scope="module")
def group():
    (group,) = shown(*SEARCHES, BROKEN, REFUSED).largest
    return group


def column(group, title):
    index = next(i for i, c in enumerate(group.table.columns) if c.title == title)
    return [row[index] for row in group.table.rows]


def test_methods_stand_by_how_many_fit(group):
    assert [value.text for value in column(group, "method")] == [
        "identity", "sdpa", "nystromformer", "softmax",
    ]  # fmt: skip
    assert column(group, "method")[0].detail == "no attention at all, so no method"


def test_each_batch_says_what_did_not_fit_or_that_the_search_ended_first(group):
    told = [(value.text, value.detail) for value in column(group, "largest batch")]
    assert told == [
        ("120", "121 does not fit"),
        ("at least 100", "the search goes no further"),
        ("90", "91 does not fit"),
        ("40", "41 does not fit"),
    ]


def test_ratios_are_to_softmax_and_to_sdpa(group):
    assert [v.order for v in column(group, "against softmax")] == [3.0, 2.5, 2.25, 1.0]
    assert [v.order for v in column(group, "against sdpa")] == [1.2, 1.0, 0.9, 0.4]


def test_without_softmax_or_sdpa_their_column_is_not_measured():
    (alone,) = shown(*searched("monarch", 50)).largest
    assert column(alone, "against softmax")[0].absent
    assert column(alone, "against sdpa")[0].absent


def test_memory_is_told_twice_what_was_used_and_what_there_was(group):
    used, there = column(group, "peak memory")[0], column(group, "memory there is")[0]
    assert (used.text, used.detail) == ("5.00 MiB", "peak resident")
    assert there.text == "1.00 GiB"


def test_a_contradiction_stands_among_the_doubts(group):
    assert column(group, "doubts")[2].text == "batch 91 fitted once and another time not"


def test_cells_without_an_answer_are_counted_but_not_those_that_were_refused_before(group):
    assert group.note == "1 cell of this group without an answer"


def test_the_headline_names_the_largest_that_is_a_method():
    (point,) = shown(*SEARCHES).headline.points
    assert point.endswith(
        "20 steps: largest batch at least 100 by sdpa, 2.50\N{MULTIPLICATION SIGN} softmax's 40."
    )


def test_cells_of_max_stand_in_no_ranking_by_speed():
    both = shown(*measured("softmax"), *measured("sdpa"), *SEARCHES)
    assert [len(group.table.rows) for group in both.rankings] == [2]
    assert both.rankings[0].note == ""


def test_a_page_without_searches_has_no_word_of_them(tmp_path):
    run = fake_run(*measured("softmax"), claims=())
    path = render(run, summarise(run), compare(run, None, ""), tmp_path)
    for name in (path, tmp_path / "report.md"):
        assert "argest batch" not in name.read_text()


def test_both_pages_have_the_table_and_one_says_how_it_was_found(tmp_path):
    run = fake_run(*SEARCHES, claims=())
    path = render(run, summarise(run), compare(run, None, ""), tmp_path)
    html, markdown = path.read_text(), (tmp_path / "report.md").read_text()
    for text in (html, markdown):
        assert "Largest batch" in text
        assert "at least 100" in text
        assert "No speed was asked for." in text
    assert "doubling and then bisection" in html
    assert "the whole batch within 1.00 GiB" in html


def test_two_protocols_are_two_tables():
    other = [
        dataclasses.replace(one, cell=dataclasses.replace(one.cell, steps=50))
        for one in searched("softmax", 30)
    ]
    assert len(shown(*SEARCHES, *other).largest) == 2


def test_a_largest_batch_of_none_at_all_makes_no_ratio():
    (found,) = shown(*searched("softmax", 0), *searched("sdpa", 4)).largest
    assert "not measured" in {value.text for row in found.table.rows for value in row}
