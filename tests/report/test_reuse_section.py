"""The section of methods with memory: a row a cell in exact words, by speed-up, and every map."""

from __future__ import annotations

import re
from dataclasses import replace

import fakes_report as fakes
import pytest
from fakes_reuse import dqar, facts, pattern, remembering, reuse_run
from fakes_runs import cell, fake_run, gate, measured, record, timed

from ditbench.records import Stage
from ditbench.report import render, reuse, words
from ditbench.report.view import HTML, page
from ditbench.summary import summarise

LABEL, FASTEST = "dqar {threshold: 0.05, limit: 2}", "dqar {threshold: 0.1, limit: 2}"
TITLES = [
    "method",
    "speed-up",
    "bound",
    "reached",
    "reuse ratio",
    "decisions",
    "trajectory",
    "cache",
    "peak resident",
    "calibration",
    "latent drift",
]


def section(run, rows=100, room=10**6):
    summary = summarise(run)
    names = words.Names.of(row.cell for row in summary.rows)
    return reuse.section(summary, names, rows, room)


def steady(of, seconds, **parts):
    """A good exact cell whose three processes agree to a per mille."""
    times = ((seconds * factor,) * 3 for factor in (0.999, 1.0, 1.001))
    return gate(of, exact=True, **parts), *timed(of, *times)


def the_row(*records):
    found = section(fake_run(*records, claims=()))
    (row,) = found.table.rows
    return dict(zip(TITLES, row, strict=True))


SDPA = steady(cell("sdpa"), 0.06)


def test_a_run_without_memory_has_no_such_section():
    run = fake_run(*measured("softmax"), *measured("monarch"), claims=())
    shown = page(run, summarise(run), fakes.NOTHING)
    assert (shown.reuse, shown.remembering) == (None, ())


def test_a_row_tells_speed_bound_pattern_and_price_of_one_cell():
    row = the_row(*SDPA, *remembering(dqar(), share=0.5, calibration_time=72.0))
    assert [column.title for column in section(reuse_run()).table.columns] == TITLES
    assert {name: (value.text, value.detail) for name, value in row.items()} == {
        "method": (LABEL, ""),
        "speed-up": ("1.23\N{MULTIPLICATION SIGN}", "1.23 \N{EN DASH} 1.24 over sdpa"),
        "bound": ("1.37\N{MULTIPLICATION SIGN}", "1.37 \N{EN DASH} 1.37"),
        "reached": ("63.1 %", ""),
        "reuse ratio": ("47.5 %", "57 of 120 forwards"),
        "decisions": ("2.00 %", ""),
        "trajectory": ("14.3 GMAC", "89.3 % of one that spares nothing"),
        "cache": ("4.00 MiB", ""),
        "peak resident": ("191 MiB", "+0 B beside sdpa's 191 MiB"),
        "calibration": ("72.0 s", ""),
        "latent drift": ("0.101", "0.0944 \N{EN DASH} 0.105"),
    }


def test_mistake_41_a_cache_stands_beside_the_peak_of_a_method_that_keeps_nothing():
    (before, *processes) = remembering(dqar())
    greedy = (
        replace(one, metrics=one.metrics | {"peak_resident": (208e6,)})
        if one.stage is Stage.TIME
        else one
        for one in processes
    )
    row = the_row(*SDPA, before, *greedy)
    assert (row["cache"].text, row["peak resident"].detail) == (
        "4.00 MiB",
        "+7.63 MiB beside sdpa's 191 MiB",
    )


def test_a_peak_stands_beside_that_of_its_own_core_and_not_of_the_fastest():
    row = the_row(*steady(cell("softmax"), 0.01), *SDPA, *remembering(dqar()))
    assert row["peak resident"].detail == "+0 B beside sdpa's 191 MiB"


def test_what_nobody_measured_says_so():
    passed, *others = remembering(dqar())
    bare = {"forwards": 120, "reused": 57, "reasons": [["kept", True, 1]], "map": {}}
    silent = record(passed.cell, Stage.GATE, facts={**passed.facts, "reuse": bare})
    row = the_row(silent, *(one for one in others if one.stage is Stage.TIME))
    missing = [name for name, value in row.items() if value.absent]
    there = {"method", "peak resident", "calibration"}
    assert missing == [name for name in TITLES if name not in there]
    assert row["peak resident"].detail == "not measured without"


def test_a_bound_that_is_not_of_the_own_pattern_says_whose_it_is():
    told = remembering(dqar())
    without = [
        replace(one, metrics={k: v for k, v in one.metrics.items() if k != "replay_latency"})
        for one in told
    ]
    zero = steady(cell("zero"), 0.03)
    zero = (replace(zero[0], facts=zero[0].facts | {"exact": False}), *zero[1:])
    row = the_row(*SDPA, *zero, *without)
    assert row["bound"].text == "2.00\N{MULTIPLICATION SIGN}"
    assert row["bound"].detail.endswith("by zero, not by its own pattern")
    assert row["reached"].absent
    lost = the_row(*SDPA, *without)["bound"]
    assert (lost.text, lost.detail) == (
        "not measured",
        "it may skip projections, and this run has no zero",
    )


def test_a_bound_within_the_noise_of_one_leaves_nothing_to_reach():
    row = the_row(*SDPA, *remembering(dqar(), replay_latency=0.06))
    assert (row["reached"].text, row["reached"].detail) == (
        "nothing to gain",
        "the bound's interval reaches 1",
    )


def test_what_lost_time_reached_no_share_of_a_gain():
    slow = remembering(dqar(), latency=0.09, replay_latency=0.05)
    assert the_row(*SDPA, *slow)["reached"].text == "slower than exact"
    assert (
        section(fake_run(*SDPA, *slow, claims=()))
        .lines[0]
        .endswith("over sdpa, slower than exact.")
    )


def test_a_speed_up_beyond_the_bound_of_its_own_pattern_is_implausible():
    row = the_row(*SDPA, *remembering(dqar(), replay_latency=0.055))
    assert row["speed-up"].doubt.startswith(
        "implausible: speed-up 1.23 (at least 1.23) above the bound 1.09 (at most 1.09) measured with "
        "its own pattern of reuse, and nothing where it reused, by "
    )


def test_a_method_that_reuses_nothing_is_said_to_be_its_core():
    (row,) = summarise(fake_run(*remembering(dqar(0.0), share=0.0), claims=())).rows
    told = "reuses nothing in 120 forwards: its speed is that of its core, sdpa"
    assert told in row.doubts
    found = the_row(*SDPA, *remembering(dqar(0.0), share=0.0))
    assert (found["reuse ratio"].text, found["reuse ratio"].doubt) == ("0 %", told)
    lines = section(fake_run(*SDPA, *remembering(dqar(0.0), share=0.0), claims=())).lines
    assert lines[-1] == "Nothing at all was spared in 1 of 1 cell."


def test_where_nothing_is_reused_there_is_no_pattern_to_be_bounded_by():
    records = [
        replace(one, metrics={k: v for k, v in one.metrics.items() if k != "replay_latency"})
        for one in remembering(dqar(0.0), share=0.0)
    ]
    bound = the_row(*SDPA, *records)["bound"]
    assert (bound.text, bound.detail) == ("not measured", "it reuses nothing to leave out")


def test_rows_stand_by_speed_and_the_first_lines_sum_them_up():
    found = section(reuse_run())
    speeds = [row[1].order for row in found.table.rows]
    assert (len(speeds), speeds) == (6, sorted(speeds, reverse=True))
    assert found.lines == (
        f"Fastest: {FASTEST}, 1.61\N{MULTIPLICATION SIGN} over sdpa, 77.3 % of what its bound gains.",
        "At least half of what a bound gains is reached by 4 of the 6 whose bound's interval lies above 1.",
    )


def test_cells_of_several_groups_say_which_they_are_of():
    more = (*measured("sdpa", 4), *remembering(dqar(batch_size=4)))
    found = section(reuse_run(*more))
    assert {row[0].detail for row in found.table.rows} == {
        "fashion-dit \N{MIDDLE DOT} eager \N{MIDDLE DOT} batch 1 \N{MIDDLE DOT} 20 steps",
        "fashion-dit \N{MIDDLE DOT} eager \N{MIDDLE DOT} batch 4 \N{MIDDLE DOT} 20 steps",
    }


def test_every_cell_has_its_map_with_its_letters_and_counts():
    (one,) = section(fake_run(*SDPA, *remembering(dqar(), share=1 / 3), claims=())).maps
    assert (one.title, one.said) == (LABEL, "38 of 120 forwards spared something (31.7 %)")
    assert one.text.splitlines()[1:3] == ["1  a" + 19 * "c", "2  a" + 19 * "b"]
    assert [[value.text for value in row] for row in one.legend.rows] == [
        ["b", "too different", "open", "76", "63.3 %"],
        ["c", "close enough", "filled", "38", "31.7 %"],
        ["a", "nothing kept", "open", "6", "5.00 %"],
    ]
    assert one.drawing.name == f"reuse-map-{dqar().key[:8]}"


def test_the_first_maps_are_open_the_next_folded_and_the_rest_counted():
    found = section(reuse_run())
    assert (len(found.maps), found.open, found.folded, found.hidden) == (6, 3, 3, 0)
    one = len(found.maps[0].drawing.svg.encode()) + len(found.maps[0].text)
    found = section(reuse_run(), rows=4, room=2 * one)
    assert (len(found.maps), found.folded, found.hidden) == (2, 0, 4)
    assert (found.table.shown, found.table.hidden) == (4, 2)


def test_half_the_room_is_half_of_the_maps():
    assert HTML.halved.maps == HTML.maps // 2


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Both pages of a sweep, without the bundle of scripts."""
    folder = tmp_path_factory.mktemp("reuse")
    run = reuse_run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "_bundle", lambda: "void 0")  # seconds, and no part of this
        path = render.render(run, summarise(run), fakes.NOTHING, folder)
    return path.read_text(), (folder / "report.md").read_text(), folder


def test_both_pages_hold_the_table_the_charts_and_the_maps(written):
    html, markdown, folder = written
    for text in (html, markdown):
        assert "Drift against speed of all methods with memory" in text
        assert "At least half of what a bound gains is reached by 4 of the 6 whose" in text
        assert "114 of 120 forwards spared something (95.0 %)" in text
    maps = re.findall(r"\((charts/reuse-map-[0-9a-f]{8}\.svg)\)", markdown)
    assert len(maps) == len(set(maps)) == 6
    assert all((folder / one).read_text().startswith("<svg ") for one in maps)
    assert html.count("<details open>\n<summary><h4>") == 3
    assert "<summary>Maps of 3 more cells</summary>" in html
    assert '<a href="#reuse">Reuse</a>' in html


def test_both_pages_tell_what_the_bound_is_and_how_to_read_a_map(written):
    for text in written[:2]:
        assert (
            "The bound is the same run with zeros wherever the method reused, timed in turns with it: "
            "a speed-up beyond both intervals is implausible." in text
        )
        assert "in one whole sampling run that nobody timed." in text
        assert "below the steps each step" in text


def test_no_caption_is_cut_in_markdown(written):
    _, markdown, _ = written
    assert "honest methods may exceed them." in markdown


def test_charts_of_reuse_stand_in_their_section_and_nowhere_else(written):
    html, _, _ = written
    figures = html.index('<h2 id="figures">')
    names = re.findall(r'id="chart-(reuse-[a-z-]+)"', html)
    assert len(names) == len(set(names)) == 5
    assert all(html.index(f'id="chart-{name}"') < figures for name in names)


def test_a_hostile_reason_stays_text(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "_bundle", lambda: "void 0")
    evil = "<script>alert(1)</script>"
    passed, *others = remembering(dqar())
    told = facts(pattern(0.5))
    told["reasons"][2][0] = evil
    told["map"] = {evil: "acc", "b": "aac"}
    run = fake_run(replace(passed, facts=passed.facts | {"reuse": told}), *others, *SDPA, claims=())
    path = render.render(run, summarise(run), fakes.NOTHING, tmp_path)
    assert evil not in path.read_text()
    assert evil not in (tmp_path / "report.md").read_text()
    assert all(evil not in one.read_text() for one in (tmp_path / "charts").iterdir())
