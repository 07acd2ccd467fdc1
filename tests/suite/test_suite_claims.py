"""Claims know their cell from the suite alone, and `quick` says its mistakes by their own place."""

import pytest
from catalogs import CATALOG

from ditbench.errors import SuiteError
from ditbench.suite.parse import parse

HEAD = """name: x
model: [large, small]
attention: [sdpa, monarch: {num_steps: [1, 3]}]
blocks: [all, first-half]
batch_size: [max, 4]
steps: [7, 9]
sampling: {guidance_scale: [2, 1]}
metrics: [macs]
"""
CLAIM = "claims: [{metric: macs, value: 1, tolerance: 1%, source: x, WHERE}]\n"
FLOOR = "claims: [{metric: speedup, at_least: 3, source: x}]\n"
QUICK = """quick:
  model: small
  weights: embedded
  attention: [softmax, monarch: {block_size: [4, 8]}]
  batch_size: 1
  sampling: {seed: 3}
"""


def suite(text="", *, quick=False, **overrides):
    given = {axis.replace("__", "."): value for axis, value in overrides.items()}
    return parse(HEAD + text, "s.yaml", CATALOG, given, quick=quick)


def claim(where, text="", **options):
    (found,) = suite(text + CLAIM.replace("WHERE", where), **options).claims
    return found


def test_what_a_counted_claim_does_not_name_is_the_suites_first_value():
    cell = claim("per: step").cell
    assert (cell.model.name, cell.attention.name, cell.batch_size) == ("large", "sdpa", 4)
    assert (cell.steps, cell.sampling.guidance_scale, len(cell.blocks)) == (7, 2, 28)


def test_what_a_counted_claim_names_need_be_in_no_matrix():
    where = (
        "attention: {monarch: {block_size: 8}}, model: small, guidance: off, blocks: second-half"
    )
    cell = claim(where).cell
    assert dict(cell.attention.settings) == {"block_size": 8, "num_steps": 3}
    assert (cell.sampling.guidance_scale, cell.blocks) == (1, (3, 4, 5))
    assert claim("attention: monarch").cell.attention["num_steps"] == 1  # the suite's first of it
    assert claim("attention: monarch, model: {name: dit, depth: 2}").cell.weights == "random"


def test_a_ratio_knows_the_cell_on_its_other_side():
    found = claim("attention: monarch, blocks: first-half, against: softmax")
    assert (len(found.cell.blocks), found.cell.attention.name) == (14, "monarch")
    assert (len(found.other.blocks), found.other.attention.name) == (28, "softmax")
    halved = claim("attention: monarch, guidance: off, against: {attention: softmax, guidance: on}")
    assert (halved.cell.rows, halved.other.rows) == (4, 8)


def test_a_claim_of_what_needs_something_or_is_timed_has_no_cell_of_its_own():
    assert claim("needs: weights").cell is None
    timed = CLAIM.replace("metric: macs", "metric: speedup").replace("WHERE", "against: sdpa")
    assert suite(timed).claims[0].cell is None


def test_a_claim_may_be_a_bound_from_below_in_place_of_value_and_tolerance():
    (found,) = suite(FLOOR).claims
    assert (found.value, found.tolerance, found.at_least) == (3, 0, True)
    assert not claim("per: step").at_least


@pytest.mark.parametrize(
    "name", ["fid_50k", "sfid_50k@softmax", "fd_net_64@dataset", "frechet", "clip_score"]
)
def test_a_published_distance_may_be_one_that_is_not_measured_here(name):
    claims = CLAIM.replace("metric: macs", f"metric: {name}").replace("WHERE", "needs: weights")
    assert suite(claims).claims[0].metric == name


def test_quick_replaces_axes_and_never_what_a_counted_claim_is_about():
    short = suite(QUICK, quick=True)
    assert [model.name for model in short.models] == ["small"]
    assert [one.name for one in short.attentions] == ["softmax", "monarch", "monarch"]
    assert (short.weights, short.batch_sizes, short.steps) == (("embedded",), (1,), (7, 9))
    assert {(one.guidance_scale, one.seed) for one in short.samplings} == {(2, 3), (1, 3)}
    assert set(short.shortened) == {"model", "weights", "attention", "batch_size", "sampling.seed"}
    assert claim("per: step", QUICK, quick=True).cell == claim("per: step", QUICK).cell
    assert suite(QUICK).models == suite().models


def test_set_still_wins_over_quick():
    short = suite(QUICK, quick=True, batch_size="2", sampling__seed="5")
    assert (short.batch_sizes, {one.seed for one in short.samplings}) == ((2,), {5})
    assert set(short.shortened) == {"model", "weights", "attention"}


def test_a_timed_claim_speaks_of_the_suites_own_axes_where_quick_has_others():
    timed = CLAIM.replace("metric: macs", "metric: latency").replace("WHERE", "guidance: on")
    assert dict(suite(QUICK + timed).claims[0].where) == {"guidance": True}
    pinned = dict(suite(QUICK + timed, quick=True).claims[0].where)
    assert (pinned["model"], pinned["weights"], pinned["seed"]) == ("large", "random", 0)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("quick: {model: smal}", "9:16: quick.model: unknown model 'smal' (did you mean 'small'?)"),
        ("quick: {timing: {}}", "9:9: quick: unknown key 'timing'"),
        ("quick: 3", "9:8: quick: must be a mapping, not 3"),
        ("quick: {model: small, blocks: 0-20}", "9:31: quick.blocks: no block 20 in a model of"),
        ("quick: {quality: {samples: -1}}", "9:28: quick.quality.samples: must be a whole number"),
        (
            CLAIM.replace("WHERE", "attention: monarch, model: small, blocks: 8"),
            "9:95: claims[0]: no block 8 in a model of depth 6",
        ),
        (
            CLAIM.replace("WHERE", "against: {attention: softmx}"),
            "9:82: claims[0].against.attention: unknown attention method 'softmx'",
        ),
        (FLOOR.replace("at_least: 3", "value: 3"), "9:10: claims[0]: 'tolerance' is missing"),
        (FLOOR.replace("x}", "x, value: 3}"), "9:52: claims[0]: value and at_least: give one"),
        (FLOOR.replace("3", "much"), "9:38: claims[0].at_least: must be a number"),
        (CLAIM.replace("metric: macs", "metric: macz").replace("WHERE", "per: step"), "9:19:"),
    ],
)
def test_mistakes_in_quick_and_claims_are_told_by_place_once_and_without_quick_too(line, told):
    for quick in (False, True):
        with pytest.raises(SuiteError) as refusal:
            suite(line, quick=quick)
        (problem,) = refusal.value.problems
        assert problem.startswith(f"s.yaml:{told}"), problem
