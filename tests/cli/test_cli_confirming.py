"""`run --confirm`: what moved is measured beside the baseline's own code, or it is said why not."""

from __future__ import annotations

import dataclasses
import json

import fakes_scale
import pytest
from fakes_git import commit, git
from fakes_runs import CODE, ENVIRONMENT, FACTS, cell, fake_run, gate, timed
from fakes_sessions import abba, session

from ditbench import environment, store
from ditbench.cli import confirming
from ditbench.cli.concluding import given_for, judged
from ditbench.cli.preparing import Choices
from ditbench.environment import Environment
from ditbench.errors import OK, PERFORMANCE, UsageError, first_of
from ditbench.run.interrupts import InterruptedRunError
from ditbench.store import Against, SessionWriter

STEADY = (0.100, 0.101, 0.099, 0.100, 0.100)
MONARCH = cell("monarch")
AGAINST = Against("main", "20261121-100000-aaaa")


def run(number, factor=1.0, batches=(1,), **parts):
    cells = [cell("monarch", batch) for batch in batches]
    records = [
        one
        for place, of in enumerate(cells)
        for step in [1 + (factor - 1) * (1 + place / 10)]
        for one in (gate(of), *timed(of, *((step * value,) * 3 for value in STEADY)))
    ]
    return fake_run(*records, id=f"2026112{number}-100000-aaaa", **parts)


@pytest.fixture
def measured(monkeypatch):
    """What was asked for; every cell of it is 5 % slower side by side too."""
    asked = []

    def apart(one):
        asked.append(one)
        records = [
            record
            for name in one.ids
            for of in [cell("monarch", batch) for batch in range(1, 20)]
            if of.id == name
            for record in abba(of, STEADY, [1.05 * value for value in STEADY])
        ]
        found = session(*records)
        base = dataclasses.replace(found.arms[0], said=one.a.said)
        head = dataclasses.replace(
            found, path=one.path, arms=(base, found.arms[1]), records=(), finished=False
        )
        with SessionWriter.create(head) as writer:
            for record in records:
                writer.append(record)
            writer.finish()
        return store.session_read(one.path)

    monkeypatch.setattr(confirming, "apart", apart)
    monkeypatch.setattr(environment, "code_identity", lambda _suite=None: dict(CODE))
    return asked


@pytest.fixture
def night(tmp_path, capfd):
    """Confirm a run against a baseline, and judge it: the exit code, its findings, and what was said."""

    def end(now, then, **parts):
        folder = fakes_scale.write(tmp_path / "results", now)
        found = store.read(folder)
        asked = confirming.Confirmation(
            Choices(tmp_path / "suite.yaml"), tmp_path / "results", tmp_path, **parts
        )
        confirming.confirm_moved(asked, found, then, AGAINST)
        given = given_for(found, AGAINST, tmp_path / "results", tmp_path)
        comparison = judged(found, then, AGAINST, given)
        latencies = [one for one in comparison.findings if one.metric == "latency"]
        return first_of(set(comparison.exit_codes)), latencies, capfd.readouterr().err

    return end


def test_what_moved_and_moves_again_side_by_side_is_a_regression(measured, night):
    code, (found,), err = night(run(2, 1.05), run(1))
    assert (code, found.verdict) == (PERFORMANCE, "regressed")
    assert [one.ids for one in measured] == [(cell("monarch").id,)]
    assert "1 cell is measured side by side with baseline main, run 20261121-100000-aaaa" in err


def test_equal_code_on_both_sides_is_said_to_be_that(measured, night):
    _, _, err = night(run(2, 1.05), run(1))
    assert "both arms are the same code and packages: what moved is the machine" in err


def test_a_report_afterwards_shows_it_without_measuring(measured, night, tmp_path):
    from ditbench.cli import main

    night(run(2, 1.05), run(1))
    fakes_scale.write(tmp_path / "results", run(1))
    store.baseline_set(run(1), "main", tmp_path)
    folders = ("--out", str(tmp_path / "results"), "--baselines", str(tmp_path))
    assert main(["report", run(2).id, "--baseline", "main", *folders]) == OK
    page = (tmp_path / "results" / "fashion" / run(2).id / "verdict.json").read_text()
    assert "regressed" in [one["verdict"] for one in json.loads(page)["findings"]]
    assert len(measured) == 1


def test_a_session_against_something_else_confirms_nothing(measured, night, tmp_path):
    night(run(2, 1.05), run(1))
    found = store.read(tmp_path / "results" / "fashion" / run(2).id)
    other = Against("main", "20261120-100000-aaaa")
    assert given_for(found, AGAINST, tmp_path / "results", tmp_path).session
    assert given_for(found, other, tmp_path / "results", tmp_path).session is None


def test_nothing_is_measured_where_nothing_moved_or_nothing_compares(measured, night):
    code, _, err = night(run(2), run(1))
    assert (code, measured) == (OK, [])
    assert "no time that a session measures moved beyond its gate: nothing is measured again" in err
    code, _, err = night(run(3), None)
    assert (code, measured) == (OK, [])
    assert "there is nothing to compare with" in err


def test_a_first_call_alone_is_not_measured_again_and_says_what_to_do(measured, night):
    now = run(2)
    slow = [
        dataclasses.replace(one, metrics=one.metrics | {"first_call": (9.0,)})
        if "first_call" in one.metrics
        else one
        for one in now.records
    ]
    code, (latency,), err = night(dataclasses.replace(now, records=tuple(slow)), run(1))
    assert (code, latency.verdict, measured) == (OK, "unchanged", [])
    assert "no time that a session measures moved beyond its gate" in err


def test_only_the_cells_that_moved_most_are_measured_and_the_rest_is_told(measured, night):
    batches = range(1, 8)
    _, found, err = night(run(2, 1.05, batches), run(1, 1.0, batches), most=3)
    assert measured[0].ids == tuple(cell("monarch", batch).id for batch in (7, 6, 5))
    why = "4 cells are beyond the 3 that moved most (--confirm-most)"
    assert f"--confirm: {why}" in err
    waiting = [one for one in found if one.verdict == "inconclusive"]
    assert len(waiting) == 4
    assert all(f"not confirmed: {why}" in one.reason for one in waiting)


def test_where_the_baselines_code_is_not_to_be_had_the_finding_says_why(measured, night):
    then = run(1, code=CODE | {"dirty": True})
    code, (found,), err = night(run(2, 1.05), then)
    assert (code, found.verdict, measured) == (OK, "inconclusive", [])
    why = "the baseline was measured with changes of ditbench that no commit has"
    assert f"not confirmed: {why}" in found.reason
    assert f"--confirm: {why}" in err


def test_an_arm_that_cannot_be_made_or_started_costs_no_report(measured, night, monkeypatch):
    def apart(_asked):
        raise UsageError("baseline main: exit 2: no such\nmethod")

    monkeypatch.setattr(confirming, "apart", apart)
    code, (found,), err = night(run(2, 1.05), run(1))
    assert (code, found.verdict) == (OK, "inconclusive")
    assert "not confirmed: baseline main: exit 2: no such method" in found.reason
    assert "--confirm: baseline main: exit 2: no such method" in err


def test_an_interruption_while_it_confirms_says_that_the_run_is_whole(measured, night, monkeypatch):
    def apart(_asked):
        raise KeyboardInterrupt

    monkeypatch.setattr(confirming, "apart", apart)
    with pytest.raises(InterruptedRunError, match="is whole, and what moved"):
        night(run(2, 1.05), run(1))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A repository of two commits of a suite; ditbench itself is of the commit of CODE, and clean."""
    folder = tmp_path / "mine"
    folder.mkdir()
    git(folder, "init", "--quiet")
    first = commit(folder, suite_yaml="first")
    second = commit(folder, suite_yaml="second")
    state = {"suite_commit": second, "suite_dirty": False}
    monkeypatch.setattr(environment, "code_identity", lambda _suite=None: CODE | state)
    return folder, first, second, state


def base(mine, then, of=MONARCH, **parts):
    folder, _, _, state = mine
    now = run(2, code=CODE | state, **parts)
    against = run(1, code=CODE | then)
    return confirming.base_of(now, against, AGAINST, folder / "suite.yaml", (of,))


def test_the_base_is_the_commit_of_the_suites_repository_then(mine):
    folder, first, second, _ = mine
    found = base(mine, {"suite_commit": first, "suite_dirty": False})
    assert (found.commits, found.packages) == ({folder: first}, ())
    assert found.said == "baseline main, run 20261121-100000-aaaa"
    assert base(mine, {"suite_commit": second, "suite_dirty": False}).commits == {}


def test_changes_that_no_commit_has_are_judged_against_the_commit_below(mine):
    folder, _, second, state = mine
    state["suite_dirty"] = True
    found = base(mine, {"suite_commit": second, "suite_dirty": False})
    assert found.commits == {folder: second}


def test_ditbenchs_own_commit_is_another_worktree(mine, monkeypatch):
    folder, first, second, state = mine
    state["commit"] = second  # a stand-in for a checkout of ditbench, at another commit than then
    monkeypatch.setattr(environment, "__file__", str(folder / "suite.yaml"))
    found = base(mine, {"commit": first})
    assert found.commits == {folder: first}


def test_packages_of_then_are_installed_where_others_are_here_now(mine):
    *_, second, _ = mine
    facts = FACTS | {"diffusers": "0.41.0", "numpy": "2.0.0"}
    before = Environment(facts | {"diffusers": "0.40.0"})
    now = run(2, code=CODE | mine[3], environment=Environment(facts))
    then = CODE | {"suite_commit": second, "suite_dirty": False}
    against = run(1, code=then, environment=before)
    found = confirming.base_of(now, against, AGAINST, mine[0] / "suite.yaml", (MONARCH,))
    assert (found.commits, found.packages) == ({}, ("diffusers==0.40.0",))


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ({"suite_dirty": True}, "with changes of the suite and its plug-ins that no commit has"),
        ({}, "does not say which commit of the suite and its plug-ins it was; set it anew"),
        ({"suite_commit": "f" * 40}, "commit ffffffffffff is not in .*/mine; `git fetch"),
        ({"suite_commit": "HEAD", "commit": ""}, "which commit of ditbench it was; set it anew"),
    ],
)
def test_what_is_not_to_be_had_is_said(mine, then, why):
    then = {**then, **({"suite_commit": mine[1]} if then.get("suite_commit") == "HEAD" else {})}
    with pytest.raises(confirming._NotToBeHadError, match=why):
        base(mine, then)


def test_a_commit_without_the_suite_is_said(mine):
    folder, *_ = mine
    git(folder, "rm", "--quiet", "suite.yaml")
    without = commit(folder, other_txt="")
    commit(folder, suite_yaml="again")
    with pytest.raises(confirming._NotToBeHadError, match=r"has no suite\.yaml"):
        base(mine, {"suite_commit": without})


def test_code_that_changed_since_the_run_began_is_not_the_code_that_it_measured(mine, monkeypatch):
    folder, *_, state = mine
    now = run(2, code=CODE | state)
    monkeypatch.setattr(environment, "code_identity", lambda _suite=None: CODE | {"dirty": True})
    with pytest.raises(confirming._NotToBeHadError, match="changed since this run began"):
        confirming.base_of(now, run(1), AGAINST, folder / "suite.yaml", (MONARCH,))


def test_the_environment_of_a_run_names_its_packages():
    assert environment.packages(ENVIRONMENT) == {"torch": "2.13.0"}


def test_a_plug_in_of_another_version_then_is_installed_for_the_baselines_arm(mine):
    plugin = "plugin.attention-of-ours"
    then = run(1, code=CODE | mine[3], environment=Environment(FACTS | {plugin: "1.0"}))
    now = run(2, code=CODE | mine[3], environment=Environment(FACTS | {plugin: "1.1"}))
    found = confirming.base_of(now, then, AGAINST, mine[0] / "suite.yaml", (MONARCH,))
    assert found.packages == ("attention-of-ours==1.0",)
    assert environment.differences(then.environment, now.environment) == [f"{plugin}: 1.0 -> 1.1"]


@pytest.fixture
def loose(tmp_path, monkeypatch):
    """A method in a file beside a suite, in no repository."""
    folder = tmp_path / "loose"
    folder.mkdir()
    (folder / "a_method_of_mine.py").write_text("")
    monkeypatch.syspath_prepend(str(folder))
    return folder


MINE = cell("a_method_of_mine:Attention")


def test_a_method_in_no_repository_is_not_compared_with_itself(loose, monkeypatch):
    monkeypatch.setattr(environment, "code_identity", lambda _suite=None: dict(CODE))
    asked = run(2), run(1), AGAINST, loose / "suite.yaml"
    why = "a_method_of_mine:Attention lies in no repository of the suite"
    with pytest.raises(confirming._NotToBeHadError, match=why):
        confirming.base_of(*asked, (MONARCH, MINE))
    assert confirming.base_of(*asked, (MONARCH,)).commits == {}


def test_a_method_from_outside_of_the_suites_repository_is_not_either(mine, loose):
    then = {"suite_commit": mine[1], "suite_dirty": False}
    with pytest.raises(confirming._NotToBeHadError, match="lies in no repository of the suite"):
        base(mine, then, of=MINE)
    with pytest.raises(confirming._NotToBeHadError, match="lies in no repository of the suite"):
        base(mine, then, of=cell("no_module_of_this_name:Attention"))


def test_a_method_of_the_suites_repository_is_of_its_commit_then(mine, monkeypatch):
    folder, first, *_ = mine
    (folder / "a_method_of_ours.py").write_text("")
    monkeypatch.syspath_prepend(str(folder))
    found = base(
        mine,
        {"suite_commit": first, "suite_dirty": False},
        of=cell("a_method_of_ours:Attention"),
    )
    assert found.commits == {folder: first}
