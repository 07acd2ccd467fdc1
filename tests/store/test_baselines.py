"""Baselines: only what passed everything, and readable or refused."""

from __future__ import annotations

import pytest
from fakes_runs import METHODS, PROVISIONAL, cell, failures, fake_run, gate, quality, record, timed

from ditbench.errors import StoreError, UsageError
from ditbench.records import Stage, Status
from ditbench.store import baseline_list, baseline_read, baseline_set

RUN = fake_run()


def test_mistake_30_a_baseline_takes_only_cells_that_passed_everything(tmp_path):
    out = baseline_set(RUN, "main", tmp_path, PROVISIONAL)
    assert {one.cell.attention.label: one.reason for one in out} == {
        "wrong-axis": "failed gate: is declared exact, but lies 1.02 from softmax in float64",
        "overflow": "not finite: 3.1% of the core's output is not finite",
        "oom": "out of memory: CUDA out of memory",
        "hang": "timeout: no answer within 1800 seconds",
        "crash": "crashed: segmentation fault (SIGSEGV)",
        "xformers": "unsupported: needs an NVIDIA GPU",
        "softmax": "excluded: out of memory, slow",
    }
    back = baseline_read("main", tmp_path)
    assert {one.cell.attention.label for one in back.records} == set(METHODS)


def test_a_cell_without_a_time_or_without_a_gate_is_left_out(tmp_path):
    untimed, ungated, good = cell("a"), cell("b"), cell("c")
    run = fake_run(gate(untimed), *timed(ungated, (0.1,)), gate(good), *timed(good, (0.1,)))
    reasons = {
        one.cell.attention.name: one.reason for one in baseline_set(run, "x", tmp_path, PROVISIONAL)
    }
    assert reasons == {"a": "it has no time", "b": "no gate has passed it"}


def test_mistake_30_a_cell_with_broken_pictures_is_left_out(tmp_path):
    of, good = cell("a"), cell("b")
    broken = record(
        of, Stage.QUALITY, status=Status.NOT_FINITE, reason="the latents are not finite"
    )
    run = fake_run(gate(of), *timed(of, (0.1,)), broken, gate(good), *timed(good, (0.1,)))
    (left,) = baseline_set(run, "x", tmp_path, PROVISIONAL)
    assert left.reason == "not finite: the latents are not finite"


def test_a_baseline_is_a_run_with_the_raw_values_of_its_records(tmp_path):
    baseline_set(RUN, "main", tmp_path, PROVISIONAL)
    back = baseline_read("main", tmp_path)
    good = {cell(label, batch).key for label in METHODS for batch in (1, 4)}
    pictures = {cell(label).quality_key for label in METHODS}
    expected = {one.key: one for one in RUN.records if one.key in good | pictures}
    assert {one.key for one in back.records} == set(expected)
    before = {(one.key, one.stage, one.replicate): one for one in RUN.records}
    for one in back.records:
        then = before[one.key, one.stage, one.replicate]
        assert one.metrics.keys() == then.metrics.keys()
        if one.stage is Stage.TIME:
            assert one.metrics["latency"] == pytest.approx(then.metrics["latency"], rel=1e-5)
        if one.stage is Stage.GATE:
            assert one.metrics == then.metrics
    assert (back.id, back.suite, back.code, back.gate) == (RUN.id, RUN.suite, RUN.code, RUN.gate)
    assert back.environment == RUN.environment
    assert back.finished


def test_a_baseline_can_be_made_from_a_baseline(tmp_path):
    baseline_set(RUN, "one", tmp_path, PROVISIONAL)
    assert baseline_set(baseline_read("one", tmp_path), "two", tmp_path, PROVISIONAL) == ()
    assert (tmp_path / "one.jsonl").read_text() == (tmp_path / "two.jsonl").read_text()


def test_mistake_35_the_order_of_a_run_leaves_no_trace_in_the_file(tmp_path):
    baseline_set(RUN, "one", tmp_path, PROVISIONAL)
    turned = fake_run(*reversed(RUN.records))
    baseline_set(turned, "two", tmp_path, PROVISIONAL)
    assert (tmp_path / "one.jsonl").read_text() == (tmp_path / "two.jsonl").read_text()


def test_shards_hold_nothing_to_judge_by_and_are_left_out(tmp_path):
    of = cell("softmax")
    shards = (record(of, Stage.SAMPLE, replicate=number) for number in range(3))
    run = fake_run(gate(of), *timed(of, (0.1,)), *shards, quality(of, 0.0))
    assert baseline_set(run, "x", tmp_path, PROVISIONAL) == ()
    stages = [one.stage for one in baseline_read("x", tmp_path).records]
    assert sorted(stages) == [Stage.GATE, Stage.QUALITY, Stage.TIME]


def test_a_cell_of_which_a_shard_failed_is_left_out(tmp_path):
    of, good = cell("a"), cell("b")
    lost = record(of, Stage.SAMPLE, status=Status.CRASHED, reason="SIGSEGV")
    run = fake_run(gate(of), *timed(of, (0.1,)), lost, gate(good), *timed(good, (0.1,)))
    (left,) = baseline_set(run, "x", tmp_path, PROVISIONAL)
    assert left.reason == "crashed: SIGSEGV"


def test_pictures_shared_by_two_cells_stand_once(tmp_path):
    small, large = cell("softmax", 1), cell("softmax", 4)
    shared = quality(small, 0.0)
    run = fake_run(gate(small), *timed(small, (0.1,)), gate(large), *timed(large, (0.4,)), shared)
    baseline_set(run, "x", tmp_path, PROVISIONAL)
    assert [one.stage for one in baseline_read("x", tmp_path).records].count(Stage.QUALITY) == 1


def test_a_run_with_nothing_to_accept_makes_no_baseline(tmp_path):
    with pytest.raises(StoreError) as told:
        baseline_set(fake_run(*failures()), "x", tmp_path, PROVISIONAL)
    assert str(told.value).startswith(f"run {RUN.id}: none of its 7 cells can stand in a baseline")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["none", "latest"])
def test_a_name_that_a_command_line_reads_otherwise_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="says something else to --baseline; choose another"):
        baseline_set(RUN, name, tmp_path, PROVISIONAL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="a name is letters"):
        baseline_set(RUN, name, tmp_path, PROVISIONAL)


@pytest.mark.parametrize(
    ("number", "line", "told"),
    [
        pytest.param(1, "{", "main.jsonl:1: is not JSON", id="head"),
        pytest.param(1, '{"schema": 1}', "main.jsonl:1: lacks 'run'", id="head without fields"),
        pytest.param(
            1,
            '{"schema": 5}',
            "main.jsonl:1: schema 5, but this ditbench reads up to 3",
            id="future",
        ),
        pytest.param(3, "{", "main.jsonl:3: is not JSON", id="record"),
        pytest.param(
            1,
            '{"schema": 1, "run": "x", "suite": "s", "suite_path": "", "started": "", "environment": {},'
            ' "gate": {}, "code": {}}',
            "main.jsonl:1: lacks 'version'",
            id="head of no code",
        ),
    ],
)
def test_mistake_34_a_baseline_with_an_unreadable_line_is_an_error(tmp_path, number, line, told):
    baseline_set(RUN, "main", tmp_path, PROVISIONAL)
    lines = (tmp_path / "main.jsonl").read_text().splitlines()
    lines[number - 1] = line
    (tmp_path / "main.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(StoreError) as error:
        baseline_read("main", tmp_path)
    assert told in str(error.value)
    (entry,) = baseline_list(tmp_path)
    assert told in entry.problem


def test_a_baseline_that_is_not_there_says_what_was_near_and_how_to_make_it(tmp_path):
    baseline_set(RUN, "main", tmp_path, PROVISIONAL)
    with pytest.raises(StoreError) as told:
        baseline_read("mian", tmp_path)
    assert str(told.value) == (
        f"{tmp_path / 'mian.jsonl'}: no such baseline (did you mean 'main'?); "
        "`ditbench baseline set mian RUN` makes one"
    )


def test_baselines_are_listed_and_read_by_path(tmp_path):
    baseline_set(RUN, "main", tmp_path, PROVISIONAL)
    (entry,) = baseline_list(tmp_path)
    assert (entry.name, entry.suite, entry.cells) == ("main", "fashion", 12)
    assert baseline_read(str(tmp_path / "main.jsonl")).id == RUN.id


EFFORT = {
    "timing": {"processes": 2},
    "quality": {"samples": 48},
    "metrics": ["latency", "macs", "latent_drift", "frechet"],
}


def refusals(tmp_path, *records, **effort):
    """Why cells of a run that asked for so much are left out, by method; a good cell is always there."""
    of = cell("good")
    good = (gate(of), *timed(of, (0.1,), (0.1,)), quality(of, 0.1))
    run = fake_run(*records, *good, effort=EFFORT | effort)
    return {
        one.cell.attention.name: one.reason for one in baseline_set(run, "x", tmp_path, PROVISIONAL)
    }


def test_a_cell_with_missing_replicates_is_left_out_and_says_how_many_it_has(tmp_path):
    of = cell("a")
    told = refusals(tmp_path, gate(of), *timed(of, (0.1,)), quality(of, 0.1))
    assert told == {"a": "1 of 2 processes were timed"}


def test_a_cell_without_the_pictures_that_the_suite_asked_for_is_left_out(tmp_path):
    of = cell("a")
    records = (gate(of), *timed(of, (0.1,), (0.1,)))
    assert refusals(tmp_path, *records) == {"a": "it has no pictures"}
    assert refusals(tmp_path, *records, quality={"samples": 0}) == {}
    assert refusals(tmp_path, *records, metrics=["latency", "of tomorrow"]) == {}


def test_a_suite_that_asked_for_no_time_needs_none(tmp_path):
    assert refusals(tmp_path, gate(cell("a")), metrics=["macs"]) == {}


def test_a_largest_batch_that_was_not_found_is_left_out(tmp_path):
    asked, found = cell("a", batch_size=0), cell("b", batch_size=0)
    fitted = record(found, Stage.FIT, metrics={"largest_batch": (8.0,)})
    gates = (record(asked, Stage.GATE), record(found, Stage.GATE))
    told = refusals(tmp_path, *gates, fitted)
    assert told == {"a": "its largest batch was not found"}


def test_in_a_run_that_kept_no_effort_the_best_cell_shows_how_many_replicates_there_were(tmp_path):
    one, three = cell("a"), cell("b")
    run = fake_run(
        gate(one), *timed(one, (0.1,)), gate(three), *timed(three, (0.1,), (0.1,), (0.1,))
    )
    (left,) = baseline_set(run, "x", tmp_path, PROVISIONAL)
    assert (left.cell, left.reason) == (one, "1 of 3 processes were timed")


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (
            {"problems": ("records:3: is not JSON", "records:9: torn")},
            "cannot become a baseline: records:3: is not JSON; records:9: torn; measure again",
        ),
        (
            {"finished": False},
            "cannot become a baseline: it did not come to its end; go on with --resume",
        ),
    ],
)
def test_mistake_30_a_run_that_was_damaged_or_cut_off_is_no_baseline(tmp_path, parts, told):
    with pytest.raises(StoreError) as error:
        baseline_set(fake_run(**parts), "x", tmp_path, PROVISIONAL)
    assert str(error.value) == f"run {RUN.id} {told}"
    assert list(tmp_path.iterdir()) == []


def test_a_baseline_that_is_overwritten_keeps_its_lines_where_they_were(tmp_path):
    old, new = cell("b"), cell("a")
    kept = (gate(old), *timed(old, (0.1,)))
    baseline_set(fake_run(*kept, id="20260101-000000-aaaa"), "x", tmp_path, PROVISIONAL)
    before = (tmp_path / "x.jsonl").read_text().splitlines()
    added = (gate(new), *timed(new, (0.1,)))
    baseline_set(
        fake_run(*added[::-1], *kept[::-1], id="20260102-000000-aaaa"), "x", tmp_path, PROVISIONAL
    )
    after = (tmp_path / "x.jsonl").read_text().splitlines()
    assert [line for line in after if line in before[1:]] == before[1:]
    assert len(after) == len(before) + 1
