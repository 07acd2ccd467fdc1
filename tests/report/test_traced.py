"""The page of a trace: maps, letters and errors, and nothing fetched."""

from __future__ import annotations

import dataclasses
import re

from fakes_traces import line, planted

from ditbench.report import traced

EVIL = "<script>alert(1)</script>"


def page(lines, tmp_path):
    path = traced.render("tiny", lines, tmp_path / "trace.html")
    return re.sub(r"\s+", " ", path.read_text())


def test_samples_with_the_same_map_share_one(tmp_path):
    lines = [
        *(line(sample, step) for sample in range(3) for step in range(4)),
        *(line(3, step, reused=False, error=None, reason="too old") for step in range(4)),
    ]
    text = page(lines, tmp_path)
    assert text.count("<svg ") == 2
    assert "<h3>dqar, samples 0, 1, 2</h3>" in text
    assert "<h3>dqar, sample 3</h3>" in text


def test_a_letter_means_the_same_in_all_maps():
    lines = [line(0, 0, reason="x"), line(1, 0, reason="y"), line(1, 1, reason="x")]
    maps = traced.of_runs(lines)
    assert [one.text for one in maps.values()] == ["blocks.0  a", "blocks.0  ba"]


def test_each_method_has_a_map_of_its_own(tmp_path):
    lines = [*(line(0, n) for n in range(3)), *(line(0, n, method="other") for n in range(3))]
    text = page(lines, tmp_path)
    assert re.findall(r"<h3>(.*?, sample 0)</h3>", text) == ["dqar, sample 0", "other, sample 0"]
    assert traced._whole(lines).reasons[0].count == 6


def test_of_many_maps_the_first_are_drawn_and_the_others_counted(tmp_path):
    lines = [line(n, step, reused=step == n) for n in range(9) for step in range(9)]
    text = page(lines, tmp_path)
    assert text.count("<svg ") == 6
    assert "3 more samples have maps of their own" in text


def test_halves_that_were_decided_apart_share_a_place_and_both_reasons_are_told():
    halves = [
        line(branch="conditional", reused=False, error=None, reason="too old"),
        line(branch="unconditional", reason="own"),
    ]
    assert traced._rows(halves) == [("blocks.0", 0, "too old / own", True)]


def test_errors_are_told_by_reason_block_and_step(tmp_path):
    table = traced.errors(
        "block", [line(site=1, error=e / 10) for e in range(1, 11)], lambda x: x.block
    )
    ((block, count, low, middle, high, most),) = table.rows
    assert [one.text for one in (block, count)] == ["1", "10"]
    assert [one.order for one in (low, middle, high, most)] == [0.1, 0.5, 0.9, 1.0]
    text = page(planted(samples=1), tmp_path)
    assert all(f"Errors by {what}" in text for what in ("reason", "block", "step"))


def test_where_nothing_was_reused_that_is_said(tmp_path):
    assert "Nothing was reused." in page([line(reused=False, error=None)], tmp_path)


def test_the_page_fetches_nothing_and_obeys_no_name(tmp_path):
    text = page([dataclasses.replace(line(), site=EVIL, reason=EVIL, model=EVIL)], tmp_path)
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert (
        re.findall(r"(?:href|src)=|url\(|://", text.replace("http://www.w3.org/2000/svg", "")) == []
    )
