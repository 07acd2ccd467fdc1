# ruff: noqa: E501 (a table of sentences)
"""The page of a run of attention cores by themselves."""

from __future__ import annotations

import re

import fakes_report as fakes
import pytest
from fakes_ops import SECONDS, op_run

from ditbench.report import charts, cores, ranking, render, words
from ditbench.report.view import page
from ditbench.summary import summarise

DOT = " \N{MIDDLE DOT} "
COLD = DOT.join(("op", "4 heads", "head_dim 32", "cold cache", "eager", "batch 1", "float32"))


def view(run):
    return page(run, summarise(run), fakes.NOTHING)


def lines(seconds, **how):
    return view(op_run(seconds, **how)).crossings[0].lines


def test_a_method_overtakes_another_between_two_numbers_that_were_measured():
    assert lines(SECONDS) == (
        "Fastest exact method: sdpa at 64 to 1,024 tokens.",
        "monarch overtakes sdpa between 256 and 1,024 tokens; 2.00\N{MULTIPLICATION SIGN} its speed at 1,024 tokens.",
    )


SDPA = {64: 1e-3, 256: 1e-3, 1024: 1e-3, 4096: 1e-3}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ((5e-4, 5e-4, 5e-4, 5e-4), "is faster than sdpa at all numbers of tokens measured (64 to 4,096 tokens)"),
        ((2e-3, 2e-3, 2e-3, 2e-3), "is slower than sdpa at all numbers of tokens measured (64 to 4,096 tokens)"),
        ((1e-3, 1e-3, 1e-3, 1e-3), "is not to be told from sdpa at all numbers of tokens measured (64 to 4,096 tokens)"),
        ((2e-3, 1e-3, 1e-3, 5e-4), "overtakes sdpa between 64 and 4,096 tokens (level with it at 256, 1,024)"),
        ((1e-3, 2e-3, 5e-4, 5e-4), "overtakes sdpa between 256 and 1,024 tokens"),
        ((5e-4, 2e-3, 5e-4, 2e-3), "falls behind sdpa between 64 and 256 tokens, then overtakes sdpa between 256 and 1,024 tokens, then falls behind sdpa between 1,024 and 4,096 tokens"),
        ((1e-3, 1e-3, 5e-4, 5e-4), "is faster than sdpa at 1,024, 4,096 tokens and level with it at 64, 256"),
        ((2e-3, 1e-3, 1e-3, 1e-3), "is slower than sdpa at 64 tokens and level with it at 256, 1,024, 4,096"),
    ],
    ids=["faster", "slower", "level", "through level", "once", "to and fro", "from level", "to level"],
)  # fmt: skip
def test_the_course_of_a_method_is_told_in_words(seconds, told):
    found = lines({"sdpa": SDPA, "monarch": dict(zip(SDPA, seconds, strict=True))})
    assert found[1].startswith(f"monarch {told};")


def test_a_difference_within_the_interval_is_no_crossing():
    seconds = {"sdpa": {64: 1e-3, 256: 1e-3}, "monarch": {64: 2e-3, 256: 0.95e-3}}
    assert "overtakes" in lines(seconds, spread=0.001)[1]
    assert "overtakes" not in lines(seconds, spread=0.2)[1]


def test_the_rival_is_whichever_exact_method_is_fastest_there():
    seconds = {
        "sdpa": {64: 1e-4, 1024: 2e-2},
        "flash": {64: 2e-4, 1024: 1e-2},
        "monarch": {64: 4e-4, 1024: 5e-3},
    }
    first, second = lines(seconds)
    assert first == "Fastest exact method: sdpa at 64 tokens, flash at 1,024 tokens."
    assert second.startswith("monarch overtakes flash between 64 and 1,024 tokens")


def test_nothing_is_said_beyond_what_was_measured():
    (line,) = lines({"sdpa": {256: 1e-3}, "monarch": {256: 2e-3, 4096: 1e-3}})[1:]
    assert "4,096" not in line
    assert line.startswith(
        "monarch is slower than sdpa at all numbers of tokens measured (256 tokens)"
    )


def test_a_bound_is_never_the_fastest():
    seconds = SECONDS | {"identity": dict.fromkeys(SECONDS["sdpa"], 1e-6)}
    shown = view(op_run(seconds))
    assert "identity" not in " ".join(shown.crossings[0].lines)
    assert [row[1].text for row in shown.crossings[0].fastest.rows] == ["sdpa", "sdpa", "monarch"]


def test_the_fastest_is_told_for_every_number_of_tokens():
    rows = view(op_run()).crossings[0].fastest.rows
    assert [[value.text for value in row] for row in rows][2] == [
        "1,024",
        "monarch",
        "5.00 ms",
        "2.00\N{MULTIPLICATION SIGN}",
        "sdpa",
        "monarch",
        "2.00\N{MULTIPLICATION SIGN}",
    ]


def test_cold_and_hot_stand_apart():
    shown = view(op_run(caches=("cold", "hot")))
    assert [one.title for one in shown.crossings] == [COLD, COLD.replace("cold", "hot")]
    assert [one.title for one in shown.rankings] == [one.title for one in shown.crossings]
    assert [one.chart for one in shown.crossings] == [one.name for one in shown.figures]
    assert shown.charts == ()
    assert shown.headline.points == (
        f"{COLD}: fastest sdpa at 64 to 256 tokens, monarch at 1,024 tokens.",
        f"{COLD.replace('cold', 'hot')}: fastest sdpa at 64 to 256 tokens, monarch at 1,024 tokens.",
    )


def test_the_table_has_both_shares_and_nothing_of_pictures():
    (one,) = view(op_run()).rankings
    titles = [column.title for column in one.table.columns]
    assert {"matrix rate", "bandwidth", "core", "peak resident"} <= set(titles)
    assert {"latent drift", "PSNR median", "possible", "throughput"}.isdisjoint(titles)
    first = dict(zip(titles, one.table.rows[0], strict=True))
    assert (first["tokens"].text, first["tokens"].detail, first["method"].text) == (
        "64",
        "rank 1",
        "sdpa",
    )
    assert first["matrix rate"].text == "21.0 %"
    assert first["matrix rate"].detail == "10.5 GMAC/s"
    assert first["bandwidth"].text == "6.55 %"


def test_a_table_that_is_cut_says_how_much_is_missing():
    summary = summarise(op_run(caches=("cold", "hot")))
    names = words.Names.of(row.cell for row in summary.rows)
    (one,), hidden = cores.tables(summary, names, 4)
    assert (one.table.shown, one.table.hidden, hidden) == (4, 5, 1)


def test_the_chart_rings_the_fastest_at_each_number_of_tokens():
    summary = summarise(op_run())
    names = words.Names.of(row.cell for row in summary.rows)
    (figure,) = charts.figures(summary, ranking.groups(summary, names), names)
    assert figure.title == "Time against tokens, cold cache"
    assert (
        "sdpa at 64 tokens: 100 \N{MICRO SIGN}s (99.0 \N{EN DASH} 101 \N{MICRO SIGN}s), fastest here"
        in figure.alternative
    )
    (ring,) = [
        layer
        for layer in figure.spec["layer"]
        if layer.get("transform") == [{"filter": "datum.front"}]
    ]
    drawn = ring["data"]["values"]
    assert {(one["method"], one["x"]) for one in drawn if one.get("front")} == {
        ("sdpa", 64.0),
        ("sdpa", 256.0),
        ("monarch", 1024.0),
    }


def test_one_number_of_tokens_draws_no_line_and_is_told_all_the_same():
    shown = view(op_run({"sdpa": {64: 1e-4}, "monarch": {64: 2e-4}}))
    assert shown.figures == ()
    assert shown.crossings[0].lines[1].startswith("monarch is slower than sdpa")


def test_how_it_was_measured_speaks_of_calls_and_ceilings_and_of_no_pictures():
    told = dict(view(op_run(caches=("cold", "hot"))).conduct)
    assert "by writing 64.0 MiB" in told["Timing"]
    assert "(up to 20)" in told["Timing"]
    assert "50.0 GMAC/s at best" in told["Ceilings"]
    assert "20.0 GB/s at best" in told["Ceilings"]
    assert {"Pictures", "Sampling"}.isdisjoint(told)


def test_both_pages_are_written_with_chart_sentences_and_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "_bundle", lambda: "void 0")  # seconds, and no part of this
    run = op_run()
    html = render.render(run, summarise(run), fakes.NOTHING, tmp_path).read_text()
    markdown = (tmp_path / "report.md").read_text()
    assert (tmp_path / "charts" / "time-against-tokens-1.svg").exists()
    for text in (html, markdown):
        assert "Where methods cross" in text
        assert "monarch overtakes sdpa between 256 and 1,024 tokens" in text
        assert "share of the ceilings" in text.lower() or "matrix rate" in text
    assert html.count('id="chart-time-against-tokens-1"') == 1
    assert not re.search(r'href="#figures"', html)
    assert markdown.count("(charts/time-against-tokens-1.svg)") == 1
