"""Claims about counts are answered by what was counted; all others by what ran, or by the reason why not."""

import re
from dataclasses import replace

import pytest
from fakes_runs import ENVIRONMENT, cell, fake_run, gate, good_records, record, searched

from ditbench.records import Stage, Status
from ditbench.report import words
from ditbench.summary import summarise

MONARCH, SOFTMAX = cell("monarch", 64), cell("softmax", 64)


def count(of, core, **parts):
    metrics = {"macs": (4 * core,), "core_macs": (core,), "macs_shared_embedder": (4 * core,)}
    return record(of, Stage.COUNT, metrics=metrics, **{"facts": {"exact": False}, **parts})


def claim(**parts):
    plain = {"metric": "core_macs", "value": 5.0, "tolerance": 0.0, "source": "a paper"}
    return plain | {"per": "step", "where": {}, "cell": MONARCH.key} | parts


def answered(asked, *counts, records=(), **run):
    found = summarise(fake_run(*(records or good_records()), *counts, claims=(asked,), **run))
    return found.claims


@pytest.mark.parametrize(
    ("asked", "measured"),
    [
        pytest.param(claim(), 600.0, id="a step"),
        pytest.param(claim(per="block"), 100.0, id="of six blocks one"),
        pytest.param(claim(per="image"), 600 * 20 / 64, id="of twenty steps, of 64 pictures one"),
        pytest.param(claim(metric="flops"), 4800.0, id="derived"),
        pytest.param(claim(metric="core_share"), 0.25, id="a share"),
        pytest.param(claim(metric="core_ceiling"), 4 / 3, id="a ceiling"),
        pytest.param(claim(other=SOFTMAX.key, against={"attention": "softmax"}), 1.5, id="a ratio"),
    ],
)
def test_a_claim_about_a_count_is_answered_by_the_counted_cell(asked, measured):
    counts = count(MONARCH, 600.0), count(SOFTMAX, 400.0)
    (found,) = answered(asked | {"value": measured}, *counts)
    assert (found.measured, str(found.verdict), found.cell) == (measured, "reproduced", MONARCH)
    assert found.how == "counted, not run"


def test_a_cell_that_ran_is_not_said_to_be_only_counted():
    ran = cell("monarch")
    (found,) = answered(claim(cell=ran.key), count(ran, 5.0))
    assert (found.said, found.measured) == ("reproduced", 5.0)


def test_a_count_that_failed_or_is_missing_says_so():
    failed = count(MONARCH, 1.0, status=Status.FAILED_GATE, reason="declares 7, 8 counted")
    assert answered(claim(), failed)[0].why == "failed gate: declares 7, 8 counted"
    assert answered(claim())[0].why == "the run ended before it was counted"
    (unknown,) = answered(claim(metric="parameters"), count(MONARCH, 1.0))
    assert unknown.why == "parameters does not follow from these shapes"


def test_a_claim_without_a_cell_says_what_it_is_about():
    where = {
        "attention": "monarch",
        "attention.num_steps": 3,
        "model": "dit-xl/2",
        "guidance": True,
    }
    (found,) = answered(claim(cell="", needs="the weights", where=where))
    assert found.about == "monarch[num_steps=3], dit-xl/2, guidance on"


def test_what_a_claim_needs_comes_before_any_measurement():
    (found,) = answered(claim(cell="", needs="the weights"), count(MONARCH, 5.0))
    assert (found.said, found.measured) == ("not measured: needs the weights", None)


def timed(**parts):
    plain = {"metric": "speedup", "cell": "", "tolerance": 0.2, "value": 1.8}
    return claim(**plain | {"where": {"attention": "monarch", "batch_size": 1}} | parts)


def test_a_speed_up_is_claimed_against_the_method_that_the_paper_had():
    against = {"against": {"attention": "softmax"}}
    found = answered(timed(**against, where={"attention": "monarch", "attention.block_size": 16}))
    assert [one.cell.batch_size for one in found] == [1, 4]
    assert [one.measured for one in found] == [pytest.approx(1.8, rel=0.1)] * 2
    assert found[0].title == "speedup against softmax"
    fastest = answered(timed())[0]  # without a name: the fastest exact method of the run
    assert fastest.measured == pytest.approx(60 / 55, rel=0.1)


@pytest.mark.parametrize(
    ("floor", "verdict"), [(1.2, "reproduced"), (0.01, "reproduced"), (2.5, "contradicted")]
)
def test_a_bound_from_below_is_reproduced_by_any_figure_that_reaches_it(floor, verdict):
    against = {"attention": "softmax"}
    asked = timed(value=floor, tolerance=0.0, at_least=True, against=against)
    found = answered(asked)[0]
    assert (str(found.verdict), found.at_least) == (verdict, True)
    assert words.published(found) == f"at least {words.factor(floor)}"
    assert not words.published(answered(timed())[0]).startswith("at least")


def test_a_speed_up_on_another_machine_contradicts_nothing():
    (found, *_) = answered(timed(on="A40", value=1.2))
    assert found.said == "not comparable: published for A40, measured on Some CPU"


@pytest.mark.parametrize(
    ("gpu", "verdict"),
    [
        ("Tesla T4", "contradicted"),
        ("NVIDIA T400 4GB", "not comparable"),
        ("GT4", "not comparable"),
    ],
)
def test_a_machine_is_named_by_a_whole_word(gpu, verdict):
    (found, *_) = answered(
        timed(on="T4", value=9.0), environment=replace(ENVIRONMENT, facts={"gpu": gpu})
    )
    assert str(found.verdict) == verdict


def test_mistake_20_a_published_speed_up_beyond_bound_and_ceiling_is_told_so_whatever_ran():
    counts = count(MONARCH, 600.0)
    attention = {"attention_macs": (800.0,), "macs_shared_embedder": (2400.0,)}
    counts = replace(counts, metrics={**counts.metrics, **attention})
    against = {"attention": "softmax"}
    (found, *_) = answered(timed(value=4.63, against=against), counts)
    assert str(found.verdict) == "contradicted"
    beyond = (
        r"4\.63 is more than the 2\.2\d measured with identity, which has no core, and the MAC ceiling "
        r"of 1\.50 for a module that is free"
    )
    assert re.fullmatch(beyond, found.why)
    missing = timed(value=4.63, against=against, where={"attention": "xformers"})
    (absent,) = answered(missing, counts)
    assert re.fullmatch(f"no cell of this run is of that kind; {beyond}", absent.why)
    (modest, *_) = answered(timed(value=1.2, against=against), counts)
    assert modest.why == ""


def test_what_quick_put_in_its_place_is_named():
    effort = {"quick": ["model", "batch_size"]}
    (model,) = answered(timed(where={"model": "dit-xl/2-256"}), effort=effort)
    assert model.why == "--quick ran fashion-dit in its place"
    (batch,) = answered(timed(where={"batch_size": 50}), effort=effort)
    assert batch.why == "--quick ran batch size 1, 4 in its place"
    (other,) = answered(timed(where={"batch_size": 50}), selected="monarch")
    assert other.why == "-k monarch leaves no cell of that kind"


def test_a_ratio_without_its_other_side_says_so():
    (found, *_) = answered(timed(against={"attention": "sage"}))
    assert found.why == "the run did not measure both sides of the ratio"


def test_an_approximation_dearer_than_softmax_is_told_in_words():
    half = cell("monarch", blocks=(0, 1, 2), blocks_label="first-half")
    counts = (
        count(replace(SOFTMAX, batch_size=1), 600.0, facts={"exact": True}),
        count(half, 768.0),  # three blocks of 156, three of 100
        count(cell("nystromformer"), 590.0),
    )
    run = fake_run(gate(cell("crash")), *counts, planned=(), claims=())
    (told,) = summarise(run).notes[-1:]
    assert told == (
        "monarch costs more multiply-adds than the softmax that it approximates: its core 1.56 times "
        "as many, on fashion-dit."
    )
    assert not any("nystromformer" in note for note in summarise(run).notes)


def test_a_suite_of_counts_has_rows_from_counts_and_others_never():
    counts = count(MONARCH, 600.0), *searched("softmax")
    effort = {"metrics": ["core_macs"]}
    told = summarise(fake_run(*counts, effort=effort, claims=()))
    assert told.notes[0].startswith("No network ran")
    row = told.rows[0]
    assert (row.status, row.estimates["core_macs"].value) == (Status.OK, 600.0)
    (row, *_) = summarise(fake_run(*counts, claims=())).rows
    assert (row.status, row.recorded) == (Status.NOT_RUN, False)


def test_a_share_of_reuse_that_no_shape_tells_is_that_of_the_run():
    """Where a method looks at what it computes, what its own cell did stands in for the count."""
    ran = cell("monarch")
    asked = claim(metric="reuse_ratio", cell=ran.key, value=0.25)
    records = [
        replace(one, metrics={**one.metrics, "reuse_ratio": (0.25,)})
        if one.stage is Stage.GATE and one.key == ran.key
        else one
        for one in good_records()
    ]
    (found,) = answered(asked, count(ran, 5.0), records=records)
    assert (found.said, found.measured) == ("reproduced", 0.25)
    (counted,) = answered(
        asked, record(ran, Stage.COUNT, metrics={"reuse_ratio": (0.5,)}), records=records
    )
    assert (str(counted.verdict), counted.measured) == ("contradicted", 0.5)
    assert MONARCH.key != ran.key
    (neither,) = answered(claim(metric="reuse_ratio"), count(MONARCH, 5.0))
    assert neither.why == "reuse ratio does not follow from these shapes"
