"""The page of a suite over all its runs: lines, changes of level, drift, and what was left out."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import fakes_scale
import pytest
from fakes_runs import ENVIRONMENT, cell, fake_run, measured, timed

from ditbench.cli import main
from ditbench.environment import Environment
from ditbench.report.history import page, story
from ditbench.report.render import render_history
from ditbench.store import read_head

SLOWER = 1.041
# Multiples that no chance made: none of them is a change of level, and no two neighbours are equal.
WOBBLE = (1.0, 1.002, 0.999, 1.001, 0.998, 1.0, 1.001)


def night(folder, number, scale=1.0, **parts):
    """A run on this day of February: sdpa as slow as told, softmax as ever."""
    same = WOBBLE[number % len(WOBBLE)]
    records = (*measured("softmax", 1, same), *measured("sdpa", 1, same * scale))
    plain = {
        "id": f"202602{number:02d}-020000-aaaa",
        "started": f"2026-02-{number:02d}T02:00:00+00:00",
        "code": {"version": "0.1.0", "commit": f"{number:02d}abcdef", "dirty": False},
    }
    return fakes_scale.write(folder, fake_run(*records, **(plain | parts)))


def told(folder, last):
    return page(story(folder, read_head(last)), 100, 100)


def text_of(path):
    return html.unescape(re.sub(r"<[^>]+>", "", path.read_text()))


def rows_of(table):
    return [[value.text for value in row] for row in table.rows]


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Twenty-two runs; sdpa is 4.1 % slower from the twelfth on. The folder, and the last run's."""
    folder = tmp_path_factory.mktemp("results")
    made = [night(folder, n, SLOWER if n >= 12 else 1.0) for n in range(1, 23)]
    return folder, made[-1]


def test_a_change_of_level_is_told_with_the_runs_and_commits_around_it(nights):
    levels = told(*nights).levels
    found = [row for row in levels.rows if row[2].text == "latency"]
    ((change, which, _, before, after),) = found
    assert (change.text, which.text) == ("+4.10 %", "sdpa")
    assert (before.text, before.detail) == ("20260211-020000-aaaa", "0.1.0+11abcdef")
    assert (after.text, after.detail) == ("20260212-020000-aaaa", "0.1.0+12abcdef")


def test_changes_of_level_stand_by_size(nights):
    sizes = [abs(row[0].order) for row in told(*nights).levels.rows]
    assert sizes == sorted(sizes, reverse=True)


def test_a_drift_that_no_gate_sees_is_told_against_the_first_ten(tmp_path):
    last = [night(tmp_path, n, 1.003**n) for n in range(1, 23)][-1]
    rows = [row for row in rows_of(told(tmp_path, last).drifts) if row[2] == "latency"]
    assert [row[1] for row in rows] == ["sdpa"]
    assert float(rows[0][0].removesuffix(" %")) == pytest.approx(100 * (1.003**12 - 1), abs=0.4)


def test_every_figure_has_its_line_with_marks_and_the_run_itself_last(nights):
    time, *_ = told(*nights).groups
    assert time.title == "latency"
    # The one that changed its level comes first.
    assert [line.cell for line in time.lines] == ["sdpa", "softmax"]
    first = time.lines[0]
    assert first.said == "22 runs, 60.0 ms first, 62.4 ms last; 1 change of level"
    assert first.drawing.svg.count("h0") == 22
    assert first.drawing.svg.count("stroke-dasharray") == 1


def test_what_never_moved_is_counted_and_not_drawn(nights):
    memory = next(group for group in told(*nights).groups if group.title == "peak resident")
    assert (memory.lines, memory.still) == ((), 2)


def test_a_run_that_a_gate_may_not_use_is_a_cross(tmp_path):
    made = [night(tmp_path, n) for n in range(1, 5)]
    slowed = {
        "telemetry": {
            "device": "0",
            "samples": 10,
            "slowed_share": 0.5,
            "slowed": {"its heat": 0.5},
        }
    }
    unfit = [
        replace(one, facts=one.facts | slowed) for one in timed(cell("sdpa"), *((0.06,) * 3,) * 3)
    ]
    records = (*measured("softmax", 1), *measured("sdpa", 1)[:1], *unfit)
    last = fakes_scale.write(tmp_path, fake_run(*records, id="20260205-020000-aaaa"))
    lines = {line.cell: line for line in told(tmp_path, last).groups[0].lines}
    assert [lines[name].drawing.svg.count("l6 6m-6 0l6-6") for name in ("sdpa", "softmax")] == [
        1,
        0,
    ]
    assert len(made) == 4


def test_runs_that_are_left_out_are_named_with_the_reason(tmp_path):
    night(tmp_path, 1, finished=False)
    night(tmp_path, 2, environment=Environment(ENVIRONMENT.facts | {"cpu": "Another CPU"}))
    night(tmp_path, 3, effort={"timing": {"processes": 9}})
    (night(tmp_path, 4) / "run.json").write_text("{torn")
    night(tmp_path, 5)
    made = told(tmp_path, night(tmp_path, 6))
    why = {row[2]: row[1] for row in rows_of(made.left)}
    assert why["20260201-020000-aaaa"] == "did not come to its end"
    assert why["20260202-020000-aaaa"].startswith("was measured elsewhere: cpu")
    assert why["20260203-020000-aaaa"] == "was timed with another effort"
    assert why["20260204-020000-aaaa"].startswith("cannot be read: ")
    assert len(made.problems) == 1
    assert made.told.startswith("2 runs from 20260205-020000-aaaa to 20260206-020000-aaaa, 2 cells")


def test_one_run_says_that_it_is_too_few(tmp_path, capsys):
    night(tmp_path, 1)
    assert main(["report", "--history", "--out", str(tmp_path)]) == 0
    path = tmp_path / "fashion" / "history.html"
    assert capsys.readouterr().out.strip() == str(path)
    for text in (text_of(path), path.with_suffix(".md").read_text()):
        assert "One run is too few for a line" in text
        assert "No figure changed its level" in text


def test_the_markdown_shows_the_largest_with_drawings_beside_it(nights, tmp_path):
    path = render_history(story(nights[0], read_head(nights[1])), tmp_path)
    markdown = path.with_suffix(".md").read_text()
    linked = re.findall(r"\]\((history/[^)]+)\)", markdown)
    assert linked
    assert all((tmp_path / name).read_text().startswith("<svg color=") for name in linked)
    assert "| +4.10 % | sdpa |" in markdown


def test_a_page_of_many_lines_stays_small_and_counts_what_it_does_not_draw(nights):
    of = story(nights[0], read_head(nights[1]))
    few = page(of, 1, 1)
    assert [len(group.lines) for group in few.groups[:2]] == [1, 0]
    assert few.groups[0].hidden == 1
    assert few.levels.hidden == len(told(*nights).levels.rows) - 1
