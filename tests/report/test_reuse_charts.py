"""Charts of methods with memory: what each draws, in numbers, and what stands below it, in words."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fakes_reuse import SPARED_S, STEP_S, dqar, remembering, reuse_run
from fakes_runs import STEPS, cell, fake_run, measured, quality

from ditbench.records import Choice
from ditbench.report import labels, points, ranking, render, reuse_charts, words
from ditbench.report.scatter import scatter
from ditbench.report.sweeps import sweeps
from ditbench.summary import summarise

TIMES = "\N{MULTIPLICATION SIGN}"


def groups_of(run):
    summary = summarise(run)
    names = words.Names.of(row.cell for row in summary.rows)
    return ranking.groups(summary, names), names


def figures(run):
    return {one.name: one for one in reuse_charts.figures(*groups_of(run))}


def swept(*records):
    (group,), _ = groups_of(fake_run(*records, claims=()))
    return {one.setting: one for one in sweeps(group)}


@pytest.fixture(scope="module")
def drawn():
    return figures(reuse_run())


def data(figure):
    """Rows of a chart of one view, wherever they stand in it."""
    parts = [part.get("data", {}) for part in (figure.spec, *figure.spec["layer"])]
    return [row for part in parts for row in part.get("values", ())]


def test_a_run_of_methods_without_memory_has_no_such_chart():
    assert figures(fake_run(*measured("softmax"), *measured("monarch"), claims=())) == {}


def test_every_chart_of_a_sweep_is_there(drawn):
    assert list(drawn) == [
        "reuse-drift-against-speed",
        "reuse-step-latency",
        "reuse-drift-by-step",
        "reuse-sweep-dqar-threshold",
        "reuse-sweep-dqar-limit",
    ]


def test_drift_against_speed_has_exact_methods_beside_and_no_yardstick(drawn):
    points = {row["method"]: row for row in data(drawn["reuse-drift-against-speed"]) if "x" in row}
    assert {"softmax", "sdpa"} < points.keys()
    assert "identity" not in points
    assert (points["sdpa"]["x"], points["sdpa"]["bound"], points["sdpa"]["front"]) == (
        1.0,
        None,
        True,
    )
    fast = points["dqar {threshold: 0.1, limit: 2}"]
    assert fast["bound"] == pytest.approx(1.79, abs=0.01)
    assert fast["front"]
    assert (
        "A dotted line ends at the bound of its method"
        in drawn["reuse-drift-against-speed"].caption
    )


def test_without_a_measured_bound_none_is_promised():
    records = [
        replace(one, metrics={k: v for k, v in one.metrics.items() if k != "replay_latency"})
        for one in remembering(dqar())
    ]
    exact = (*measured("sdpa"), quality(cell("sdpa"), 2e-7))
    found = figures(fake_run(*exact, *records, claims=()))["reuse-drift-against-speed"]
    assert found.caption.endswith("No bound was measured.")


def test_a_profile_has_the_median_of_every_step_beside_the_exact_method(drawn):
    rows = data(drawn["reuse-step-latency"])
    label = "dqar {threshold: 0.05, limit: 1}"  # a quarter of six blocks: two
    steps = {row["step"]: row["y"] for row in rows if row["method"] == label and "step" in row}
    assert steps[0] == pytest.approx(1e3 * STEP_S)
    assert all(steps[n] == pytest.approx(1e3 * (STEP_S - 2 * SPARED_S)) for n in range(1, STEPS))
    assert {row["method"] for row in rows} >= {"sdpa"}
    assert "softmax" not in {row["method"] for row in rows}
    assert f"{label}: 2.60 ms to 3.00 ms" in drawn["reuse-step-latency"].alternative


def test_a_profile_is_said_to_be_of_each_step_and_nothing_of_where_lines_lie(drawn):
    said = drawn["reuse-step-latency"].caption
    assert "where runs decide differently it shows what most of them did." in said
    assert "exact method" not in said


def test_drift_by_step_begins_at_nothing_and_ends_with_the_final_latents(drawn):
    rows = data(drawn["reuse-drift-by-step"])
    label = "dqar {threshold: 0.1, limit: 2}"
    steps = [row["y"] for row in rows if row["method"] == label and "step" in row]
    assert (len(steps), steps[0], steps[-1]) == (STEPS + 1, 0.0, pytest.approx(0.4))
    assert f"{label}: 0.400 at the end" in drawn["reuse-drift-by-step"].alternative


@pytest.fixture(scope="module")
def crowded():
    """Charts of eleven methods with memory, one of them with a name of 72 characters."""
    long = dqar(0.5, name="dqar-of-a-very-long-name,with-settings-of-which-nobody-knows-what")
    cells = [dqar(n / 100, 2) for n in range(1, 11)]
    told = [
        one
        for n, of in enumerate((long, *cells), 1)
        for one in remembering(of, share=n / 11, drift=n / 11)
    ]
    exact = (*measured("sdpa"), *measured("softmax"), quality(cell("softmax"), 0.0))
    return figures(fake_run(*exact, *told, claims=()))


STEPWISE = ("reuse-step-latency", "reuse-drift-by-step")


def tones(figure):
    """By method the tone of its line, or of its mark."""
    parts = [figure.spec["layer"][0], *figure.spec["layer"][0].get("layer", ())]
    parts += figure.spec["layer"]
    scales = [
        one["encoding"]["color"]["scale"] for one in parts if "color" in one.get("encoding", {})
    ]
    return dict(zip(scales[0]["domain"], scales[0]["range"], strict=True))


def test_no_two_lines_share_a_tone_and_the_rest_is_counted(crowded):
    for name in STEPWISE:
        assert len(tones(crowded[name])) == len(set(tones(crowded[name]).values())) <= 8
        assert crowded[name].caption.endswith(" 4 methods more in the table.")


def test_a_method_has_one_tone_in_all_charts_of_the_section(crowded):
    first, second = (tones(crowded[name]) for name in STEPWISE)
    marks = tones(crowded["reuse-drift-against-speed"])
    assert len(second) == 7
    assert first.items() >= second.items()
    shared = marks.keys() & first.keys()
    assert len(shared) >= 7
    assert {name: marks[name] for name in shared} == {name: first[name] for name in shared}


@pytest.mark.parametrize("name", STEPWISE)
def test_a_name_at_a_line_s_end_is_in_plain_ink_beside_its_mark_and_not_wide(crowded, name):
    mark, text = crowded[name].spec["layer"][1:]
    assert (mark["mark"]["type"], text["mark"]["fill"]) == ("point", "currentColor")
    assert "color" not in text["encoding"]
    width = re.search(r'viewBox="0 0 ([0-9.]+)', render.svg(crowded[name]))
    assert float(width[1]) < 740


def test_a_sweep_has_a_panel_a_figure_and_a_line_for_each_other_setting(drawn):
    one = drawn["reuse-sweep-dqar-threshold"]
    panels = one.spec["concat"]
    titles = [panel["layer"][0]["encoding"]["y"]["title"] for panel in panels]
    assert titles == ["latency (ms)", "cache (MiB)", "reuse ratio", "latent drift"]
    cache = [row for row in panels[1]["data"]["values"] if row["method"] == "limit 2"]
    assert [(row["x"], row["y"]) for row in cache] == [
        (0.02, pytest.approx(1.6)),
        (0.05, pytest.approx(4.0)),
        (0.1, pytest.approx(8.0)),
    ]
    assert one.caption.endswith(
        "Upright lines through the marks are 95 % intervals. A line for each of the other settings that "
        "vary. Drift follows reuse with a rank correlation (Spearman) of 0.97 over 6 cells."
    )
    assert "limit 2, threshold 0.05 4.00 MiB" in one.alternative


def test_mistake_15_a_setting_along_which_nothing_changes_is_told_below_its_chart():
    cells = [one for t in (0.1, 0.2, 0.3) for one in remembering(dqar(t, 2), share=0.5, drift=0.1)]
    same = {"metrics": {"latent_drift": (0.1,) * 48}, "facts": {"samples": 48, "knob_digest": "d"}}
    cells = [replace(one, **same) if one.stage.of_pictures else one for one in cells]
    run = fake_run(*measured("sdpa"), *cells, claims=())
    found = figures(run)["reuse-sweep-dqar-threshold"]
    assert found.caption.endswith(
        "No value of threshold changes reuse or drift: it is wired to nothing, or this is not its range."
    )
    doubts = [row.doubts for row in summarise(run).rows if row.reuse]
    assert all(any("threshold changes nothing" in one for one in told) for told in doubts)


def test_the_only_line_of_a_sweep_has_a_name_that_its_signs_know():
    """Another would have no colour, and the chart nothing but axes."""
    cells = [one for t in (0.1, 0.2) for one in remembering(dqar(t, 2), share=t, drift=t)]
    run = fake_run(*measured("sdpa"), *cells, claims=())
    for panel in figures(run)["reuse-sweep-dqar-threshold"].spec["concat"]:
        known = panel["layer"][0]["encoding"]["color"]["scale"]["domain"]
        assert {row["method"] for row in panel["data"]["values"]} <= set(known)


def test_of_three_settings_two_are_drawn_and_the_third_is_named():
    def of(gap, threshold, limit):
        plain = dqar(threshold, limit)
        settings = (*plain.attention.settings, ("gap", gap))
        label = f"dqar {gap} {threshold} {limit}"
        return replace(plain, attention=Choice("dqar", settings, label))

    cells = [of(g, t, n) for g in (1, 2) for t in (0.1, 0.2, 0.3) for n in (1, 2)]
    found = swept(*(one for each in cells for one in remembering(each)))
    assert list(found) == ["threshold", "gap"]
    assert [line.label for line in found["threshold"].lines] == [
        "gap 1, limit 1",
        "gap 1, limit 2",
        "gap 2, limit 1",
        "gap 2, limit 2",
    ]
    assert found["gap"].others == ("limit",)


def test_words_are_lines_and_never_an_axis():
    def of(mode, threshold):
        plain = dqar(threshold)
        settings = (*plain.attention.settings, ("mode", mode))
        return replace(plain, attention=Choice("dqar", settings, f"dqar {mode} {threshold}"))

    cells = [of(mode, threshold) for mode in ("kv", "output") for threshold in (0.1, 0.2)]
    found = swept(*(one for each in cells for one in remembering(each)))
    assert list(found) == ["threshold"]
    assert [line.label for line in found["threshold"].lines] == ["mode kv", "mode output"]
    assert swept(*(one for each in cells[::2] for one in remembering(each))) == {}


def test_of_a_run_without_pictures_drift_is_the_watched_run_s():
    cells = [
        one
        for threshold in (0.1, 0.2)
        for one in remembering(dqar(threshold), drift=threshold)
        if not one.stage.of_pictures
    ]
    found = figures(fake_run(*measured("sdpa"), *cells, claims=()))
    drift = found["reuse-sweep-dqar-threshold"].spec["concat"][3]
    said = found["reuse-sweep-dqar-threshold"].caption
    assert said.endswith("Drift is that of the one run that was watched.")
    assert [row["y"] for row in drift["data"]["values"]] == pytest.approx([0.1, 0.2])
    assert "reuse-drift-against-speed" not in found


def test_every_mark_has_a_name_or_a_number_that_the_caption_explains(crowded):
    figure = crowded["reuse-drift-against-speed"]
    rows = [row for row in data(figure) if "text" in row]
    assert all(row["text"] for row in rows)
    numbers = {row["text"]: row["method"] for row in rows if row["text"].isdigit()}
    assert numbers
    told = "; ".join(f"{number} {numbers[number]}" for number in sorted(numbers, key=int))
    assert f" By number: {told}." in figure.caption


def test_no_name_stands_across_an_interval_of_another_mark():
    tall = points.Point("tall", "a", 1.0, 0.5, 0.9, 1.1, "", y_low=0.0, y_high=1.0)
    near = points.Point("a name as long as an eyebrow", "b", 0.99, 0.15, 0.99, 0.99, "")
    edge = points.Point("edge", "c", 1.4, 0.9, 1.4, 1.4, "")
    trade = points.Trade("fid", (tall, near, edge), "linear", (0.0, 1.0), 0)
    drawn = scatter(trade, None, "FID")
    row = next(row for row in drawn.spec["data"]["values"] if row["method"] == near.label)
    assert row["align"] == "right"


def test_no_label_lies_on_a_line():
    (free,) = labels.place([(100, 100, "abc")], (400, 400))
    (moved,) = labels.place([(100, 100, "abc")], (400, 400), [(100, 100, 200, 100)])
    assert (free.align, moved.align) == ("left", "right")


def test_lines_of_a_sweep_name_a_file_by_its_stem_where_that_tells_them_apart():
    def lines(*policies):
        cells = []
        for policy in policies:
            for threshold in (0.1, 0.2):
                settings = (*dqar(threshold).attention.settings, ("policy", policy))
                label = f"dqar {policy} {threshold}"
                cells.append(cell(attention=Choice("dqar", settings, label)))
        found = swept(*(one for each in cells for one in remembering(each)))
        return [line.label for line in found["threshold"].lines]

    one, same, other = "a/x.npz#8d1945f2369b", "b/x.npz#8d1945f23690", "y.npz#8d1945f23691"
    assert lines(one, other) == ["policy x", "policy y"]
    assert lines(one, same) == [f"policy {one}", f"policy {same}"]
