"""Arms in processes of their own: their order, when there are more, and what becomes of cells that fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from fakes_runs import CODE, FACTS, cell, record

from ditbench.cli.ab import codes
from ditbench.compare import judge_session, turned
from ditbench.environment import Environment
from ditbench.errors import CELLS_FAILED, ENVIRONMENT, PERFORMANCE, UsageError
from ditbench.records import CANARY, Cell, Choice, Stage, Status
from ditbench.run import apart
from ditbench.store import session_read

MONARCH, SDPA = cell("monarch"), cell("sdpa")


@dataclasses.dataclass
class Arms:
    """Two arms that answer from a table: seconds of a cell by arm, round and cell."""

    seconds: Callable[[str, int, Cell], float]
    cells: dict[str, tuple[Cell, ...]]
    asked: list[tuple[str, tuple[str, ...]]] = dataclasses.field(default_factory=list)

    def take(self, side, ids):
        number = sum(one == side for one, _ in self.asked)
        self.asked.append((side, tuple(ids)))
        chosen = [one for one in self.cells[side] if not ids or one.id in ids]
        return apart.Turn(
            cells=tuple(chosen),
            records=tuple(part for one in chosen for part in self.records(side, number, one)),
            code=CODE | {"commit": side},
            environment=Environment(FACTS | {"diffusers": side}),
            suite="toy",
            gate={"latency": 0.02},
        )

    def records(self, side, number, of):
        try:
            seconds = self.seconds(side, number, of)
        except ZeroDivisionError as error:
            yield record(of, Stage.TIME, status=Status.CRASHED, reason=str(error))
            return
        noise = 1 + 0.001 * (number % 3)
        yield record(of, Stage.TIME, metrics={"latency": (seconds * noise, seconds * noise)})
        witness = {"latency": (0.06 * noise, 0.06 * noise)}
        yield record(SDPA, Stage.TIME, metrics=witness, facts={"witness": of.key})

    @property
    def order(self):
        return "".join(side for side, _ in self.asked)


def arms(seconds=lambda _side, _number, _cell: 0.1, *cells):
    return Arms(seconds, dict.fromkeys("ab", cells or (MONARCH,)))


def measured(tmp_path, table, said=None, **parts):
    asked = apart.Asked(
        path=tmp_path / "one.session.jsonl",
        suite_path="toy.yaml",
        said=("git:main", "git:HEAD"),
        started="2026-11-22T03:00:00+00:00",
        tell=(said if said is not None else []).append,
        **parts,
    )
    return apart.alternate(asked, table.take)


def test_the_order_is_a_b_b_a_and_each_record_says_its_place(tmp_path):
    table = arms()
    session = measured(tmp_path, table)
    assert table.order == "abbaabbaab"
    assert [(one.facts["arm"], one.facts["process"]) for one in session.records] == [
        (side, number) for number, side in enumerate(table.order) for _ in ("cell", "witness")
    ]
    assert [one.replicate for one in session.records][::2] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert session == session_read(tmp_path / "one.session.jsonl")
    assert (session.finished, session.inside) == (True, False)
    assert (session.pairs, session.gate) == (((MONARCH, MONARCH),), {"latency": 0.02})
    assert [arm.said for arm in session.arms] == ["git:main", "git:HEAD"]
    assert [arm.code["commit"] for arm in session.arms] == ["a", "b"]


def test_equal_arms_are_judged_unchanged(tmp_path):
    (found,) = judge_session(measured(tmp_path, arms()))
    assert (found.verdict, len(found.then), len(found.now)) == ("unchanged", 5, 5)
    assert found.duel
    assert found.duel.witness


def test_a_slower_arm_is_judged_regressed_and_has_eight_processes(tmp_path):
    table = arms(lambda side, *_: 0.1 if side == "a" else 0.11)
    (found,) = judge_session(measured(tmp_path, table))
    assert found.verdict == "regressed"
    assert table.order == "abbaabbaabbaabba"


def test_only_cells_whose_processes_show_two_modes_are_given_more(tmp_path):
    steady = cell("monarch", 4)

    def seconds(side, number, of):
        return 0.12 if of is MONARCH and side == "b" and number in {1, 3} else 0.1

    table = arms(seconds, MONARCH, steady)
    session = measured(tmp_path, table)
    assert [len(ids) for _, ids in table.asked] == [0, 0] + 8 * [2] + 6 * [1]
    times = [one for one in session.records if "witness" not in one.facts]
    assert sum(one.key == MONARCH.key for one in times) == 16
    assert sum(one.key == steady.key for one in times) == 10


def test_a_cell_that_fails_in_one_arm_is_not_tried_again_in_either(tmp_path):
    sound = cell("monarch", 4)

    def seconds(side, number, of):
        return 0.1 / (0 if of is MONARCH and side == "b" and number == 1 else 1)

    table = arms(seconds, MONARCH, sound)
    session = measured(tmp_path, table)
    assert table.asked[2:5] == [
        ("b", (MONARCH.id, sound.id)),
        ("a", (sound.id,)),
        ("a", (sound.id,)),
    ]
    verdicts = {one.cell.key: one for one in turned(session, judge_session(session))}
    assert verdicts[MONARCH.key].verdict == "broken"
    assert verdicts[MONARCH.key].reason == "ok in A, and in B crashed: float division by zero"
    assert verdicts[sound.key].verdict == "unchanged"
    assert codes(session, tuple(verdicts.values())) == {CELLS_FAILED}
    (broken,) = [one for one in session.records if one.status is not Status.OK]
    assert (broken.facts["arm"], broken.facts["process"]) == ("b", 2)
    assert broken.reason == "float division by zero"


def test_where_every_cell_has_failed_nothing_more_is_started(tmp_path):
    table = arms(lambda side, *_: 0.1 / (side == "b"))
    session = measured(tmp_path, table)
    assert table.order == "ab"
    assert session.finished
    (found,) = turned(session, judge_session(session))
    assert found.verdict == "fixed"
    assert found.reason == "ok in B, and in A crashed: float division by zero"


def test_a_cell_that_fails_in_both_arms_is_neither(tmp_path):
    session = measured(tmp_path, arms(lambda *_: 1 / 0))
    (found,) = turned(session, judge_session(session))
    assert found.verdict == "inconclusive"


def test_a_method_with_one_more_setting_is_the_same_cell_to_a_person(tmp_path):
    more = dataclasses.replace(
        MONARCH,
        attention=Choice("monarch", (*MONARCH.attention.settings, ("new", 1)), "monarch"),
    )
    assert more.key != MONARCH.key
    table = Arms(lambda *_: 0.1, {"a": (MONARCH,), "b": (more,)})
    session = measured(tmp_path, table)
    assert session.pairs == ((MONARCH, more),)
    witnesses = {one.facts["witness"] for one in session.records if "witness" in one.facts}
    assert witnesses == {MONARCH.key, more.key}


def test_what_only_one_arm_has_is_told_and_left_out(tmp_path):
    said = []
    new = cell("nystromformer")
    table = Arms(lambda *_: 0.1, {"a": (MONARCH,), "b": (new, MONARCH)})
    session = measured(tmp_path, table, said)
    assert session.pairs == ((MONARCH, MONARCH),)
    assert {one.key for one in session.records} == {MONARCH.key, SDPA.key}
    assert f"only git:HEAD has {new.id}" in said


def test_arms_without_a_cell_in_common_are_one_line_and_no_file(tmp_path):
    table = Arms(lambda *_: 0.1, {"a": (MONARCH,), "b": (cell("nystromformer"),)})
    with pytest.raises(UsageError, match=r"^git:main and git:HEAD have no cell in common"):
        measured(tmp_path, table)
    assert list(tmp_path.iterdir()) == []


def test_a_session_that_is_interrupted_keeps_the_turns_that_had_ended(tmp_path):
    table = arms()

    def take(side, ids):
        if len(table.asked) == 3:
            raise KeyboardInterrupt
        return Arms.take(table, side, ids)

    asked = apart.Asked(
        tmp_path / "one.session.jsonl", "toy.yaml", ("a", "b"), "2026", lambda _said: None
    )
    with pytest.raises(KeyboardInterrupt):
        apart.alternate(asked, take)
    found = session_read(tmp_path / "one.session.jsonl")
    assert not found.finished
    assert {one.facts["process"] for one in found.records} == {0, 1, 2}


def test_what_the_arms_differ_in_is_listed(tmp_path):
    session = measured(tmp_path, arms())
    assert list(apart.differences(session)) == ["diffusers: a -> b", "commit: a -> b"]


def test_the_canary_of_each_turn_is_kept_and_is_no_timing(tmp_path):
    """A clock that fell slows all three; what all methods share slows not the canary."""

    @dataclasses.dataclass
    class Sung(Arms):
        clock: float = 1.0

        def take(self, side, ids):
            turn = Arms.take(self, side, ids)
            best = 1e-4 * (self.clock if side == "b" else 1.0)
            metrics = {"canary_matrix": (best,), "canary_copy": (best,)}
            sung = record(CANARY, Stage.CANARY, replicate=1, metrics=metrics)
            return dataclasses.replace(turn, records=(*turn.records, sung))

        def records(self, side, number, of):
            for one in Arms.records(self, side, number, of):
                slow = 1.1 if side == "b" and one.key == SDPA.key else 1.0
                yield (
                    dataclasses.replace(one, metrics={"latency": (slow * 0.06,) * 2})
                    if ("witness" in one.facts)
                    else one
                )

    def judged(path, clock):
        table = Sung(
            lambda side, *_: 0.1 if side == "a" else 0.11,
            dict.fromkeys("ab", (MONARCH,)),
            clock=clock,
        )
        session = measured(path, table)
        sung = [one for one in session.records if one.stage is Stage.CANARY]
        places = [(one.facts["arm"], one.facts["process"]) for one in sung]
        assert places == [(side, number) for number, side in enumerate(table.order)]
        (found,) = turned(session, judge_session(session))
        return found.verdict, codes(session, (found,))

    assert judged(tmp_path / "shared", 1.0) == ("regressed", {PERFORMANCE})
    assert judged(tmp_path / "clock", 1.1) == ("inconclusive", {ENVIRONMENT})


def test_a_canary_that_crashed_fails_no_cell(tmp_path):
    class Lost(Arms):
        def take(self, side, ids):
            turn = Arms.take(self, side, ids)
            lost = record(CANARY, Stage.CANARY, status=Status.CRASHED, reason="SIGSEGV")
            return dataclasses.replace(turn, records=(*turn.records, lost))

    session = measured(tmp_path, Lost(lambda *_: 0.1, dict.fromkeys("ab", (MONARCH,))))
    (found,) = turned(session, judge_session(session))
    assert (found.verdict, codes(session, (found,))) == ("unchanged", set())


def test_more_processes_are_asked_for_by_the_calls_that_verdicts_rest_on(tmp_path):
    """What heat slowed is left out, and so makes no second mode."""

    class Hot(Arms):
        def records(self, side, number, of):
            for one in Arms.records(self, side, number, of):
                hot = side == "b" and number in {1, 3} and "witness" not in one.facts
                calls = (0.2, 0.2, 0.1) if hot else (0.1, 0.1, 0.1)
                facts = {"calls_ns": [0, 1, 2]} | (
                    {"excluded": [[0, "heat"], [1, "heat"]]} if hot else {}
                )
                yield dataclasses.replace(one, metrics={"latency": calls}, facts=one.facts | facts)

    table = Hot(lambda *_: 0.1, dict.fromkeys("ab", (MONARCH,)))
    (found,) = judge_session(measured(tmp_path, table))
    assert (found.verdict, found.duel.slow) == ("unchanged", (0.0, 0.0))
    assert table.order == "abbaabbaab"
