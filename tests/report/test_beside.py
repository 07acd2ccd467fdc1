"""Mistake 20: no speed-up is shown without its measured bound, or why there is none, and its ceilings."""

from __future__ import annotations

import itertools
from dataclasses import replace

import fakes_report as fakes
import pytest

from ditbench.cli import output
from ditbench.report import charts, ranking, words
from ditbench.report.view import page
from ditbench.summary import rows_to_json

LINEAR = fakes.METHODS[7]
CEILINGS = "the MAC ceiling 1.25\N{MULTIPLICATION SIGN} core, 1.75\N{MULTIPLICATION SIGN} module"
WHY = "no bound: this run has no identity (add `- identity` under `attention`)"


def unbounded():
    rows = (
        replace(row, bound=None, softmax_bound=None, boundless=WHY)
        for row in fakes.rows()
        if row.speedup and row.cell.attention.name != "identity"
    )
    return fakes.summary(rows=tuple(rows))


def table_of(tmp_path, summary):
    table = page(fakes.run(tmp_path, summary), summary, fakes.NOTHING).rankings[0].table
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, row, strict=True)) for row in table.rows]


def tooltips(summary):
    """The result that a pointer shows on the marks of the two charts of speed-ups."""
    names = words.Names.of(row.cell for row in summary.rows)
    found = charts.figures(summary, ranking.groups(summary, names), names)
    return [
        (figure.name, told)
        for figure in found
        if figure.name in {"speed-against-quality", "bounds"}
        for told in results(figure.spec)
    ]


def results(part):
    if isinstance(part, dict):
        own = [part["result"]] if isinstance(part.get("result"), str) else []
        return own + [one for inner in part.values() for one in results(inner)]
    return [one for inner in part for one in results(inner)] if isinstance(part, list) else []


def test_mistake_20_the_table_shows_bound_and_ceilings_beside_each_ratio(tmp_path):
    for row in table_of(tmp_path, fakes.summary()):
        assert row["possible"].text == "1.43\N{MULTIPLICATION SIGN}"
        assert row["possible"].detail == "by identity"
        assert row["MAC ceiling"].text == "1.25\N{MULTIPLICATION SIGN}"
        assert row["MAC ceiling"].detail == "module 1.75\N{MULTIPLICATION SIGN}"
        assert row["against softmax"].detail.endswith("possible 3.00\N{MULTIPLICATION SIGN}")


def test_mistake_20_the_table_says_why_there_is_no_bound(tmp_path):
    for row in table_of(tmp_path, unbounded()):
        assert row["possible"].text == "no bound"
        assert row["possible"].detail == "this run has no identity"


@pytest.mark.parametrize(
    ("summary", "bounds"),
    [
        (fakes.summary(), {"the bound is 3.00", "the bound is 1.43"}),
        (unbounded(), {"no bound was measured"}),
    ],
)
def test_mistake_20_the_first_lines_say_both_beside_the_winners(tmp_path, summary, bounds):
    points = page(fakes.run(tmp_path, summary), summary, fakes.NOTHING).headline.points
    winners = [point for point in points if "fastest" in point]
    assert winners
    for point in winners:
        assert point.count(CEILINGS) == 2
        assert all(bound in point for bound in bounds)


@pytest.mark.parametrize("summary", [fakes.summary(), unbounded()], ids=["bound", "no bound"])
def test_mistake_20_a_pointer_on_a_chart_finds_both(summary):
    shown = tooltips(summary)
    assert {name for name, _ in shown} == {"speed-against-quality", "bounds"}
    for _, told in shown:
        assert CEILINGS in told
        assert ("the bound is 1.43" in told) or ("no bound was measured" in told)


def test_mistake_20_the_terminal_has_a_column_for_each(tmp_path, capsys):
    for summary, bound in ((fakes.summary(), "1.43x"), (unbounded(), "none")):
        output.show_figures(fakes.run(tmp_path, summary), summary)
        head, *lines = capsys.readouterr().out.splitlines()[1:]
        (line,) = [one for one in lines if "linear" in one and one.split()[1] == "1"]
        at = [head.index(title) for title in ("speed-up", "bound", "MAC ceilings", "core MACs")]
        cells = [line[start:end].strip() for start, end in itertools.pairwise(at)]
        assert cells == ["1.24x", bound, "1.25x, 1.75x"]


def test_mistake_20_programs_are_told_the_same():
    (plain,) = rows_to_json(fakes.summary(rows=(fakes.row(LINEAR),)))
    assert plain["bound"]["value"] == pytest.approx(3 / 2.1)
    assert plain["softmax_bound"]["value"] == 3.0
    assert (plain["bound_by"], plain["boundless"]) == ("identity", "")
    assert (plain["ceiling"], plain["module_ceiling"]) == (1.25, 1.75)
    assert rows_to_json(unbounded())[0]["boundless"] == WHY
