"""The files of a report: complete, safe to open, of bounded size, the same every time."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace

import fakes_report as fakes
import pytest

from ditbench.compare import Verdict
from ditbench.records import Status
from ditbench.report.render import render
from ditbench.report.view import page

HOSTILE = "<script>alert(1)</script>|`x`\n[y](javascript:z) \N{SNOWMAN} \"'&"
FETCHED = re.compile(
    r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|@import|url\(\s*["']?(?:https?:)?//"""
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The believable run, rendered once."""
    folder = tmp_path_factory.mktemp("report")
    run = fakes.run(folder / "run")
    fakes.paint(run, fakes.summary())
    return render(run, fakes.summary(), fakes.comparison(), folder)


def body_of(path) -> str:
    """The page without its scripts, which hold other people's text."""
    return re.sub(r"<script.*?</script>", "", path.read_text(), flags=re.DOTALL)


def text_of(path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", body_of(path)))


def written(tmp_path, summary=None, comparison=fakes.NOTHING, **parts):
    summary = summary or fakes.summary()
    run = fakes.run(tmp_path / "run", summary, **parts)
    path = render(run, summary, comparison, tmp_path)
    return path, path.with_suffix(".md").read_text()


def few(*methods, **axes):
    return fakes.summary(rows=tuple(fakes.row(m, **axes) for m in methods or fakes.METHODS[:2]))


def test_the_page_fetches_nothing(report):
    assert not FETCHED.search(body_of(report))
    assert "default-src 'none'" in report.read_text()


def test_the_page_is_one_file_of_bounded_size_with_one_bundle(report):
    assert 20_000 < report.stat().st_size < 3_000_000
    assert report.read_text().count("vega.github.io/schema/vega/v") <= 2


def test_the_verdict_comes_first_with_its_exit_code_in_words(report):
    text = text_of(report)
    assert "exit code 4" in text
    assert "Performance regressed" in text
    assert "1 regressed" in re.sub(r"\s+", " ", text)
    assert "baselines/main.jsonl" in text
    assert text.index("Performance regressed") < text.index("Methods by speed")


def test_hostile_names_are_shown_and_not_obeyed(tmp_path):
    method = (HOSTILE, (), HOSTILE, 1.3, 0.2, False)
    bad = replace(fakes.failed(reason=HOSTILE), cell=fakes.cell(method, batch_size=2))
    rows = (*few(*fakes.METHODS[:2], method).rows, bad)
    summary = fakes.summary(rows=rows, notes=(HOSTILE,))
    comparison = fakes.comparison(findings=(fakes.finding(method, reason=HOSTILE),))
    path, markdown = written(
        tmp_path, summary, comparison, suite=HOSTILE, suite_text=HOSTILE, problems=(HOSTILE,)
    )
    assert "<script>alert" not in path.read_text()
    assert "<script>alert" not in markdown
    assert not any("<script>alert" in svg.read_text() for svg in tmp_path.glob("charts/*.svg"))
    assert "<script>alert(1)</script>" in text_of(path)
    assert "](javascript" not in re.sub(r"\\.", "", markdown)


def test_what_stands_between_backticks_is_code_on_the_page(tmp_path):
    told = "no bound: this run has no identity (add `- identity` under `attention`) <b>"
    rows = tuple(replace(row, doubts=(told,)) for row in few().rows)
    path, _ = written(tmp_path, fakes.summary(rows=rows, notes=(told,)))
    shown = "(add <code>- identity</code> under <code>attention</code>) &lt;b&gt;"
    assert f"<li>no bound: this run has no identity {shown}</li>" in path.read_text()
    assert (
        f'doubted">Doubts about every method here: no bound: this run has no identity {shown}'
        in (path.read_text())
    )


def test_a_script_in_a_chart_stays_data(tmp_path):
    method = ("</script><b>", (), "</script><b>", 1.3, 0.2, False)
    path, _ = written(tmp_path, few(*fakes.METHODS[:2], method))
    data = re.search(r'id="charts">(.*?)</script>', path.read_text(), re.DOTALL)
    assert "</script><b>" in json.dumps(json.loads(data.group(1)))


def test_the_same_run_gives_the_same_bytes(tmp_path):
    first, second = (written(tmp_path / name)[0] for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    for chart in (tmp_path / "a" / "charts").iterdir():
        assert chart.read_bytes() == (tmp_path / "b" / "charts" / chart.name).read_bytes()


def test_every_failed_cell_is_there_with_its_reason_and_its_log(tmp_path):
    crashed = fakes.failed(batch_size=2)
    excluded = fakes.failed(Status.EXCLUDED, "out of memory below 40 GiB", batch_size=3)
    summary = fakes.summary(rows=(*few().rows, crashed, excluded))
    logs = tmp_path / "run" / "logs"
    logs.mkdir(parents=True)
    (logs / f"{crashed.cell.key}-time-0.log").write_text("")
    path, markdown = written(tmp_path, summary)
    for text in (text_of(path), markdown):
        assert "segmentation fault (SIGSEGV)" in text
        assert f"logs/{crashed.cell.key}-time-0.log" in text
        assert "out of memory below 40 GiB" in text


def test_what_was_not_measured_says_so(tmp_path):
    bare = tuple(
        replace(row, estimates={"latency": row.estimates["latency"]}, bound=None, kernels=())
        for row in few().rows
    )
    claim = fakes.claims()[2]
    path, _ = written(tmp_path, fakes.summary(rows=bare, claims=(claim,)), records=())
    text = text_of(path)
    # drift, possible, throughput, three of work, memory and kernel of two rows
    assert text.count("not measured") >= 2 * 8
    assert "Pictures were not measured" in text
    assert "no cell of this run is of that kind" in text


def test_mistake_34_unreadable_lines_are_named_near_the_top(tmp_path):
    path, markdown = written(tmp_path, problems=("records.jsonl:7: not JSON",))
    text = text_of(path)
    assert text.index("records.jsonl:7: not JSON") < text.index("Methods by speed")
    assert markdown.index("records.jsonl:7: not JSON") < markdown.index("Methods by speed")


def test_pictures_stand_softmax_first_in_the_page_itself(report):
    first = re.findall(
        r'<img src="data:image/png;base64,[^"]+"[^>]*alt="picture 0 by ([^"]+?)(?:: [^":]*)?"',
        report.read_text(),
    )
    assert first[0] == "softmax"
    assert set(first) == {method[2] for method in fakes.METHODS}


def test_a_spoilt_picture_file_is_named_and_hides_nothing_else(tmp_path):
    summary = few()
    run = fakes.run(tmp_path / "run", summary)
    fakes.paint(run, summary)
    spoilt = f"images/{summary.rows[1].cell.quality_key}/000000-000016.npz"
    (run.folder / spoilt).write_bytes(b"not an archive")
    text = text_of(render(run, summary, fakes.NOTHING, tmp_path))
    assert f"{spoilt}: is torn, or no shard of pictures" in text
    assert "the reference method" in text


def test_large_pictures_keep_the_page_small(tmp_path):
    summary = few(*fakes.METHODS)
    run = fakes.run(tmp_path / "run", summary)
    noise = fakes.np.random.default_rng(0).integers(0, 256, (24, 96, 96, 3), dtype=fakes.np.uint8)
    for row in summary.rows:
        fakes.keep(run.folder, row.cell, noise)
    assert render(run, summary, fakes.NOTHING, tmp_path).stat().st_size < 3_000_000


def test_the_files_stay_small_with_five_thousand_cells(tmp_path):
    def many(status):
        return tuple(
            fakes.failed(
                status, f"needs compute capability 9.0 and has 8.{n}" * 3, batch_size=n + 1
            )
            for n in range(2500)
        )

    timed = tuple(fakes.row(fakes.METHODS[n % 10], steps=n + 1) for n in range(1000))
    rows = timed + many(Status.CRASHED) + many(Status.UNSUPPORTED)
    summary = fakes.summary(rows=rows)
    findings = tuple(replace(fakes.finding(), cell=row.cell) for row in rows[:3000])
    comparison = fakes.comparison(findings=findings)
    run = fakes.run(tmp_path / "run", summary, records=())
    path = render(run, summary, comparison, tmp_path)
    assert path.stat().st_size < 3_000_000
    assert (tmp_path / "report.md").stat().st_size < 900_000
    text = path.read_text()
    assert all(f"has 8.{n}needs" in text for n in range(2500))
    assert "more in the run's records" in (tmp_path / "report.md").read_text()


def test_the_markdown_links_charts_that_exist(report):
    linked = re.findall(r"\]\((charts/[^)]+)\)", report.with_suffix(".md").read_text())
    assert len(linked) >= 4
    assert all((report.parent / name).exists() for name in linked)


def test_a_run_of_nothing_still_gives_a_page(tmp_path):
    path, markdown = written(tmp_path, fakes.summary(rows=(), claims=(), notes=()))
    for text in (text_of(path), markdown):
        assert "Nothing was measured" in text
        assert "undefined" not in text.lower()


def test_a_page_of_what_could_not_be_compared_claims_no_calm(tmp_path):
    incomparable = fakes.comparison(findings=(fakes.finding(verdict=Verdict.INCOMPARABLE),))
    path, markdown = written(tmp_path, few(), incomparable)
    for text in (text_of(path), markdown):
        assert "Nothing could be compared." in text
        assert "beyond its noise" not in text


def test_the_largest_loss_is_in_the_headline(tmp_path):
    findings = tuple(
        fakes.finding(m, change=c) for m, c in zip(fakes.METHODS, (0.1, 0.4, 0.2), strict=False)
    )
    run = fakes.run(tmp_path, few())
    points = page(run, few(), fakes.comparison(findings=findings)).headline.points
    assert points[0] == "Regressed (largest of 3): sdpa, latency +40.0 %."
    assert all(f.verdict is Verdict.REGRESSED for f in findings)


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium to open the page with")
def test_a_browser_opens_the_page_without_an_error_and_draws_the_charts(report, tmp_path):
    ended = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000"),
            *(f"--user-data-dir={tmp_path}", "--dump-dom", report.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert "CONSOLE" not in ended.stderr
    assert "Content Security Policy" not in ended.stderr
    # Vega-Embed marks what it has drawn over the static pictures.
    assert ended.stdout.count('class="chart vega-embed"') == len(
        list((report.parent / "charts").iterdir())
    )
