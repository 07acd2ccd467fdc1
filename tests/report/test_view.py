"""What the page says: order, words, counts, units."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace

import fakes_report as fakes
import pytest

from ditbench import errors
from ditbench.compare import Verdict
from ditbench.records import Choice, Status
from ditbench.report import cells, changes, charts, points, ranking, render, words
from ditbench.report.clocks import Clocks
from ditbench.report.view import page
from ditbench.summary import Estimate


def rows_of(*methods, **axes):
    return tuple(fakes.row(m, **axes) for m in methods or fakes.METHODS)


def view(tmp_path, summary=None, comparison=fakes.NOTHING, **parts):
    summary = summary or fakes.summary()
    return page(fakes.run(tmp_path, summary, **parts), summary, comparison)


def column(table, title):
    index = next(i for i, c in enumerate(table.columns) if c.title == title)
    return [row[index] for row in table.rows]


def figures_of(summary):
    names = words.Names.of(row.cell for row in summary.rows)
    return {f.name: f for f in charts.figures(summary, ranking.groups(summary, names), names)}


def test_methods_stand_by_speed_within_equal_cells(tmp_path):
    first, second, empty = view(tmp_path).rankings
    assert (
        first.title
        == "fashion-dit \N{MIDDLE DOT} eager \N{MIDDLE DOT} batch 1 \N{MIDDLE DOT} 20 steps"
    )
    assert [v.text for v in column(first.table, "method")][:3] == [
        "identity",
        "linear",
        "window {size: 4}",
    ]
    assert "batch 8" in second.title
    assert empty.table.rows == ()
    assert empty.note == "1 cell of this group without a speed"


def test_where_latents_alone_were_compared_no_column_waits_for_pictures(tmp_path):
    rows = tuple(
        replace(row, estimates={"latent_drift": fakes.estimate(0.1)})
        for row in fakes.summary().rows
    )
    table = view(tmp_path, fakes.summary(rows=rows)).rankings[0].table
    assert [c.title for c in table.columns if c.group == "pictures"] == ["latent drift"]


def test_a_run_that_only_counted_shows_no_columns_of_speed_and_pictures(tmp_path):
    summary = fakes.summary()
    counted = replace(fakes.run(tmp_path, summary), effort={"metrics": ["macs", "core_macs"]})
    shown = page(counted, summary, fakes.NOTHING)
    table = shown.rankings[0].table
    assert (shown.counted, view(tmp_path).counted) == (True, False)
    titles = ["method", "per step", "per image", "core share", "MAC ceiling", "doubts"]
    assert [c.title for c in table.columns] == titles


def test_the_bound_is_called_no_method(tmp_path):
    assert column(view(tmp_path).rankings[0].table, "method")[0].detail.startswith("no attention")
    assert not any("method identity" in point for point in view(tmp_path).headline.points)


def test_mistake_06_every_count_of_work_says_mac_or_flop(tmp_path):
    table = view(tmp_path).rankings[0].more
    assert all(v.text.endswith("MAC") for v in column(table, "per step"))
    assert all(v.detail.endswith("FLOP") for v in column(table, "per image"))


def test_mistake_36_work_per_image_is_of_all_steps_and_one_image(tmp_path):
    row = fakes.row(fakes.METHODS[0], batch_size=8, steps=20)
    table = view(tmp_path, fakes.summary(rows=(row,))).rankings[0].more
    per_step = row.estimates["macs"].value
    assert column(table, "per image")[0].order == pytest.approx(per_step * 20 / 8)


def test_mistake_13_every_time_has_its_interval_or_says_why_not(tmp_path):
    one = fakes.row(fakes.METHODS[0])
    alone = replace(one, estimates={"latency": fakes.exactly(0.5)})
    for row, said in ((one, "\N{EN DASH}"), (alone, "1 process")):
        table = view(tmp_path, fakes.summary(rows=(row,))).rankings[0].table
        assert said in column(table, "latency")[0].detail


def test_the_ranking_shows_the_one_figure_that_tells_most_and_its_paired_error(tmp_path):
    table = view(tmp_path).rankings[0].table
    pictures = [(c.title, c.unit) for c in table.columns if c.group == "pictures"]
    assert pictures == [
        ("latent drift", "ratio"),
        ("FD", "fd_fashion_cnn_1000 to real pictures"),
    ]
    details = [value.detail for value in column(table, "FD")]
    assert "+12.40 \N{PLUS-MINUS SIGN} 0.40: farther" in details


def test_a_doubt_about_every_row_is_told_once_and_before_the_table(tmp_path):
    rows = tuple(
        replace(row, doubts=("one process only", *own))
        for row, own in zip(rows_of(*fakes.METHODS[:2]), ((), ("unsteady",)), strict=True)
    )
    (group,) = view(tmp_path, fakes.summary(rows=rows)).rankings
    assert group.shared == ("one process only",)
    assert {v.text for v in column(group.table, "doubts")} == {"none further", "unsteady"}
    (alone,) = view(tmp_path, fakes.summary(rows=rows[1:])).rankings
    assert alone.shared == ()
    assert column(alone.table, "doubts")[0].text == "one process only; unsteady"


def test_mistake_39_changes_stand_by_effect_and_not_by_name(tmp_path):
    found = (
        fakes.finding(fakes.METHODS[7], change=0.05),
        fakes.finding(fakes.METHODS[1], change=-0.5, verdict=Verdict.IMPROVED),
        fakes.finding(fakes.METHODS[9], change=0.9),
        fakes.finding(fakes.METHODS[0], verdict=Verdict.BROKEN, change=None, metric=""),
    )
    shown = view(tmp_path, comparison=fakes.comparison(findings=found)).changes.open
    assert [v.text for v in column(shown, "change")] == [
        "\N{EN DASH}",
        "\N{MINUS SIGN}50.0 %",
        "+90.0 %",
        "+5.00 %",
    ]


def test_mistake_39_what_is_folded_away_is_counted():
    loud = tuple(fakes.finding(change=0.1 + n / 100) for n in range(10))
    quiet = tuple(fakes.finding(verdict=Verdict.UNCHANGED, change=0.004) for _ in range(20))
    comparison = fakes.comparison(findings=loud + quiet)
    made = changes.changes(comparison, words.Names.of([fakes.cell()]), Clocks(), shown=4, limit=14)
    assert len(made.open.rows) == 4
    assert (len(made.folded.rows), made.folded.hidden) == (10, 16)
    assert made.folded_title.startswith("26 more verdicts: 6 smaller in effect, 20 unchanged")


@pytest.mark.parametrize(
    ("codes", "code", "title"),
    [
        (set(), errors.OK, "Fine"),
        ({0}, errors.OK, "Fine"),
        ({3, 4}, errors.PERFORMANCE, "Performance regressed"),
        ({4, 5}, errors.QUALITY, "Pictures got worse"),
        ({3, 130}, errors.INTERRUPTED, "Interrupted"),
        ({7}, errors.NOTHING_COMPARABLE, "Nothing comparable"),
    ],
    ids=["none", "fine", "performance", "quality first", "interrupted", "nothing comparable"],
)
def test_the_headline_is_the_exit_code_in_words(tmp_path, codes, code, title):
    comparison = fakes.comparison(exit_codes=frozenset(codes))
    top = view(tmp_path, comparison=comparison).headline
    assert (top.code, top.title) == (code, title)


def moved(*verdicts):
    findings = tuple(fakes.finding(verdict=verdict, change=49.0) for verdict in verdicts)
    return fakes.comparison(findings=findings, exit_codes=frozenset())


def test_mistake_33_a_slower_run_that_nothing_confirmed_is_never_called_fine(tmp_path):
    top = view(tmp_path, comparison=moved(Verdict.INCONCLUSIVE, Verdict.UNCHANGED)).headline
    assert (top.code, top.title, top.tone) == (0, "Unconfirmed changes", "unsure")
    assert top.meaning.startswith("1 figure moved, unconfirmed")
    assert top.points[0] == "Inconclusive: sdpa \N{MIDDLE DOT} batch 8, latency +4900 %."
    calm = view(tmp_path, comparison=moved(Verdict.UNCHANGED)).headline
    assert (calm.title, calm.tone) == ("Fine", "good")


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ((Verdict.UNCHANGED, Verdict.INCOMPARABLE), "No figure that could be compared moved"),
        ((Verdict.INCOMPARABLE, Verdict.NEW), "Nothing could be compared."),
    ],
)
def test_only_what_was_compared_is_called_calm(tmp_path, verdicts, said):
    assert view(tmp_path, comparison=moved(*verdicts)).changes.quiet.startswith(said)


def test_changes_for_which_there_is_no_room_are_not_called_calm():
    comparison = moved(Verdict.REGRESSED, Verdict.UNCHANGED)
    made = changes.changes(comparison, words.Names.of([fakes.cell()]), Clocks(), shown=0, limit=14)
    assert made.open.rows == ()
    assert made.quiet == "What changed is folded away below."


def test_a_run_without_a_baseline_claims_no_comparison(tmp_path):
    assert view(tmp_path).headline.compared.startswith("Compared with nothing")


def test_a_run_that_did_not_end_says_so(tmp_path):
    assert "did not come to its end" in view(tmp_path, finished=False).headline.cells


def test_cells_that_never_ran_and_cells_measured_in_part_are_counted_as_that(tmp_path):
    ok = fakes.row()
    rows = (ok, replace(ok, lacks="not timed"), fakes.failed(Status.NOT_RUN, "no record"))
    top = view(tmp_path, fakes.summary(rows=rows), finished=False).headline
    assert top.cells.startswith(
        "3 cells planned: 2 ok, 1 not run, 1 of those ok not measured in full."
    )


def test_a_claim_that_is_a_bound_says_at_least_and_has_no_tolerance():
    bound = replace(fakes.claims()[0], at_least=True)
    (row,) = cells.claims(fakes.summary(claims=(bound,))).table.rows
    texts = [value.text for value in row]
    assert any(text.startswith("at least ") for text in texts)
    assert "a bound" in texts
    assert not any("\N{PLUS-MINUS SIGN}" in text for text in texts)


def test_claims_that_are_contradicted_come_first(tmp_path):
    shown = view(tmp_path)
    claims = shown.claims
    results = [(v.text, v.detail) for v in column(claims.table, "result")]
    assert results == [
        ("contradicted", ""),
        ("reproduced", ""),
        ("not measured", "no cell of this run is of that kind"),
    ]
    assert claims.said == "3 claims: 1 contradicted, 1 reproduced, 1 not measured"
    assert shown.headline.points[-1] == f"{claims.said}."


def test_a_command_finds_exactly_its_cell(tmp_path):
    cells = [row.cell for row in fakes.summary().rows]
    for cell, value in zip(cells, column(view(tmp_path).commands, "command"), strict=True):
        words_of = shlex.split(value.text)
        assert words_of[:3] == ["ditbench", "run", "suites/fashion.yaml"]
        expression = words_of[words_of.index("-k") + 1]
        assert [c for c in cells if re.search(expression, c.id)] == [cell]
        assert words_of[-2:] == ["--set", "batch_size=1,8"]


def test_a_command_of_a_merged_run_is_that_of_the_run_which_measured_the_cell(tmp_path):
    first, second, third = (row.cell.key for row in fakes.summary().rows[:3])
    flags = {"quick": "ditbench run a.yaml --quick", "deep": "ditbench run a.yaml --set steps=9"}
    inner = {"command": "ditbench merge a b", "cells": [first, second, third]}
    parts = [
        {"command": flags["quick"], "cells": [first], "origins": []},
        {"command": flags["deep"], "cells": [first, second], "origins": []},
    ]
    found = view(
        tmp_path,
        command="ditbench merge c d",
        origins=(
            inner | {"origins": parts},
            {"command": flags["quick"], "cells": [second, third], "origins": []},
        ),
    )
    given = [shlex.split(value.text)[5:] for value in column(found.commands, "command")]
    assert given[:3] == [["--quick"], ["--set", "steps=9"], []]


@pytest.mark.parametrize(
    ("axes", "drawn"),
    [
        ([{}], set()),
        ([{"batch_size": 1}, {"batch_size": 8}], {"scaling-batch-size"}),
        ([{"steps": 10}, {"steps": 20}], {"scaling-steps"}),
        (
            [{}, {"model": fakes.Choice("dit", (("size", 64), ("patch", 2), ("hidden", 128)))}],
            set(),
        ),
        (
            [
                {"model": fakes.Choice("dit", (("size", size), ("patch", 2)), f"dit {size}")}
                for size in (32, 64)
            ],
            {"scaling-tokens"},
        ),
    ],
    ids=["nothing varies", "batch size", "steps", "another model", "tokens"],
)
def test_a_scaling_chart_is_drawn_only_over_what_varies(axes, drawn):
    summary = fakes.summary(rows=tuple(r for a in axes for r in rows_of(*fakes.METHODS[:3], **a)))
    assert {name for name in figures_of(summary) if name.startswith("scaling")} == drawn


def of_models(*names, **axes):
    return tuple(
        row
        for name in names
        for row in rows_of(*fakes.METHODS[:2], model=fakes.Choice(name, (("hidden", 8),)), **axes)
    )


def test_models_stand_side_by_side_in_the_order_of_the_plan_by_their_fastest_method():
    summary = fakes.summary(rows=(*of_models("s", "b", "xl"), *of_models("l", batch_size=1)))
    found = figures_of(summary)
    named = {name: figure for name, figure in found.items() if name.startswith("models-")}
    assert set(named) == {"models-throughput", "models-peak-resident", "models-multiply-adds"}
    for figure in named.values():
        assert re.findall(r"(?:^|; )(\w+):", figure.alternative) == ["s", "b", "xl"]
        assert figure.caption.startswith("sdpa \N{MIDDLE DOT} eager \N{MIDDLE DOT} batch 8")
    assert "core" in named["models-multiply-adds"].alternative


def test_one_model_is_not_compared_with_itself():
    found = figures_of(fakes.summary(rows=of_models("s")))
    assert not [name for name in found if name.startswith("models-")]


def test_a_speed_ups_bar_begins_where_nothing_is_gained():
    spec = figures_of(fakes.summary(rows=rows_of()))["bounds"].spec["layer"][0]
    bars = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "bar")
    assert (bars["encoding"]["x"]["field"], bars["encoding"]["x2"]["field"]) == ("one", "x")
    (rows,) = (data["values"] for data in [spec["data"]])
    measured = [row for row in rows if row["kind"] == "measured speed-up"]
    others = [row for row in rows if row["kind"] != "measured speed-up"]
    assert {row["one"] for row in measured} == {1}
    assert all(row["one"] == row["x"] for row in others)  # marks, and no bars


def test_charts_draw_only_what_was_measured():
    bare = replace(fakes.row(), estimates={"latency": fakes.estimate(1)}, bound=None, ceiling=None)
    assert figures_of(fakes.summary(rows=(bare,))) == {}


def test_the_pareto_front_holds_what_nothing_beats_in_both():
    summary = fakes.summary(rows=rows_of())
    names = words.Names.of(row.cell for row in summary.rows)
    found = points.quality(ranking.groups(summary, names)[0], names).points
    front = {p.label for p in found if p.front}
    assert "nystromformer {rank: 16}" not in front
    assert {"linear", "window {size: 4}", "sdpa", "softmax"} <= front
    assert not any(p.label == "identity" for p in found)


def test_the_noise_of_a_single_value_is_not_invented():
    single = Estimate(0.5, 0.5, 0.5, processes=1, samples=20)
    assert words.estimate("latency", single).detail == "1 process"
    assert words.estimate("macs", single).detail == ""


def test_how_it_was_measured_tells_counts_and_that_it_is_no_fid(tmp_path):
    told = dict(view(tmp_path).conduct)
    assert "3 fresh processes" in told["Timing"]
    assert "3 warm-up calls" in told["Timing"]
    assert "20 timed calls" in told["Timing"]
    assert "3e-07" in told["Gates"]
    assert "1e-05 is allowed" in told["Gates"]
    assert "are not FID" in told["Fr\u00e9chet distance"]
    assert "micro-batches of 16" in told["Pictures"]


def test_the_environment_tells_what_differs_from_the_baseline(tmp_path):
    seen = view(tmp_path, comparison=fakes.comparison())
    assert seen.differences == ("torch: 2.12.1 -> 2.13.0",)
    assert seen.differences_said.startswith("1 fact of the environment")


NOISY = Estimate(0.97, 0.92, 1.03, processes=3, samples=60)


def test_a_noisy_bound_that_reaches_one_is_called_none(tmp_path):
    rows = rows_of(*fakes.METHODS[:6])
    for bound, none in ((NOISY, True), (fakes.estimate(1.4), False)):
        summary = fakes.summary(rows=tuple(replace(row, bound=bound) for row in rows))
        possible = column(view(tmp_path, summary).rankings[0].table, "possible")[0]
        assert ("interval reaches 1: no bound" in possible.detail) is none
        caption = figures_of(summary)["speed-against-quality"].caption
        assert ("it bounds nothing" in caption) is none
        assert ("is the measured bound" in caption) is not none


@pytest.mark.parametrize("accelerated", [True, False])
def test_an_accelerator_may_pass_the_line_of_a_model_without_attention(accelerated):
    rows = rows_of(*fakes.METHODS[:6])
    if accelerated:
        of = replace(rows[1].cell, accelerator=Choice("pab"))
        rows = (*rows, replace(rows[1], cell=of))
    caption = figures_of(fakes.summary(rows=rows))["speed-against-quality"].caption
    assert ("Accelerators skip more than attention and may pass it." in caption) is accelerated


def filed(name, speed):
    settings = (("mode", "output"), ("policy", name))
    label = f"dqar {{mode: output, policy: {name}}}"
    return ("dqar", settings, label, speed, 0.2, False)


SHORT = "dqar {mode: output, policy: fashion-dit}"


def test_a_chart_names_a_file_by_its_stem_and_the_table_in_full(tmp_path):
    method = filed("policies/fashion-dit.safetensors#8d1945f2369b", 1.3)
    summary = fakes.summary(rows=rows_of(*fakes.METHODS[:4], method))
    for name in ("bounds", "multiply-adds", "memory"):
        told = json.dumps(figures_of(summary)[name].spec)
        assert SHORT in told
        assert "8d1945" not in told
    names = [v.text for v in column(view(tmp_path, summary).rankings[0].table, "method")]
    assert method[2] in names


def test_two_files_of_one_stem_keep_their_whole_names():
    pair = (
        filed("a/fashion-dit.npz#8d1945f2369b", 1.3),
        filed("fashion-dit.npz#000045f2369b", 1.4),
    )
    names = words.Names.of(row.cell for row in rows_of(*pair))
    assert [names.drawn(fakes.cell(one)) for one in pair] == [pair[0][2], pair[1][2]]
    assert words.Names.of([fakes.cell(pair[0])]).drawn(fakes.cell(pair[0])) == SHORT


def test_no_name_beside_a_bar_is_cut():
    pair = (
        filed("a-policy-with-a-very-long-name-of-a-year-2025", 1.3),
        filed("a-policy-with-a-very-long-name-of-a-year-2026", 1.4),
    )
    for name in ("bounds", "multiply-adds"):
        figure = figures_of(fakes.summary(rows=rows_of(*fakes.METHODS[:4], *pair)))[name]
        lines = re.findall(r">([^<>]+)</t(?:ext|span)>", render.svg(figure))
        assert "".join(lines).count("a-policy-with-a-very-long-name-of") == 2
        assert {"2025}", "2026}"} <= {line[-5:] for line in lines}


@pytest.mark.parametrize("spares", [True, False])
def test_multiply_adds_of_a_step_are_those_of_one_that_spares_nothing(tmp_path, spares):
    rows = rows_of(*fakes.METHODS[:6])
    summary = fakes.summary(rows=(*rows[1:], fakes.remembering(rows[0])) if spares else rows)
    caption = figures_of(summary)["multiply-adds"].caption
    said = dict(view(tmp_path, summary).conduct)["Multiply-adds"]
    assert "The whole model in a step that spares nothing" in caption
    assert "one forward of the whole batch in which nothing is spared" in said
    for text in (caption, said):
        assert ("is in the table of Reuse." in text) is spares


def test_a_headline_ratio_that_may_be_one_says_so(tmp_path):
    unsure = replace(fakes.row(fakes.METHODS[4]), speedup=Estimate(1.02, 0.98, 1.06, 3, 60))
    sure = replace(fakes.row(fakes.METHODS[4]), speedup=Estimate(1.2, 1.15, 1.25, 3, 60))
    for row, told in ((unsure, True), (sure, False)):
        (point,) = view(tmp_path, fakes.summary(rows=(row,), claims=())).headline.points
        assert ("includes 1)" in point) is told


def test_a_failed_cells_log_is_told_once(tmp_path):
    crashed = fakes.failed(reason="", batch_size=2)
    log = f"logs/{crashed.cell.key}-time-0.log"
    reason = f"segmentation fault (SIGSEGV), in phase timing 3; log: {log}"
    (tmp_path / "logs").mkdir()
    (tmp_path / log).write_text("")
    summary = fakes.summary(rows=(replace(crashed, reason=reason),))
    (row,) = view(tmp_path, summary).absent.failed.rows
    assert [value.text.count(log) for value in row] == [0, 0, 0, 1]


def test_a_narrowed_run_counts_what_it_left_out(tmp_path):
    seen = view(tmp_path, comparison=fakes.comparison(unselected=12)).headline.compared
    assert seen.endswith("12 other cells of it not selected here.")
