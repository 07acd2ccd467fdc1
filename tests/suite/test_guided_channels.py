"""Guidance on three channels is another protocol than on four: other keys, other names, no comparison."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from catalogs import CATALOG
from fakes_runs import SAMPLING, cell, fake_run, gate, quality, timed

from ditbench.compare import Verdict, compare
from ditbench.errors import SuiteError
from ditbench.plan import expand
from ditbench.records import Cell, Choice, Sampling, cell_from_json, cell_to_json
from ditbench.report.words import Names
from ditbench.suite.parse import parse
from ditbench.summary import gather
from ditbench.summary.arms import differences

HEAD = "name: a\nmodel: small\nattention: softmax\n"
ALL = cell("monarch")
THREE = cell("monarch", sampling=replace(SAMPLING, guidance_channels=3))


def samplings(text):
    return parse(HEAD + text, "s.yaml", CATALOG).samplings


def test_keys_from_before_there_was_a_choice_stay():
    """Two literals that version 0.1.0 wrote for this cell of the quickstart suite."""
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


def test_mistake_37_cells_that_differ_in_the_guided_channels_share_no_key_and_no_name():
    assert ALL.key != THREE.key
    assert ALL.quality_key != THREE.quality_key
    assert "guidance_channels" not in ALL.id
    assert " guidance_channels=3 " in THREE.id
    names = Names.of([ALL, THREE])
    assert names.cell(THREE) == f"{names.cell(ALL)} \N{MIDDLE DOT} guided on 3 channels"


def test_mistake_37_cells_that_differ_in_the_guided_channels_are_never_compared():
    """The same suite but for that: what was measured then is missing now, and what is measured now is new."""

    def records(of):
        return gate(of), *timed(of, *((0.1,) * 5,) * 3), quality(of, 0.1)

    found = compare(fake_run(*records(THREE)), fake_run(*records(ALL)), "main").findings
    assert {one.verdict for one in found} <= {Verdict.NEW, Verdict.MISSING}
    assert {one.change for one in found} == {None}
    (told,) = differences(*(gather(fake_run(*records(one)))[0] for one in (THREE, ALL)))
    assert told == "guidance channels 3 against all"
    (told,) = differences(*(gather(fake_run(*records(one)))[0] for one in (ALL, THREE)))
    assert told == "guidance channels all against 3"


def test_cells_survive_their_way_to_a_file_and_older_files_are_read():
    plain, three = (json.loads(json.dumps(cell_to_json(one))) for one in (ALL, THREE))
    assert cell_from_json(three) == THREE
    del plain["sampling"]["guidance_channels"]  # as a file of an earlier version has it
    assert cell_from_json(plain) == ALL
    with pytest.raises(ValueError, match="guidance_channels must be a whole number from 0"):
        cell_from_json(plain | {"sampling": {"guidance_channels": -1}})


def test_a_suite_says_all_or_a_number_and_both_as_an_axis():
    assert samplings("") == (Sampling(),)
    assert samplings("sampling: {guidance_channels: all}") == (Sampling(),)
    both = parse(HEAD + "sampling: {guidance_channels: [all, 3]}", "s.yaml", CATALOG)
    assert [one.guidance_channels for one in both.samplings] == [0, 3]
    assert len(expand(both)) == 2
    assert parse(HEAD, "s.yaml", CATALOG, {"sampling.guidance_channels": "3"}).samplings == (
        Sampling(guidance_channels=3),
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0", "must be a whole number >= 1, not 0"),
        ("al", "must be a whole number >= 1 or all, not 'al' (did you mean 'all'?)"),
        ("1.5", "must be a whole number >= 1, not 1.5"),
    ],
)
def test_other_values_are_told_with_their_place(value, told):
    with pytest.raises(SuiteError) as caught:
        samplings(f"sampling: {{guidance_channels: {value}}}")
    assert caught.value.problems == (f"s.yaml:4:31: sampling.guidance_channels: {told}",)


def test_cells_are_excluded_by_their_guided_channels():
    both = parse(
        HEAD
        + "sampling: {guidance_channels: [all, 3]}\n"
        + "exclude: [{guidance_channels: all, because: slow}]",
        "s.yaml",
        CATALOG,
    )
    (exclusion,) = both.exclude
    left = [one for one in expand(both) if not exclusion.covers(one)]
    assert [one.sampling.guidance_channels for one in left] == [3]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("own", "own"),
        ("none", "none"),
        ("hub:stabilityai/sd-vae-ft-mse", "hub:stabilityai/sd-vae-ft-mse"),
        ("hub:a/b@main", "hub:a/b@main"),
        (".", "."),
    ],
)
def test_an_autoencoder_may_be_named(value, read):
    found = parse(HEAD + f"quality: {{samples: 2, vae: {value}}}", "s.yaml", CATALOG)
    assert found.quality.vae == read


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("hub:nobody", "'hub:nobody' is not hub:owner/name or hub:owner/name@revision"),
        ("owm", "no folder 'owm' (did you mean 'own'?)"),
        ("./nowhere", "no folder './nowhere' (looked for from"),
        ("[own]", "must be one line of text, not a list"),
    ],
)
def test_an_autoencoder_that_is_none_is_told(value, told):
    with pytest.raises(SuiteError) as caught:
        parse(HEAD + f"quality: {{samples: 2, vae: {value}}}", "s.yaml", CATALOG)
    (problem,) = caught.value.problems
    assert told in problem
