"""Every exit code of DESIGN's table, through the command line; and the reports, which come before it.

What a night measured is made by hand here, so that each code is reached for the one reason that a test names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes_runs import METHODS, cell, fake_run, gate, quality, record, timed
from fakes_sessions import abba, session

from ditbench import cli, errors, store
from ditbench.cli import failing, running
from ditbench.cli.concluding import CONFIRMATION
from ditbench.environment import Environment
from ditbench.records import Record, Stage, Status
from ditbench.run.interrupts import InterruptedRunError

REPORTS = ("report.html", "report.md", "verdict.json")
FIVE = 5
SLOWER = 1.10


def evenly(label, seconds, **facts):
    """A cell whose processes hardly differ."""
    times = tuple((seconds * (1 + n / 10_000),) * 4 for n in range(FIVE))
    rows = timed(cell(label), *times)
    return (
        gate(cell(label), METHODS[label][3], exact=METHODS[label][5]),
        *(dataclasses.replace(one, facts={**one.facts, **facts}) for one in rows),
    )


SOFTMAX, MONARCH = evenly("softmax", 0.1), evenly("monarch", 0.05)
GOOD = (*SOFTMAX, *MONARCH, quality(cell("monarch"), 0.12))
SLOW_SOFTMAX = (*evenly("softmax", 0.1 * SLOWER), *MONARCH, quality(cell("monarch"), 0.12))
WORSE_PICTURES = (*SOFTMAX, *MONARCH, quality(cell("monarch"), 0.30))
CRASHED = record(cell("sdpa"), Stage.GATE, status=Status.CRASHED, reason="segmentation fault")
# Half of all that the processor did was another's.
UNFIT = {"telemetry": {"samples": 20, "foreign_share": 0.5}}


def confirming(label="softmax", slower=SLOWER):
    """A session in which B is slower, in every process."""
    base = tuple(0.1 * (1 + n / 10_000) for n in range(FIVE))
    return session(*abba(cell(label), base, tuple(slower * one for one in base)))


@dataclass(frozen=True)
class Night:
    """What ditbench ended with, and the run that it left."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def verdict(self) -> dict:
        return json.loads((self.folder / "verdict.json").read_text())

    def told(self, code: int) -> None:
        """The code, alone or first of several, in all reports, which are there."""
        assert self.code == code, f"{self.out}\n{self.err}"
        assert [name for name in REPORTS if not (self.folder / name).is_file()] == []
        assert self.verdict["exit_code"] == code
        assert code in {*self.verdict["exit_codes"], errors.OK}
        head = (self.folder / "report.md").read_text().splitlines()[0]
        assert head.endswith(f"(exit code {code})")
        assert self.out.splitlines()[-1] == str(self.folder / "report.html")
        assert "Traceback" not in self.err

    def left(self, code: int, records: int = len(GOOD)) -> None:
        """The code of a run that was not concluded: what had ended is there, with its pages."""
        assert self.code == code, f"{self.out}\n{self.err}"
        assert [name for name in REPORTS if not (self.folder / name).is_file()] == []
        assert self.out.splitlines()[-1] == str(self.folder / "report.html")
        assert len(store.read(self.folder).records) == records


@dataclass
class Bench:
    """A folder with a baseline, and nights whose measuring takes no time."""

    home: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture
    accepted: str = ""

    def written(self, records: tuple[Record, ...], **parts) -> store.Run:
        with store.RunWriter.create(self.home / "results", fake_run(*records, **parts)) as writer:
            for one in records:
                writer.append(one)
            if parts.get("finished", True):
                writer.finish()
        return store.read(writer.folder)

    def baseline(self, *records: Record, **parts) -> None:
        run = fake_run(*records, effort={"timing": {"processes": FIVE}}, **parts)
        folder = self.home / "accepted"
        with store.RunWriter.create(folder, run) as writer:
            for one in records:
                writer.append(one)
            writer.finish()
        assert self.ditbench("baseline", "set", "main", str(writer.folder))[0] == 0
        self.accepted = writer.run.id

    def ditbench(self, *arguments: str) -> tuple[int, str, str]:
        places = ("--out", str(self.home / "results"), "--baselines", str(self.home / "baselines"))
        code = cli.main([*arguments, *places])
        told = self.capsys.readouterr()
        return code, told.out, told.err

    def night(
        self, *records: Record, asked=("--baseline", "main"), beside=None, breaks=None, **parts
    ) -> Night:
        """`ditbench run` of a night that found out these records.

        beside: a session in the run's folder. breaks: what is raised when these records were there.
        """
        made = []

        def measure(*_, begun, **_more) -> Path:
            run = self.written(records, **parts)
            made.append(run.folder)
            begun(run.folder)
            if beside:
                self.put(beside, run.folder)
            if breaks:
                raise breaks
            return run.folder

        self.monkeypatch.setattr(running, "measure", measure)
        code, out, err = self.ditbench("run", "suite.yaml", *asked)
        return Night(code, out, err, made[0] if made else Path())

    def put(self, one: store.Session, folder: Path) -> None:
        """As --confirm leaves it: arm A is the baseline as it stands."""
        a, b = one.arms
        arms = dataclasses.replace(a, said=store.Against("main", self.accepted).whole), b
        place = folder / CONFIRMATION
        there = dataclasses.replace(one, path=place, arms=arms, records=(), finished=False)
        with store.SessionWriter.create(there) as writer:
            for part in one.records:
                writer.append(part)
            writer.finish()


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    @contextlib.contextmanager
    def nothing(_):
        yield None, (None,)

    monkeypatch.setattr(running, "session_of", nothing)
    monkeypatch.setattr(running, "judged_plan_of", lambda *_, **_more: None)
    made = Bench(tmp_path, monkeypatch, capsys)
    made.baseline(*GOOD)
    return made


# ---- one code for one reason ----


def test_0_where_nothing_changed(bench):
    bench.night(*GOOD).told(errors.OK)


def test_0_where_a_time_moved_and_nothing_confirmed_it(bench):
    night = bench.night(*SLOW_SOFTMAX)
    night.told(errors.OK)
    assert "inconclusive" in {one["verdict"] for one in night.verdict["findings"]}


def test_1_in_the_middle_of_a_run_keeps_and_shows_what_had_ended(bench):
    night = bench.night(*GOOD, finished=False, breaks=RuntimeError("a bug"))
    night.left(errors.INTERNAL)
    assert "RuntimeError: a bug" in night.err
    assert night.err.splitlines()[-1].startswith("ditbench: an internal error, please report it")
    assert night.verdict["exit_codes"] == [
        errors.CELLS_FAILED
    ]  # what is missing was never measured


def test_1_while_the_pages_are_made_loses_no_record_and_they_are_made_later(bench, monkeypatch):
    def broken(_):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr("ditbench.summary.summarise", broken)
        night = bench.night(*GOOD)
    assert night.code == errors.INTERNAL
    assert night.err.splitlines()[-1].startswith("ditbench: an internal error, please report it")
    assert len(store.read(night.folder).records) == len(GOOD)
    assert [name for name in REPORTS if (night.folder / name).exists()] == []
    assert bench.ditbench("report", "latest")[0] == errors.OK
    assert [name for name in REPORTS if not (night.folder / name).is_file()] == []


def test_a_second_fault_does_not_hide_the_first(bench, monkeypatch):
    def broken(_):
        raise RuntimeError("another bug")

    monkeypatch.setattr("ditbench.summary.summarise", broken)
    night = bench.night(*GOOD, finished=False, breaks=errors.UnfitError("the GPU is gone"))
    assert (night.code, night.err) == (errors.ENVIRONMENT, "ditbench: the GPU is gone\n")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--baseline", "mian"), "nor a baseline of that name"),
        (("--fail-on", "regresion"), "(did you mean 'regression'?)"),
        (("--time-budget", "soon"), "write a time"),
    ],
)
def test_2_is_told_before_anything_is_measured(bench, asked, told):
    night = bench.night(*GOOD, asked=asked)
    assert (night.code, night.folder) == (errors.USAGE, Path())
    assert told in night.err
    assert len(night.err.splitlines()) == 1
    assert not (bench.home / "results").exists()  # without a run there is nothing to report


def test_3_where_a_cell_failed(bench):
    bench.night(*GOOD, CRASHED).told(errors.CELLS_FAILED)


def test_mistake_33_a_regression_that_a_session_confirmed_is_never_exit_0(bench):
    night = bench.night(*SLOW_SOFTMAX, beside=confirming())
    night.told(errors.PERFORMANCE)
    worse = [one for one in night.verdict["findings"] if one["verdict"] == "regressed"]
    assert {one["key"] for one in worse} == {cell("softmax").key}
    assert "latency" in {one["metric"] for one in worse}


def test_4_by_a_count_needs_no_session(bench):
    dearer = tuple(
        gate(cell("monarch"), 2 * METHODS["monarch"][3]) if one == MONARCH[0] else one
        for one in GOOD
    )
    bench.night(*dearer).told(errors.PERFORMANCE)


def test_a_session_that_confirms_nothing_is_exit_0(bench):
    bench.night(*SLOW_SOFTMAX, beside=confirming(slower=1.0)).told(errors.OK)


def test_5_where_pictures_became_worse(bench):
    night = bench.night(*WORSE_PICTURES)
    night.told(errors.QUALITY)
    worse = {one["metric"] for one in night.verdict["findings"] if one["verdict"] == "regressed"}
    assert "latent_drift" in worse


def test_5_where_a_faster_cell_paid_with_its_pictures(bench):
    faster = (*SOFTMAX, *evenly("monarch", 0.03), quality(cell("monarch"), 0.30))
    night = bench.night(*faster)
    night.told(errors.QUALITY)
    assert "traded" in {one["verdict"] for one in night.verdict["findings"]}


def test_6_where_others_used_the_machine_is_never_a_regression(bench):
    busy = (*evenly("softmax", 0.2, **UNFIT), *MONARCH)
    night = bench.night(*busy)
    night.told(errors.ENVIRONMENT)
    assert "regressed" not in {one["verdict"] for one in night.verdict["findings"]}


def test_6_where_a_variable_changes_what_is_measured(bench):
    facts = {**fake_run().environment.facts, "DIFFUSERS_ATTN_BACKEND": "flash"}
    night = bench.night(*GOOD, environment=Environment(facts))
    assert errors.ENVIRONMENT in night.verdict["exit_codes"]
    night.told(errors.ENVIRONMENT)


def test_6_where_the_whole_machine_moved(bench):
    labels = tuple(METHODS)
    bench.baseline(*(one for label in labels for one in evenly(label, METHODS[label][2])))
    moved = tuple(one for label in labels for one in evenly(label, SLOWER * METHODS[label][2]))
    night = bench.night(*moved)
    night.told(errors.ENVIRONMENT)
    assert "regressed" not in {one["verdict"] for one in night.verdict["findings"]}
    assert "cells moved alike" in (night.folder / "report.md").read_text()


def test_7_where_the_baseline_is_of_another_machine(bench):
    other = Environment({**fake_run().environment.facts, "cpu": "Another CPU"})
    night = bench.night(*GOOD, environment=other)
    night.told(errors.NOTHING_COMPARABLE)
    text = (night.folder / "report.md").read_text()
    assert "Some CPU" in text
    assert "Another CPU" in text


def test_7_is_only_given_where_a_baseline_was_required(bench):
    other = Environment({**fake_run().environment.facts, "cpu": "Another CPU"})
    bench.night(*GOOD, asked=("--baseline", "none"), environment=other).told(errors.OK)


def test_6_in_the_middle_of_a_run_keeps_and_shows_what_had_ended(bench):
    night = bench.night(*GOOD, finished=False, breaks=errors.UnfitError("the GPU is gone"))
    night.left(errors.ENVIRONMENT)
    assert night.err.splitlines()[-1] == "ditbench: the GPU is gone"


def test_130_keeps_what_had_ended_and_shows_it(bench):
    told = "interrupted after 1 jobs"
    night = bench.night(*GOOD, finished=False, breaks=InterruptedRunError(told))
    night.left(errors.INTERRUPTED)
    assert night.err.splitlines()[-1] == f"ditbench: {told}"


def test_130_while_it_confirms_shows_the_whole_run(bench, monkeypatch):
    def stopped(*_):
        raise InterruptedRunError("what moved is not confirmed")

    monkeypatch.setattr("ditbench.cli.confirming.confirm_moved", stopped)
    night = bench.night(*SLOW_SOFTMAX, asked=("--baseline", "main", "--confirm"))
    night.left(errors.INTERRUPTED, len(SLOW_SOFTMAX))
    assert "inconclusive" in {one["verdict"] for one in night.verdict["findings"]}


# ---- several at once ----


def all_at_once():
    """Slower, with worse pictures, a crash, and others on the machine while another cell ran."""
    return (
        *evenly("softmax", 0.1 * SLOWER),
        *evenly("monarch", 0.05, **UNFIT),
        quality(cell("monarch"), 0.30),
        CRASHED,
    )


def test_of_several_the_first_in_order_ends_it_and_all_are_kept(bench):
    night = bench.night(*all_at_once(), beside=confirming())
    night.told(errors.QUALITY)
    assert night.verdict["exit_codes"] == [
        errors.CELLS_FAILED,
        errors.PERFORMANCE,
        errors.QUALITY,
        errors.ENVIRONMENT,
    ]

    asked = ("--baseline", "main", "--fail-on", "error,noise")
    masked = bench.night(*all_at_once(), beside=confirming(), asked=asked)
    assert masked.code == errors.CELLS_FAILED, masked.err
    assert masked.verdict["exit_codes"] == night.verdict["exit_codes"]
    assert "ditbench: exit code 5 holds, and --fail-on lets it pass" in masked.err.splitlines()


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ("", errors.QUALITY),
        ("regression", errors.PERFORMANCE),
        ("quality", errors.QUALITY),
        ("error", errors.CELLS_FAILED),
        ("noise", errors.ENVIRONMENT),
        ("regression, error", errors.PERFORMANCE),
        ("none", errors.OK),
    ],
)
def test_fail_on_names_what_may_end_a_run(named, code):
    codes = {errors.CELLS_FAILED, errors.PERFORMANCE, errors.QUALITY, errors.ENVIRONMENT}
    assert failing.code_of(codes, failing.passed(named)) == code


@pytest.mark.parametrize("code", [errors.INTERNAL, errors.USAGE])
def test_fail_on_masks_no_mistake(code):
    assert failing.code_of({code, errors.QUALITY}, failing.passed("none")) == code


def test_fail_on_never_hides_that_nothing_was_done(bench):
    assert bench.night(asked=("--baseline", "mian", "--fail-on", "none")).code == errors.USAGE


# ---- the same codes of what is there already ----


def test_compare_and_a_report_written_anew_say_what_the_run_ended_with(bench):
    night = bench.night(*SLOW_SOFTMAX, beside=confirming())
    said = night.verdict
    assert bench.ditbench("compare", "main", "latest")[0] == errors.PERFORMANCE
    for name in ("report.html", "report.md"):
        (night.folder / name).unlink()
    assert bench.ditbench("report", "latest")[0] == errors.OK
    night.told(errors.PERFORMANCE)
    assert night.verdict == said


# ---- for real ----

COUNTED = """\
name: counted
kind: op
op: {tokens: 64, heads: 2, head_dim: 16, cache: hot}
attention: [softmax, sdpa]
metrics: [macs]
"""
TIMED = """\
name: timed
kind: op
op: {tokens: 64, heads: 2, head_dim: 16, cache: hot}
attention: [softmax, broken:Broken]
timing: {warmup: 0, warmup_cap_s: 0, repeats: 1, processes: 1}
metrics: [latency]
"""
BROKEN = '''
"""Softmax, all but for its numbers."""
from dataclasses import dataclass
from typing import ClassVar
from ditbench.attention.softmax import Softmax

@dataclass(frozen=True)
class Broken(Softmax):
    """Softmax, all but for its numbers."""
    name: ClassVar[str] = "broken"

    def attend(self, q, k, v):
        return 2 * Softmax.attend(self, q, k, v)
'''


def runs(shell):
    return sorted(path.parent for path in shell.folder.glob("results/*/*/run.json"))


def told(shell, ended, code: int) -> str:
    """As a night tells it; the Markdown."""
    folder = shell.run_folder()
    said = ended.out.replace("results/", f"{shell.folder}/results/")
    Night(ended.code, said, ended.err, folder).told(code)
    return (folder / "report.md").read_text()


@pytest.fixture(scope="module")
def counted(shell):
    """A real run that only counts, and how it ended."""
    shell.suite(COUNTED)
    return shell("run", "suite.yaml"), shell.run_folder()


def test_a_real_run_ends_with_0_and_its_pages(counted):
    ended, folder = counted
    assert ended.code == errors.OK, ended.err
    assert [name for name in REPORTS if not (folder / name).is_file()] == []


def test_a_real_run_with_a_cell_that_fails_is_3(shell):
    (shell.folder / "broken.py").write_text(BROKEN)
    shell.suite(TIMED, "timed.yaml")
    text = told(shell, shell("run", "timed.yaml"), errors.CELLS_FAILED)
    assert "against softmax" in text


def test_a_real_run_on_another_machine_than_its_baseline_is_7(shell, counted):
    """One that gives torch another number of threads is another."""
    _, folder = counted
    ended = shell("run", "suite.yaml", "--baseline", folder.name, OMP_NUM_THREADS="2")
    text = told(shell, ended, errors.NOTHING_COMPARABLE)
    assert "OMP_NUM_THREADS: 1 -> 2" in text.replace("\\", "").replace("&gt;", ">")


def test_a_real_run_under_a_variable_that_changes_the_reference_is_6_and_leaves_nothing(
    shell, counted
):
    before = runs(shell)
    ended = shell("run", "suite.yaml", DIFFUSERS_ATTN_BACKEND="flash")
    assert ended.code == errors.ENVIRONMENT
    assert "DIFFUSERS_ATTN_BACKEND=flash" in ended.err
    assert runs(shell) == before


def test_mistake_33_a_run_of_no_cell_is_2_and_leaves_nothing(shell, counted):
    before = runs(shell)
    ended = shell.again("run", "suite.yaml", "-k", "nothing is called so")
    assert ended.code == errors.USAGE
    assert "matches none of the 2 cells" in ended.err
    assert runs(shell) == before


def test_a_suite_that_is_wrong_is_2_with_its_place_and_leaves_nothing(shell):
    shell.suite(COUNTED.replace("tokens: 64", "tokens: none"), "wrong.yaml")
    before = runs(shell)
    ended = shell.again("run", "wrong.yaml")
    assert ended.code == errors.USAGE
    assert ended.err.startswith("wrong.yaml:3:")
    assert runs(shell) == before
