"""Every page as a person meets it: opened from disk in a real browser, in light and dark, wide and narrow."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import browser
import fakes_quality
import fakes_report as fakes
import fakes_traces
import pytest
import test_history_page as runs
import test_report_training as trainings

from ditbench.compare import Verdict
from ditbench.compare.verdicts import Lint
from ditbench.report import traced, training
from ditbench.report.history import story
from ditbench.report.render import render, render_history
from ditbench.store import read_head
from ditbench.summary import summarise

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not browser.CHROMIUM, reason=browser.WHY_NOT),
]
PAGES = ("morning", "quality", "training", "history", "traced")
HISTORY = fakes.nights((*(0.27,) * 6, *(0.3, 0.301, 0.299) * 4), unclean=(3,))
BAD = ("serious", "critical")
VIOLATED = "(told) => told.violations.map((one) => [one.impact, one.id, one.nodes[0].html])"
# All rules in light; in dark what colours change.
AXE = {"light": "{}", "dark": "{runOnly: ['color-contrast']}"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A night with three regressions, and every other kind of page."""
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    findings = (
        fakes.confirmed(),
        fakes.confirmed(fakes.METHODS[4], change=0.05, duel=fakes.duel(0.05, inside=True)),
        fakes.finding(fakes.METHODS[6], Verdict.REGRESSED, 0.21, metric="peak_resident"),
        *(fakes.finding(m, Verdict.UNCHANGED, 0.004) for m in fakes.METHODS[7:]),
        fakes.finding(fakes.METHODS[0], Verdict.NEW, None, metric=""),
    )
    comparison = fakes.comparison(
        findings=findings, history=HISTORY, shift="many moved", lint=(Lint("no-baseline", "none"),)
    )
    run = fakes.run(folder / "morning" / "run")
    fakes.paint(run, fakes.summary())
    made["morning"] = render(run, with_memory(fakes.summary()), comparison, folder / "morning")
    made["history"] = _history(folder / "history")
    judged = fakes_quality.run(folder / "quality")
    made["quality"] = render(judged, summarise(judged), fakes.NOTHING, folder / "quality")
    arms = (trainings.arm(name) for name in ("dit", "unet"))
    made["training"] = training.write(trainings.write(folder / "arms", *arms), folder / "training")
    made["traced"] = traced.render("tiny", fakes_traces.planted(samples=2), folder / "traced.html")
    return made


def with_memory(summary):
    """The same with two settings of a method that keeps what it computed."""
    rows = (
        fakes.remembering(one, dict(one.cell.attention.settings)["size"] / 12)
        if one.cell.attention.name == "window"
        else one
        for one in summary.rows
    )
    return replace(summary, rows=tuple(rows))


def _history(folder):
    last = [runs.night(folder, n, 1.041 if n >= 8 else 1.0) for n in range(1, 15)][-1]
    return render_history(story(folder, read_head(last)), folder)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser.chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def axe():
    """The rules of accessibility, as a script."""
    place = Path(find_spec("axe_core_python").origin).with_name("axe.min.js")
    return place.read_text() + "; 0"


@pytest.fixture(scope="module", params=PAGES)
def opened(request, chromium, pages):
    """The browser with one page open, and the page's file."""
    chromium.scheme("light")
    chromium.open(pages[request.param])
    return chromium, pages[request.param]


def unfold(chromium):
    chromium.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


def values(chromium, table, told):
    """What of each row of a table, from above. told: an expression of `row`."""
    rows = f"[...document.querySelector({table!r}).tBodies[0].rows]"
    return chromium.run(f"{rows}.map((row) => {told})")


def test_a_page_opens_from_disk_without_network_or_complaint(opened):
    chromium, page = opened
    assert chromium.asked[0] == page.as_uri()
    assert {address.partition(":")[0] for address in chromium.asked[1:]} <= {"data"}
    assert chromium.complaints == []


def test_the_browser_sees_what_is_wrong_with_a_page(chromium, axe, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<title>x</title><p style='color: #eee; width: 2000px'>pale<img src='http://localhost:9/x'>"
        "<script>nobody()</script>"
    )
    chromium.scheme("light")
    chromium.open(bad, 390)
    chromium.run(axe)
    found = {one[1] for one in chromium.run(f"axe.run().then({VIOLATED})") if one[0] in BAD}
    assert {"color-contrast", "html-has-lang", "image-alt"} <= found
    assert "http://localhost:9/x" in chromium.asked
    assert "nobody is not defined" in "".join(chromium.complaints)
    assert chromium.run("document.documentElement.scrollWidth") > 390


def test_the_static_drawings_give_way_to_charts_without_an_error(opened):
    chromium, page = opened
    drawn = "document.querySelectorAll('.chart.vega-embed').length"
    charts = chromium.run("document.querySelectorAll('.chart').length")
    look = f"() => ({drawn} >= {charts} ? done(0) : setTimeout(look, 20))"
    chromium.run(f"new Promise((done) => {{ const look = {look}; look(); }})")
    assert (charts > 0) == (page.name == "report.html")
    assert chromium.complaints == []


def test_a_page_has_no_serious_fault_of_accessibility_in_light_or_dark(opened, axe):
    chromium, _ = opened
    unfold(chromium)
    chromium.run(axe)
    found = {}
    for scheme in ("light", "dark"):
        chromium.scheme(scheme)
        told = chromium.run(f"axe.run(document, {AXE[scheme]}).then({VIOLATED})")
        found[scheme] = [one for one in told if one[0] in BAD]
        paper = chromium.run("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert found == {"light": [], "dark": []}


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_its_window(opened, width):
    chromium, _ = opened
    chromium.wide(width)
    unfold(chromium)
    assert chromium.run("document.documentElement.scrollWidth") <= width


def test_paper_shows_what_is_folded_away_on_the_screen(opened):
    chromium, _ = opened
    chromium.run("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    chromium.scheme("light", media="print")
    chromium.run("dispatchEvent(new Event('beforeprint'))")
    parts = "[...document.querySelectorAll('main table, main article, main figure')]"
    lost = "!one.checkVisibility() && !one.closest('#peek')"
    assert chromium.run(f"{parts}.filter((one) => {lost}).length") == 0
    tables = "[...document.querySelectorAll('.scroll')]"
    uncut = f"{tables}.every((one) => getComputedStyle(one).overflowX === 'visible')"
    assert chromium.run(uncut)
    chromium.run("dispatchEvent(new Event('afterprint'))")
    assert chromium.run("document.querySelectorAll('details[open]').length") == 0
    chromium.scheme("light")
    assert chromium.paper().startswith(b"%PDF")


def test_a_click_on_a_heading_sorts_its_table_and_another_turns_it(chromium, pages):
    chromium.open(pages["morning"])
    heading = "document.querySelector('.ranking th button[data-column=\"2\"]')"
    assert chromium.run(f"{heading}.textContent") == "latency"
    for order in ("descending", "ascending"):
        # Ascending at first, as the page opens; the first click leaves it so.
        chromium.run(
            f"{heading}.click()"
            if order == "ascending"
            else f"{heading}.click(), {heading}.click()"
        )
        seconds = values(chromium, ".ranking table", "Number(row.cells[2].dataset.order)")
        assert len(set(seconds)) > 5
        assert seconds == sorted(seconds, reverse=order == "descending")
        assert chromium.run(f"{heading}.closest('th').ariaSort") == order


def test_the_keyboard_alone_reaches_a_heading_and_sorts_by_it(chromium, pages):
    chromium.open(pages["history"])
    for _ in range(40):
        chromium.press("Tab")
        if chromium.run("document.activeElement.textContent") == "metric":
            break
    for order in ("ascending", "descending"):
        chromium.press("Enter")
        metrics = values(chromium, "#levels ~ .scroll table", "row.cells[2].textContent")
        assert metrics == sorted(("first call", "latency"), reverse=order == "descending")
        assert chromium.run("document.activeElement.closest('th').ariaSort") == order


def test_a_reuse_map_can_be_reached_by_the_keyboard_and_scrolled(chromium, pages):
    chromium.open(pages["morning"], 390)
    maps = "[...document.querySelectorAll('.map')]"
    assert chromium.run(f"{maps}.length") == 4
    assert chromium.run(
        f"{maps}.every((one) => one.tabIndex === 0 && one.scrollWidth > one.clientWidth)"
    )
    chromium.run(f"{maps}[0].focus()")
    assert chromium.run("document.activeElement.ariaLabel").startswith("Reuse map: window {size: ")
    told = chromium.run(f"{maps}[0].querySelector('svg').getAttribute('aria-label')")
    assert told.startswith("Reuse map of window {size: ")


def test_the_filter_leaves_what_contains_every_word_and_says_how_much(chromium, pages):
    chromium.open(pages["morning"])
    chromium.run("document.getElementById('filter').focus()")
    chromium.type("NYSTROMFORMER 64")
    shown = "[...document.querySelectorAll('article.change')].filter((one) => !one.hidden)"
    assert chromium.run(f"{shown}.map((one) => one.querySelector('.what').textContent)") == [
        "nystromformer {rank: 64} \N{MIDDLE DOT} batch 8, peak resident"
    ]
    told = chromium.run("document.querySelector('.filter [role=status]').textContent")
    assert re.fullmatch(r"[0-9]+ of [0-9]+ rows, changes and lines", told)
    chromium.run("document.getElementById('filter').select()")
    chromium.type(" ")
    assert chromium.run(f"{shown}.length") == 3
