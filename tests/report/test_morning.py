"""The first thing a person sees of a night: what changed, with its evidence, and what nobody looked at."""

from __future__ import annotations

import re
from dataclasses import replace

import fakes_report as fakes
import fakes_runs as runs
import fakes_sessions as sessions
import pytest

from ditbench import compare, errors
from ditbench.compare import Verdict
from ditbench.compare.verdicts import Lint
from ditbench.records import Record, Stage, Status
from ditbench.report import heat, nights, strips, words
from ditbench.report.clocks import Beside, Clocks, clocks
from ditbench.report.render import render
from ditbench.report.view import page
from ditbench.store import Arm, Session
from ditbench.summary import summarise

STEADY = (0.3, 0.301, 0.299, 0.3, 0.302, 0.298, 0.3, 0.301, 0.299, 0.3, 0.3)
NAMES = words.Names.of([fakes.cell(m, batch_size=b) for m in fakes.METHODS for b in (1, 8)])


def shown(tmp_path, **parts):
    few = fakes.summary(rows=tuple(fakes.row(m) for m in fakes.METHODS[:2]))
    return page(fakes.run(tmp_path, few), few, fakes.comparison(**parts))


def timed(cell, replicate, hertz=None, **facts):
    seen = {"telemetry": {"sm_clock": [hertz - 1e8, hertz, hertz + 1e8]}} if hertz else {}
    return Record(
        cell,
        Stage.TIME,
        Status.OK,
        replicate=replicate,
        metrics={"latency": (0.3,) * 3},
        facts=seen | facts,
    )


def session(*records, pairs):
    arm = Arm("attention=sdpa", {}, fakes.Environment({}))
    parts = {"pairs": pairs, "gate": {}, "effort": {}, "records": records, "inside": False}
    return Session(fakes.Path("s"), "fashion", "s.yaml", "", (arm, arm), **parts)


def test_what_changed_comes_before_everything_else(tmp_path):
    few = fakes.summary(rows=tuple(fakes.row(m) for m in fakes.METHODS[:2]))
    lint = (Lint("no-baseline", "no usable baseline"),)
    comparison = fakes.comparison(shift="all moved alike", lint=lint)
    path = render(fakes.run(tmp_path, few), few, comparison, tmp_path)
    order = ["exit code 4", "The machine", "What changed", "Changes at a glance"]
    order += ["What was not compared", "Methods by speed"]
    for text in (path.read_text().partition("<main>")[2], path.with_suffix(".md").read_text()):
        places = [re.search(rf"(?:>|# |\*\*|\(){part}", text).start() for part in order]
        assert places == sorted(places)


def test_changes_stand_by_effect_with_reason_steps_and_both_sides(tmp_path):
    found = (fakes.confirmed(change=0.05), fakes.confirmed(fakes.METHODS[4], change=0.12))
    first, second = shown(tmp_path, findings=found).changes.cards
    assert [first.change, second.change] == ["+12.0 %", "+5.00 %"]
    assert first.reason == "both the ratio and the best process moved"
    assert [row[0].text for row in first.steps.rows] == ["gate", "screen", "confirm"]
    assert first.figures[1].startswith(
        "side by side in fresh processes: B / A 1.120 (95 % interval 1.114"
    )
    assert "A 0 %, B 20.0 %" in first.figures[3]


def test_a_step_that_moved_as_its_whole_run_did_has_no_card_of_its_own(tmp_path):
    alone = fakes.finding(fakes.METHODS[0], metric="step_latency")
    found = (fakes.finding(), fakes.finding(metric="step_latency", change=0.13), alone)
    made = shown(tmp_path, findings=found).changes
    assert [(card.cell, card.metric) for card in made.cards] == [
        ("sdpa", "latency"),
        ("softmax", "step latency"),
    ]
    assert made.folded_title.startswith("1 more verdict: 1 of a step as its whole run;")
    assert len(made.folded.rows) == 1


def test_a_session_is_drawn_as_its_arms_and_a_screen_as_then_and_now():
    confirmed = fakes.confirmed()
    screened = replace(confirmed, duel=None)
    titles = [[arm.title for arm in strips.arms(one, Clocks())] for one in (confirmed, screened)]
    assert titles == [["A", "B"], ["then", "now"]]
    drawn = strips.drawn(confirmed, strips.arms(confirmed, Clocks()), "x")
    # The arms differ in shape: five rings, five diamonds, and one for the ratio.
    assert (drawn.svg.count("<circle"), drawn.svg.count('z"')) == (5, 6)
    assert drawn.said.startswith(
        "latency by process. A: 301 ms, 299 ms, 300 ms, 302 ms, 298 ms; B: 337 ms"
    )


def test_a_verdict_without_processes_has_no_drawing_and_no_clock(tmp_path):
    (card,) = shown(tmp_path, findings=(fakes.finding(),)).changes.cards
    assert (card.strip, card.trend, card.clocks) == (None, None, "")


def test_the_clock_of_every_process_stands_beside_its_median(tmp_path):
    cell = fakes.cell(fakes.METHODS[1])
    now = replace(
        fakes.run(tmp_path), records=tuple(timed(cell, n, 1.4e9 + n * 1e8) for n in (2, 0, 1))
    )
    then = replace(now, records=tuple(timed(cell, n) for n in range(3)))
    found = clocks(now, Beside(then))
    assert found.now[cell.key] == (1.4e9, 1.5e9, 1.6e9)
    arms = strips.arms(replace(fakes.confirmed(), duel=None), found)
    rows = [[value.text for value in row] for row in strips.table(fakes.confirmed(), arms).rows]
    assert rows[0] == ["then", "1", "299 ms", "not measured"]
    assert rows[3] == ["now", "1", "335 ms", "1.40 GHz"]
    assert strips.clocks(arms) == "Clock: now 1.40 GHz to 1.60 GHz."
    assert "now, process 3: 338 ms, 1.60 GHz" in strips.drawn(fakes.confirmed(), arms, "x").svg


def test_without_telemetry_the_clock_says_not_measured():
    arms = strips.arms(fakes.confirmed(), Clocks())
    assert strips.clocks(arms) == "Clock: not measured."


def test_clocks_of_a_session_are_by_arm_and_not_of_the_witness(tmp_path):
    base, judged = fakes.cell(fakes.METHODS[0]), fakes.cell(fakes.METHODS[1])
    records = (
        timed(judged, 0, 2e9, arm="b", process=1),
        timed(base, 0, 1e9, arm="a", process=0),
        timed(base, 0, 9e9, arm="b", process=1, witness=judged.key),
    )
    found = clocks(fakes.run(tmp_path), Beside(session=session(*records, pairs=((base, judged),))))
    assert (found.a, found.b) == ({judged.key: (1e9,)}, {judged.key: (2e9,)})


def test_the_history_has_its_band_its_window_and_this_run_last():
    history = fakes.nights(STEADY, unclean=(3,))
    drawing = nights.drawn(fakes.finding(), history, "x")
    assert drawing.said == (
        "11 runs since 2026-02-01: 298 ms to 302 ms, now 336 ms; the gate lets 294 ms to 306 ms pass, by the "
        "last 10 clean runs; 1 run not clean."
    )
    # The band is shaded; the night that no gate looks at is a cross.
    assert 'fill-opacity=".14"' in drawing.svg
    assert drawing.svg.count("l6 6m-6 0l6-6") == 1


def test_one_earlier_run_is_no_history():
    assert nights.drawn(fakes.finding(), fakes.nights((0.3,)), "x") is None


def test_a_change_of_level_is_named_by_the_runs_around_it_and_skips_unclean_ones():
    values = (0.3, 0.301, 0.299, 0.3, 0.3, 9.0, 0.302, 0.33, 0.331, 0.329, 0.33, 0.33, 0.331)
    history = fakes.nights(values, unclean=(5,))
    ((points),) = history.points.values()
    (level,) = nights.levels(points)
    assert level.index == 7
    assert (
        level.said == "+10.0 % between 2026-02-07 (commit 0000007) and 2026-02-08 (commit 0000008)"
    )
    assert nights.told(fakes.finding(), history) == (f"another level: {level.said}",)


def test_a_metric_that_is_not_finite_leaves_a_gap_and_no_fault():
    history = fakes.nights((*STEADY[:5], float("inf")), metric="psnr")
    found = fakes.finding(metric="psnr", candidate=fakes.exactly(float("inf")))
    assert "nan" not in nights.drawn(found, history, "x").svg


def test_a_heat_map_has_methods_by_batches_with_mark_sign_and_colour():
    found = (
        fakes.finding(change=0.2),
        fakes.finding(
            verdict=Verdict.IMPROVED, change=-0.06, cell=fakes.cell(fakes.METHODS[1], batch_size=1)
        ),
        fakes.finding(fakes.METHODS[0], Verdict.UNCHANGED, 0.001),
        fakes.finding(fakes.METHODS[0], Verdict.UNCHANGED, 0.001, metric="peak_resident"),
    )
    (map_,) = heat.heat(fakes.comparison(findings=found), NAMES).maps
    assert (map_.metric, map_.columns) == ("latency", ("batch 1", "batch 8"))
    (sdpa, (faster, slower)), (_, (nothing, same)) = map_.rows
    assert sdpa == "sdpa"
    assert (faster.mark, faster.text, faster.tone) == (
        "\N{BLACK UP-POINTING TRIANGLE}",
        "\N{MINUS SIGN}6.0 %",
        "better-2",
    )
    assert (slower.text, slower.verdict, slower.tone) == ("+20.0 %", "regressed", "worse-3")
    assert (nothing, same.text, same.tone) == (None, "+0.1 %", "")


def test_more_of_what_is_better_is_no_loss_on_a_heat_map():
    found = fakes.finding(metric="psnr", verdict=Verdict.IMPROVED, change=0.1)
    (map_,) = heat.heat(fakes.comparison(findings=(found,)), NAMES).maps
    assert map_.rows[0][1][0].tone == "better-2"


def test_mistake_39_what_was_not_compared_is_counted_by_reason_and_not_cut_off_alphabetically(
    tmp_path,
):
    cells = [fakes.cell(fakes.METHODS[0], batch_size=b) for b in range(1, 41)]
    new = tuple(
        fakes.finding(
            verdict=Verdict.NEW, change=None, metric="", cell=cell, reason="not in the baseline"
        )
        for cell in cells
    )
    other = fakes.finding(
        verdict=Verdict.INCOMPARABLE, change=None, metric="", reason="a 'b' reason"
    )
    run = replace(fakes.run(tmp_path), planned=tuple(reversed(cells)))
    summary = fakes.summary(rows=())
    made = page(run, summary, fakes.comparison(findings=(other, *new), unselected=3))
    rows = [[value.text for value in row] for row in made.uncompared.rows]
    assert [row[:3] for row in rows] == [
        ["+ new", "40", "not in the baseline"],
        ["\N{NOT EQUAL TO} incomparable", "1", "a 'b' reason"],
        ["cells of the baseline", "3", "left out by -k"],
    ]
    # In the order of the plan, which is not that of the alphabet.
    assert rows[0][3].startswith("softmax \N{MIDDLE DOT} batch 40, softmax \N{MIDDLE DOT} batch 39")
    assert made.uncompared.rows[0][3].detail == "and 34 more cells"


def test_mistake_29_calls_that_count_in_no_figure_are_counted_by_what_spoilt_them(tmp_path):
    cell = fakes.cell()
    heat, other = [0, "heat slowed the processors"], [3, "another program took 1.2 processors"]
    records = (
        timed(cell, 0, excluded=[heat, other]),
        timed(cell, 1, excluded=[heat]),
        timed(cell, 2),
    )
    few = fakes.summary(rows=(fakes.row(),))
    made = page(fakes.run(tmp_path, few, records=records), few, fakes.NOTHING)
    assert [[value.text for value in row] for row in made.uncompared.rows] == [
        ["timed calls left out", "2", heat[1], "softmax"],
        ["timed calls left out", "1", other[1], "softmax"],
    ]


def test_mistake_31_a_gate_without_a_baseline_is_told_though_nothing_else_is(tmp_path):
    lint = (Lint("no-baseline", "no usable baseline", fakes.cell()),)
    made = shown(tmp_path, findings=(), lint=lint, exit_codes=frozenset())
    assert [v.text for v in made.uncompared.rows[0]] == [
        "! no baseline",
        "1",
        "no usable baseline",
        "softmax",
    ]


def test_mistake_29_an_unfit_machine_and_a_shift_are_one_banner(tmp_path):
    unfit = replace(fakes.row(), unfit="the GPU was slowed by its heat in 40 % of samples")
    few = fakes.summary(rows=(unfit,))
    comparison = fakes.comparison(
        shift="9 of 10 cells by +8 %", exit_codes=frozenset({errors.ENVIRONMENT})
    )
    top = page(fakes.run(tmp_path, few), few, comparison).headline
    assert top.banner == (
        "The machine changed, and not one method: 9 of 10 cells by +8 %.",
        "The machine was not fit for 1 of 1 cell: the GPU was slowed by its heat in 40 % of samples.",
    )
    assert shown(tmp_path).headline.banner == ()


@pytest.mark.parametrize("metrics", [("latent_drift", "psnr"), ("macs", "core_macs")])
def test_a_run_without_times_shows_no_columns_of_speed(tmp_path, metrics):
    rows = tuple(
        replace(
            row,
            estimates={n: row.estimates[n] for n in metrics if n in row.estimates},
            per_process={},
            speedup=None,
            versus_softmax=None,
        )
        for row in fakes.rows()
        if row.status is Status.OK
    )
    few = fakes.summary(rows=rows)
    made = page(
        fakes.run(
            tmp_path,
            few,
        ),
        few,
        fakes.NOTHING,
    )
    assert made.ranked_by == "Methods"
    for group in made.rankings:
        told = [column.title for column in (*group.table.columns, *group.more.columns)]
        assert not {"rank", "latency", "speed-up", "throughput", "possible", "peak resident"} & set(
            told
        )
        assert "not measured" not in [row[0].text for row in group.table.rows]


def test_a_regression_that_a_session_confirmed_is_shown_with_its_arms_clocks_and_rules(tmp_path):
    of = runs.cell("sdpa")
    seen = {"telemetry": {"frequency": [2.4e9, 2.5e9, 2.6e9]}}
    then, now = (
        runs.fake_run(
            runs.gate(of), *runs.timed(of, *((value,) * 3,) * 5), id=f"2026022{day}-020000-aa"
        )
        for day, value in ((1, 0.3), (2, 0.33))
    )
    arms = sessions.abba(
        of, (0.3, 0.301, 0.299, 0.3, 0.302), (0.33, 0.331, 0.329, 0.33, 0.332), **seen
    )
    confirmed = sessions.session(*arms)
    found = compare.compare(now, then, "main", given=compare.Given(session=confirmed))
    path = render(now, summarise(now), found, tmp_path, Beside(then, confirmed))
    text = path.read_text()
    assert found.exit_codes == {errors.PERFORMANCE}
    assert "Performance regressed" in text
    assert re.search(r"side by side in fresh processes: B / A 1\.10", text)
    assert "Clock: A 2.50 GHz, B 2.50 GHz." in text
    assert (tmp_path / "charts" / "change-1.svg").read_text().count("<circle") >= 5
    assert "Rules in order: sdpa, latency" in text
