"""Verbs on results that are there already: what was concluded stays concluded, what cannot go on says why."""

from __future__ import annotations

import contextlib
import json
import shutil

import pytest
from fakes_runs import PROVISIONAL, cell, fake_run, gate, timed

from ditbench import cli
from ditbench.cli import output, running
from ditbench.cli.measuring import check_same
from ditbench.compare import compare
from ditbench.environment import Environment
from ditbench.errors import StoreError, UsageError
from ditbench.store import Against, RunWriter, baseline_set, read, write_verdict
from ditbench.summary import summarise

EFFORT = {
    "timing": {"warmup": 3, "repeats": 20},
    "quality": {"samples": 48, "reference": ["softmax"]},
    "metrics": ["latency", "macs"],
}


def records(seconds=0.1):
    return gate(cell(), exact=True), *timed(cell(), (seconds,) * 5, (seconds,) * 5)


def written(results, seconds=0.1, *, finish=True, **parts):
    with RunWriter.create(results, fake_run(*records(seconds), **parts)) as writer:
        for one in records(seconds):
            writer.append(one)
        if finish:
            writer.finish()
    return read(writer.folder)


@pytest.fixture
def ditbench(tmp_path, capsys):
    """Run a verb on results and baselines of this test; exit code, stdout and stderr."""

    def ditbench(*arguments):
        places = ["--out", str(tmp_path / "results"), "--baselines", str(tmp_path / "baselines")]
        code = cli.main([*arguments, *places])
        told = capsys.readouterr()
        return code, told.out, told.err

    return ditbench


@pytest.fixture
def night(tmp_path, ditbench, monkeypatch):
    """`run`, which here takes no time: the run that it measured, exit code and stderr."""

    @contextlib.contextmanager
    def session(_):
        yield None, (None,)

    monkeypatch.setattr(running, "session_of", session)
    monkeypatch.setattr(running, "judged_plan_of", lambda *_: None)

    def night(*arguments, meanwhile=lambda: None):
        made = []

        def measure(*_, **_more):
            meanwhile()
            made.append(written(tmp_path / "results"))
            return made[0].folder

        monkeypatch.setattr(running, "measure", measure)
        code, _, told = ditbench("run", "suite.yaml", *arguments)
        return *made, code, told

    return night


def verdict(run):
    return json.loads((run.folder / "verdict.json").read_text())


def test_a_report_is_rendered_again_with_the_baseline_that_the_run_was_concluded_with(
    tmp_path, ditbench
):
    results, baselines = tmp_path / "results", tmp_path / "baselines"
    baseline_set(written(results), "main", baselines, PROVISIONAL)
    run = written(results, 0.2)
    assert ditbench("report", run.id, "--baseline", "main")[0] == 0
    first = verdict(run)
    assert first["against"] == {
        "name": "main",
        "run": read(min(results.glob("*/*"))).id,
        "required": False,
    }
    assert {one["metric"] for one in first["findings"]} >= {"latency"}
    code, _, told = ditbench("report", run.id)
    assert (code, told) == (0, "")
    assert verdict(run) == first
    assert "baseline main" in (run.folder / "report.md").read_text()


def test_a_run_is_remembered_by_its_whole_id_and_not_as_latest(tmp_path, ditbench):
    first, second = written(tmp_path / "results"), written(tmp_path / "results", 0.2)
    ditbench("report", first.id, "--baseline", "latest")
    assert verdict(first)["against"]["name"] == second.id


def test_a_night_is_compared_with_a_run_that_lies_in_another_folder_and_so_is_its_report(
    tmp_path, night, ditbench, monkeypatch
):
    there = written(tmp_path / "elsewhere", 0.2)
    monkeypatch.chdir(tmp_path)
    run, code, told = night("--baseline", str(there.folder.relative_to(tmp_path)))
    assert (code, told) == (0, "")
    before = verdict(run)
    assert before["against"] == {"name": str(there.folder), "run": there.id, "required": True}
    assert f"run {there.id}" in (run.folder / "report.md").read_text()
    assert "baseline /" not in (run.folder / "report.md").read_text()
    monkeypatch.chdir("/")
    assert ditbench("report", run.id)[::2] == (0, "")
    assert verdict(run) == before


def test_a_baseline_that_is_removed_during_the_night_costs_no_page(tmp_path, night):
    before = written(tmp_path / "results", 0.2)
    run, code, _ = night("--baseline", before.id, meanwhile=lambda: shutil.rmtree(before.folder))
    assert (code, verdict(run)["against"]["name"]) == (0, before.id)
    assert (run.folder / "report.html").exists()


def test_a_night_without_a_baseline_survives_a_run_that_cannot_be_read(tmp_path, night):
    odd = written(tmp_path / "results")
    (odd.folder / "records.jsonl").unlink()
    (odd.folder / "records.jsonl").mkdir()
    run, code, told = night()
    assert (code, verdict(run)["against"]["name"]) == (0, "")
    assert told == (
        "ditbench: earlier runs that cannot be read and are left out: 1; the first, "
        f"{odd.folder / 'records.jsonl'}: is no file\n"
    )


def test_a_run_before_it_that_goes_while_it_is_read_is_told_and_costs_no_page(
    tmp_path, night, monkeypatch
):
    before = written(tmp_path / "results")

    def gone(*_):
        raise StoreError(f"{before.folder}: is gone")

    monkeypatch.setattr("ditbench.cli.concluding.previous", gone)
    run, code, told = night()
    assert (code, told) == (0, f"ditbench: compared with nothing: {before.folder}: is gone\n")
    assert (run.folder / "report.html").exists()


def test_a_run_is_never_compared_with_itself(tmp_path, night, ditbench):
    run = written(tmp_path / "results")
    shutil.copytree(run.folder, run.folder.with_name("copy"))
    itself = f"is run {run.id} itself, which differs from itself in nothing; name another\n"
    for arguments in (
        ("compare", run.id, run.id),
        ("compare", "copy", run.id),
        ("report", run.id, "--baseline", run.id),
    ):
        code, _, told = ditbench(*arguments)
        assert (code, told.endswith(itself)) == (2, True)
    assert night("--resume", run.id, "--baseline", run.id) == (2, f"ditbench: {run.id}: {itself}")
    baseline_set(run, "main", tmp_path / "baselines", PROVISIONAL)
    assert ditbench("compare", "main", run.id)[0] == 0


def test_a_required_baseline_stays_required_when_the_report_names_it_again(tmp_path, ditbench):
    results, baselines = tmp_path / "results", tmp_path / "baselines"
    run = written(results)
    other = Environment({"device": "cpu", "processor": "another"})
    for name in ("main", "other"):
        baseline_set(written(results, environment=other), name, baselines, PROVISIONAL)
    against = Against("main", read(run.folder).id, required=True)
    write_verdict(run.folder, [], {7}, against)
    assert ditbench("report", run.id, "--baseline", "main")[0] == 0
    assert (verdict(run)["exit_code"], verdict(run)["against"]["required"]) == (7, True)
    assert ditbench("report", run.id, "--baseline", "other")[0] == 0
    assert (verdict(run)["exit_code"], verdict(run)["against"]["required"]) == (0, False)


@pytest.mark.parametrize("against", [{"name": 5, "run": "", "required": False}, {"nam": ""}, [], 3])
def test_a_verdict_of_a_wrong_shape_is_one_line_and_can_be_written_anew(
    tmp_path, ditbench, against
):
    run = written(tmp_path / "results")
    path = run.folder / "verdict.json"
    path.write_text(json.dumps({"against": against}))
    code, _, told = ditbench("report", run.id)
    assert (code, len(told.splitlines())) == (2, 1)
    assert told.startswith(f"ditbench: {path}:1: ")
    assert ditbench("report", run.id, "--baseline", "none")[0] == 0
    assert verdict(run)["against"]["name"] == ""


def test_a_report_without_a_comparison_says_so(tmp_path, ditbench):
    run = written(tmp_path / "results")
    ditbench("report", run.id, "--baseline", "none")
    code, _, told = ditbench("report", run.id)
    assert code == 0
    assert told == (
        f"ditbench: run {run.id} was compared with nothing; --baseline names something\n"
    )


def test_a_run_that_does_not_say_what_it_was_compared_with_takes_the_one_before_and_says_so(
    tmp_path, ditbench
):
    first, second = written(tmp_path / "results"), written(tmp_path / "results", 0.2)
    code, _, told = ditbench("report", second.id)
    assert code == 0
    assert told == (
        f"ditbench: run {second.id} does not say what it was compared with: "
        f"compared with run {first.id}, the one before it\n"
    )
    assert verdict(second)["against"]["name"] == first.id


def test_a_baseline_that_is_gone_is_one_line_with_the_way_out(tmp_path, ditbench):
    run = written(tmp_path / "results")
    baseline_set(run, "main", tmp_path / "baselines", PROVISIONAL)
    ditbench("report", run.id, "--baseline", "main")
    (tmp_path / "baselines" / "main.jsonl").unlink()
    before = verdict(run)
    code, _, told = ditbench("report", run.id)
    assert code == 2
    assert told.startswith(
        f"ditbench: run {run.id} was compared with baseline main, which is not to be had any more ("
    )
    assert told.endswith("name something else with --baseline, or --baseline none\n")
    assert verdict(run) == before


def test_a_baseline_that_was_set_anew_since_is_told(tmp_path, ditbench):
    results, baselines = tmp_path / "results", tmp_path / "baselines"
    first, second = written(results), written(results, 0.2)
    baseline_set(first, "main", baselines, PROVISIONAL)
    ditbench("report", second.id, "--baseline", "main")
    baseline_set(second, "main", baselines, PROVISIONAL)
    told = ditbench("report", second.id)[2]
    assert told == (
        f"ditbench: baseline main was of run {first.id} then, and is of run {second.id} now\n"
    )


def test_a_report_into_another_folder_leaves_the_runs_verdict_alone(tmp_path, ditbench):
    run = written(tmp_path / "results")
    ditbench("report", run.id, "--baseline", "none", "--to", str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / "report.html").exists()
    assert not (run.folder / "verdict.json").exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"effort": EFFORT | {"timing": {"warmup": 3, "repeats": 9}}}, "timing.repeats: 20 -> 9"),
        (
            {"effort": EFFORT | {"quality": {"samples": 8, "reference": ["softmax", "dataset"]}}},
            "quality.samples: 48 -> 8; quality.reference: [softmax] -> [softmax, dataset]",
        ),
        ({"effort": EFFORT | {"metrics": ["macs"]}}, "metrics: [latency, macs] -> [macs]"),
        (
            {"code": {"version": "0.1.0", "commit": "ffff", "dirty": True}},
            "commit: 0123abcd -> ffff; dirty: False -> True",
        ),
        ({"environment": Environment({"device": "cpu", "torch": "3"})}, "torch: 2.13.0 -> 3"),
    ],
)
def test_a_run_never_goes_on_with_another_effort_code_or_machine(changed, told):
    earlier = fake_run(*records(), effort=EFFORT)
    check_same(earlier, fake_run(*records(), effort=EFFORT))
    with pytest.raises(UsageError) as error:
        check_same(earlier, fake_run(*records(), **({"effort": EFFORT} | changed)))
    assert str(error.value).startswith(
        f"--resume {earlier.id}: that run did not measure like this: "
    )
    assert told in str(error.value)
    assert str(error.value).endswith("; go back to what it had, or start another run")


def test_a_run_of_schema_1_cannot_go_on_because_it_kept_no_effort():
    with pytest.raises(UsageError, match=r"timing\.repeats: not given -> 20"):
        check_same(fake_run(*records()), fake_run(*records(), effort=EFFORT))


def test_a_run_never_goes_on_with_other_cells():
    with pytest.raises(UsageError, match="plans other cells than that run did; give the suite, -k"):
        check_same(fake_run(*records()), fake_run(gate(cell("sdpa"))))


@pytest.mark.parametrize(
    "shown", [["show", "latest", "--out"], ["baseline", "show", "main", "--baselines"]]
)
def test_what_only_shows_figures_invents_no_comparison_and_no_exit_code(
    tmp_path, ditbench, capsys, shown
):
    results, baselines = tmp_path / "results", tmp_path / "baselines"
    baseline_set(written(results), "main", baselines, PROVISIONAL)
    ditbench("report", written(results, 0.2).id, "--baseline", "main")
    place = results if shown[0] == "show" else baselines
    assert cli.main([*shown, str(place)]) == 0
    told = capsys.readouterr().out
    assert "softmax" in told
    assert "exit code" not in told
    assert "compared" not in told


def test_mistake_33_the_terminal_never_calls_a_slower_run_fine(tmp_path, capsys):
    fast, slow = written(tmp_path / "results"), written(tmp_path / "results", 5.0)
    for against, said in ((fast, "figures moved, unconfirmed"), (slow, "fine")):
        output.show_summary(slow, summarise(slow), compare(slow, against, "main", required=True))
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith("exit code of the run: 0, ")
        assert last.endswith(said)


def of_schema_1(run):
    """The run as ditbench 0.1 left it, its verdict too, which did not say what it was compared with."""

    def old(text):
        plain = {name: value for name, value in json.loads(text).items() if name != "sum"}
        since = ("effort", "written", "origins", "selected", "stopped", "against")
        return json.dumps({k: v for k, v in plain.items() if k not in since} | {"schema": 1})

    records = run.folder / "records.jsonl"
    records.write_text("".join(old(line) + "\n" for line in records.read_text().splitlines()))
    for name in ("run.json", "verdict.json"):
        (run.folder / name).write_text(old((run.folder / name).read_text()))


@pytest.mark.parametrize("lifted", [False, True])
def test_a_run_of_schema_1_is_rendered_again_and_its_verdict_says_the_same(
    tmp_path, ditbench, lifted
):
    first, second = written(tmp_path / "results"), written(tmp_path / "results", 0.2)
    ditbench("report", second.id, "--baseline", first.id)
    before = verdict(second)
    of_schema_1(second)
    if lifted:
        assert cli.main(["migrate", str(second.folder)]) == 0
    code, _, told = ditbench("report", second.id)
    assert code == 0, told
    after = verdict(second)
    assert after["findings"] == before["findings"]
    assert after == before
    assert "does not say what it was compared with" in told
