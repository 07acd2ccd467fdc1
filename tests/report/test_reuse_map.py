"""The reuse map: site by step, a letter for each reason, readable without colour."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from ditbench.report import reuse_map

FACTS = {
    "reasons": [["nothing kept", False, 2], ["scheduled", True, 3], ["too old", False, 1]],
    "map": {"blocks.0.attn1": "abb", "blocks.1.attn1": "abc"},
}
ROWS = [
    ("blocks.0.attn1", 0, "nothing kept", False),
    ("blocks.1.attn1", 0, "nothing kept", False),
    ("blocks.0.attn1", 1, "scheduled", True),
    ("blocks.1.attn1", 1, "scheduled", True),
    ("blocks.0.attn1", 2, "scheduled", True),
    ("blocks.1.attn1", 2, "too old", False),
]
EVIL = "<script>&\"'"


def test_a_record_s_facts_and_its_decisions_give_the_same_map():
    assert reuse_map.of_facts(FACTS) == reuse_map.of_rows(ROWS)


def test_in_letters_alone_it_tells_every_decision():
    assert reuse_map.of_rows(ROWS).text == "0  abb\n1  abc"


def test_half_of_six_forwards_spared_something():
    found = reuse_map.of_rows(ROWS)
    assert (found.share, found.steps) == (0.5, 3)


def test_only_places_where_something_was_spared_are_filled():
    svg = ET.fromstring(reuse_map.drawn(reuse_map.of_rows(ROWS), "map").svg)  # noqa: S314 (our own)
    boxes = [one for one in svg.iter() if one.tag.endswith("rect")]
    assert [(one.get("width"), one.get("y")) for one in boxes] == [("30", "0.5"), ("15", "15.5")]
    letters = [one.text for one in svg.iter() if len((one.get("x") or "").split()) == 3]
    assert letters == ["abb", "abc"]


def test_each_row_ends_with_its_share_of_reuse():
    svg = reuse_map.drawn(reuse_map.of_rows(ROWS), "map").svg
    assert re.findall(r">([\d.]+ %)</text>", svg) == ["66.7 %", "33.3 %"]


def test_two_reasons_of_reuse_have_different_tones():
    found = reuse_map.of_rows([("a", 0, "scheduled", True), ("a", 1, "branch shared", True)])
    assert len(set(found.filled.values())) == 2


def test_the_legend_counts_every_letter_most_frequent_first():
    rows = [[value.text for value in row] for row in reuse_map.legend(reuse_map.of_rows(ROWS)).rows]
    assert rows == [
        ["b", "scheduled", "filled", "3", "50.0 %"],
        ["a", "nothing kept", "open", "2", "33.3 %"],
        ["c", "too old", "open", "1", "16.7 %"],
    ]


def test_who_cannot_see_it_is_told_the_counts():
    said = reuse_map.drawn(reuse_map.of_rows(ROWS), "map", "dqar").said
    assert said == (
        "Reuse map of dqar: 2 sites by 3 steps, something spared in 50.0 % of the forwards. "
        "b scheduled (reused): 3; a nothing kept (computed): 2; c too old (computed): 1"
    )


def test_a_site_that_was_not_asked_at_a_step_moves_no_other_letter():
    found = reuse_map.of_rows([("a", 0, "x", False), ("a", 2, "x", False)])
    assert found.text == "a  a a"
    assert ">a\N{MIDDLE DOT}a</text>" in reuse_map.drawn(found, "map").svg


def test_of_very_many_steps_the_places_are_drawn_without_letters():
    found = reuse_map.of_rows([("a", step, "x", True) for step in range(250)])
    svg = reuse_map.drawn(found, "map").svg
    assert 'width="750"' in svg
    assert "aaa" not in svg


def test_more_reasons_than_letters_share_one_sign():
    found = reuse_map.of_rows([("a", step, f"reason {step}", False) for step in range(60)])
    assert found.text.endswith("YZ????????")


def test_names_are_escaped():
    svg = reuse_map.drawn(reuse_map.of_rows([(EVIL, 0, EVIL, True)]), "map", EVIL).svg
    assert "<script>" not in svg
    ET.fromstring(svg)  # noqa: S314 (our own)


def test_only_what_tells_sites_apart_is_their_label():
    assert reuse_map.short(["blocks.0.attn1", "blocks.1.attn1"]) == ("0", "1")
    assert reuse_map.short(["a.0.x", "a.0.y", "a.1.x"]) == ("0.x", "0.y", "1.x")
    assert reuse_map.short(["a.0", "a.0.y"]) == ("a.0", "a.0.y")
    assert reuse_map.short(["a.0.attn"]) == ("a.0.attn",)


def test_maps_of_one_page_can_share_their_letters():
    known = [("nothing kept", False), ("scheduled", True)]
    found = reuse_map.of_rows([("a", 0, "scheduled", True)], known)
    assert found.text == "a  b"
    assert [value.text for (value, *_) in reuse_map.legend(found).rows] == ["b"]
