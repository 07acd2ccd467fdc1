"""The axis of accelerators: what a suite may say, which cells it makes, and that no older key moves."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from catalogs import CATALOG
from fakes_runs import cell, fake_run, gate, quality, timed

from ditbench.errors import SuiteError
from ditbench.plan import expand
from ditbench.records import UNACCELERATED, Cell, Choice, Sampling, cell_from_json, cell_to_json
from ditbench.report.words import Names
from ditbench.run.display import short_names
from ditbench.run.order import reference_of
from ditbench.suite.parse import parse
from ditbench.summary import gather, summarise
from ditbench.summary.doubts import knob
from ditbench.summary.speed import groups

HEAD = "name: a\nmodel: small\nattention: [softmax, sdpa]\n"
PAB = Choice("pab", (("every", 3), ("below", 800)), "pab[every=3]")
PLAIN = cell("sdpa")
FASTER = cell("sdpa", accelerator=PAB)


def cells(text, overrides=None):
    return expand(parse(HEAD + text, "s.yaml", CATALOG, overrides or {}))


def test_keys_from_before_there_were_accelerators_stay():
    """The two literals that version 0.1.0 wrote for this cell of the quickstart suite."""
    old = Cell(
        Choice("fashion-dit", (("depth", 6),)),
        Choice("monarch", (("block_size", 16), ("num_steps", 3))),
        "embedded",
        tuple(range(6)),
        batch_size=4,
        steps=12,
        sampling=Sampling(guidance_scale=2.0),
    )
    assert (old.key, old.quality_key) == ("0a11b95b52f1c7bc", "a4db61a2fae7ec65")
    assert replace(old, accelerator=Choice("none")).key == old.key
    assert "accelerator" not in cell_to_json(old)
    assert "accelerator" not in old.id


def test_cells_with_an_accelerator_share_no_key_and_no_name_with_those_without():
    assert PLAIN.key != FASTER.key
    assert PLAIN.quality_key != FASTER.quality_key
    assert FASTER.key != cell("sdpa", accelerator=Choice("pab", (("every", 2),))).key
    assert " accelerator=pab[every=3] " in FASTER.id
    assert (PLAIN.method, FASTER.method) == ("sdpa", "sdpa + pab[every=3]")
    names = Names.of([PLAIN, FASTER])
    assert (names.cell(PLAIN), names.cell(FASTER)) == ("sdpa", "sdpa + pab[every=3]")
    assert short_names({one.key: one for one in (PLAIN, FASTER)})[FASTER.key] == FASTER.method


def test_cells_survive_their_way_to_a_file():
    for one in (PLAIN, FASTER):
        assert cell_from_json(json.loads(json.dumps(cell_to_json(one)))) == one
    bad = cell_to_json(FASTER) | {"accelerator": "pab"}
    with pytest.raises(ValueError, match=r"cell\.accelerator must be an object"):
        cell_from_json(bad)


def test_a_suite_says_none_or_some_and_settings_are_axes_too():
    assert {one.accelerator for one in cells("")} == {UNACCELERATED}
    assert cells("accelerator: none") == cells("")
    made = cells("accelerator: [none, pab: {every: [2, 3]}]")
    assert [one.method for one in made] == [
        "softmax", "softmax + pab", "softmax + pab[every=3]",
        "sdpa", "sdpa + pab", "sdpa + pab[every=3]",
    ]  # fmt: skip
    assert [one.method for one in cells("", {"accelerator": "pab"})] == [
        "softmax + pab",
        "sdpa + pab",
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("pac", "4:14: accelerator: unknown accelerator 'pac' (did you mean 'pab'?)"),
        ("{pab: {evry: 2}}", "4:21: accelerator.pab: unknown setting 'evry' (did you mean 'every'?)"),
        ("[pab, pab]", "4:20: accelerator[1]: pab stands in accelerator[0] already"),
        ("[]", "4:14: accelerator: an empty list: nothing would run"),
    ],
)  # fmt: skip
def test_mistakes_are_told_at_their_place(value, told):
    with pytest.raises(SuiteError) as caught:
        cells(f"accelerator: {value}")
    assert caught.value.problems == (f"s.yaml:{told}",)


def test_an_op_has_no_accelerator():
    text = "name: a\nkind: op\nop: {tokens: 16}\nattention: sdpa\naccelerator: pab"
    with pytest.raises(SuiteError, match="accelerator means nothing here: an op"):
        parse(text, "s.yaml", CATALOG)


def test_exclusions_name_an_accelerator_and_its_settings():
    suite = parse(
        HEAD
        + "accelerator: [none, pab: {every: [2, 3]}]\n"
        + "exclude: [{attention: sdpa, accelerator: {pab: {every: 3}}, because: slow},"
        + " {attention: softmax, accelerator: none, because: slow}]",
        "s.yaml",
        CATALOG,
    )
    left = [one for one in expand(suite) if not any(e.covers(one) for e in suite.exclude)]
    assert [one.method for one in left] == [
        "softmax + pab",
        "softmax + pab[every=3]",
        "sdpa",
        "sdpa + pab",
    ]


def test_a_claim_is_of_the_first_accelerator_unless_it_names_another():
    (first, second) = parse(
        HEAD
        + "accelerator: [none, pab]\nclaims:\n"
        + "- {metric: core_macs, attention: sdpa, value: 1, tolerance: 1%, source: s}\n"
        + "- {metric: core_macs, attention: sdpa, accelerator: pab, value: 1, tolerance: 1%, source: s}",
        "s.yaml",
        CATALOG,
    ).claims
    assert [one.cell.method for one in (first, second)] == ["sdpa", "sdpa + pab"]


def test_quick_may_replace_the_accelerators():
    text = HEAD + "accelerator: [none, pab]\nquick: {accelerator: pab}"
    assert {
        one.method for one in expand(parse(text, "s.yaml", CATALOG, quick=True))
    } == {"softmax + pab", "sdpa + pab"}  # fmt: skip


def test_pictures_are_judged_by_softmax_that_skips_nothing():
    assert reference_of(FASTER).method == "softmax"


def test_a_speedup_is_against_the_fastest_exact_method_that_skips_nothing():
    softmax, faster = cell("softmax"), cell("softmax", accelerator=PAB)
    run = fake_run(
        gate(softmax, exact=True),
        *timed(softmax, (0.4,) * 5),
        gate(faster, exact=False),
        *timed(faster, (0.1,) * 5),
        quality(softmax, 0.0),
        quality(faster, 0.2),
    )
    (group,) = groups(gather(run)).values()
    assert group.softmax.cell == softmax
    rows = {row.cell: row for row in summarise(run).rows}
    assert rows[faster].speedup.value == pytest.approx(4)
    assert rows[faster].against == "softmax"


def test_settings_of_an_accelerator_are_knobs_and_the_accelerator_itself_is_none():
    every = cell("sdpa", accelerator=Choice("pab", (("every", 2), ("below", 800))))
    assert knob(FASTER, every) == "accelerator.every"
    assert knob(FASTER, PLAIN) == ""
