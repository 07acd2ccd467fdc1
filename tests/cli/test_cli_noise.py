"""`ditbench noise`: what it measures, writes, says and refuses; the processes themselves are made up."""

from __future__ import annotations

import dataclasses
import json
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from fakes_runs import CODE, ENVIRONMENT, cell, record
from fakes_sessions import session, turns

from ditbench import environment
from ditbench.cli import ab, main, noise
from ditbench.devices.device import Device
from ditbench.environment import Environment
from ditbench.records import Stage, Status
from ditbench.run import duel
from ditbench.store import noise_beside, noise_read, noise_write

CELLS = (cell("sdpa"), cell("monarch"))
NAME = "fashion.noise.json"


@dataclasses.dataclass
class Machine:
    """Processes whose two arms differ by `within`, and from each other by `between`."""

    within: float = 0.001
    between: float = 0.03
    others: float = 0.1
    crashed: tuple[str, ...] = ()
    gate: float = 0.02
    matches: list = dataclasses.field(default_factory=list)

    def duel(self, match, _server, _devices, _warn):
        self.matches.append(match)
        rng = np.random.default_rng(0)
        records = []
        for one, _same in match.pairs:
            if one.attention.name in self.crashed:
                for arm in "ab":
                    facts = {"arm": arm, "process": 0}
                    records.append(
                        record(one, Stage.TIME, status=Status.CRASHED, reason="exit 1", facts=facts)
                    )
                continue
            place = rng.normal(0, self.between, match.processes)
            a, b = 0.02 * np.exp(place + rng.normal(0, self.within, (2, match.processes)))
            telemetry = {"samples": 3, "window_s": 1.0, "others": self.others}
            records += turns(one, a.tolist(), b.tolist(), telemetry=telemetry)
        return session(
            *records,
            path=match.path,
            pairs=match.pairs,
            arms=match.arms,
            inside=True,
            gate={"latency": self.gate},
        )


@pytest.fixture
def machine(monkeypatch, tmp_path):
    made = Machine()
    suite = SimpleNamespace(name="fashion", path="fashion.yaml")
    planned = SimpleNamespace(suite=suite, runnable=CELLS, counts_only=False)

    @contextmanager
    def session_of(_choices):
        yield None, (Device(),)

    def plan_of(choices, _server, _device):
        found = [one for one in CELLS if choices.select in one.id]
        return SimpleNamespace(**{**vars(planned), "runnable": tuple(found), **made_of(choices)})

    def made_of(choices):
        return {"counts_only": True} if choices.overrides == ("metrics=[macs]",) else {}

    monkeypatch.setattr(noise, "session_of", session_of)
    monkeypatch.setattr(noise, "plan_of", plan_of)
    monkeypatch.setattr(duel, "duel", made.duel)
    monkeypatch.setattr(environment, "collect", lambda *_: ENVIRONMENT)
    monkeypatch.setattr(environment, "code_identity", lambda: CODE)
    monkeypatch.chdir(tmp_path)
    return made


def measured(*more: str) -> int:
    return main(["noise", "fashion.yaml", *more])


def floors(tmp_path, name=NAME):
    return noise_read(tmp_path / "baselines" / name)


def test_each_cell_is_timed_beside_itself_in_so_many_processes_and_no_more(machine):
    assert measured("--runs", "7") == 0
    (match,) = machine.matches
    assert match.pairs == tuple((one, one) for one in CELLS)
    assert (match.processes, match.most) == (7, 7)
    assert match.path.parent.as_posix() == "results/ab"
    assert match.path.name.startswith("fashion-noise-")
    assert match.path.name.endswith(".session.jsonl")


def test_floors_stand_beside_the_baseline_with_the_machine_and_the_code(machine, tmp_path, capsys):
    assert measured("--runs", "10") == 0
    found = floors(tmp_path)
    assert set(found.floors) == {one.key for one in CELLS}
    assert (found.suite, found.environment, found.code) == ("fashion", ENVIRONMENT, CODE)
    floor = found.floor(CELLS[0].key, "latency")
    assert (floor.id, floor.processes) == (CELLS[0].id, 10)
    assert 0.0005 < floor.inside < 0.005 < floor.apart
    out = capsys.readouterr().out
    assert "fashion: what equal arms differ by, 10 processes a cell" in out
    assert f"floors: baselines/{NAME}\n" in out


def test_mistake_42_a_gate_below_twice_the_noise_is_refused_by_name(machine, capsys):
    machine.between = 0.03
    assert measured("--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["key"] for row in rows] == [one.key for one in CELLS]
    for row in rows:
        assert row["threshold"] == 0.02
        assert row["inside_gate"] == max(0.02, 2 * row["inside"]) == 0.02
        assert row["apart_gate"] == 2 * row["apart"] > 0.02
    assert measured() == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(told) == 2
    assert (
        "attention=sdpa: the gate of 2.00 % on latency cannot be kept in processes apart" in told[0]
    )
    assert "equal arms are not told apart" in told[0]


def test_a_quiet_machine_leaves_every_gate_as_it_is(machine, capsys):
    machine.between = machine.within = 0.0005
    assert measured() == 0
    assert "cannot be kept" not in capsys.readouterr().out


def test_equal_sessions_write_equal_files(machine, tmp_path):
    assert measured() == 0
    path = tmp_path / "baselines" / NAME
    before = path.read_bytes()
    assert measured() == 0
    assert path.read_bytes() == before
    assert len(before) < 30_000


def test_what_takes_the_place_of_a_file_is_told_with_what_is_lost(machine, tmp_path, capsys):
    assert measured() == 0
    assert "in the place of" not in capsys.readouterr().out
    assert measured("-k", "sdpa") == 0
    out = capsys.readouterr().out
    assert "in the place of those of 2026-11-22" in out
    assert "without a floor from now on: 1 of its cells" in out
    assert set(floors(tmp_path).floors) == {CELLS[0].key}


def test_another_name_is_another_file(machine, tmp_path):
    assert measured("--floors", "night") == 0
    assert floors(tmp_path, "night.noise.json").suite == "fashion"
    assert not (tmp_path / "baselines" / NAME).exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--runs", "1"), "--runs 1: one process has nothing to differ from"),
        (("--runs", "-3"), "--runs -3"),
        (("--floors", "../x"), "--floors '../x': a name is letters"),
        (("-k", "nothing"), "fashion.yaml: no cell of it is timed"),
        (("--set", "metrics=[macs]"), "fashion.yaml: no cell of it is timed"),
    ],
)
def test_what_would_measure_nothing_is_refused_before_anything_runs(machine, capsys, more, told):
    assert measured(*more) == 2
    assert told in capsys.readouterr().err
    assert not machine.matches


def test_few_processes_are_told_to_be_few(machine, capsys):
    assert measured("--runs", "4") == 0
    assert "--runs 4: too few to gate by" in capsys.readouterr().err
    assert measured("--runs", "5") == 0
    assert "too few" not in capsys.readouterr().err


def test_a_busy_machine_is_exit_6_and_no_floor(machine, tmp_path, capsys):
    machine.others = 1.2
    assert measured() == 6
    err = capsys.readouterr().err
    assert "other programs kept 1.2 processors busy" in err
    assert "no floor was written" in err
    assert not (tmp_path / "baselines").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 2, "sum": "0"}'])
def test_a_damaged_file_is_named_before_anything_runs_and_stays(machine, tmp_path, capsys, text):
    path = tmp_path / "baselines" / NAME
    path.parent.mkdir()
    path.write_text(text)
    assert measured() == 2
    assert f"{NAME}:1" in capsys.readouterr().err
    assert path.read_text() == text
    assert not machine.matches


def test_a_cell_that_fails_has_no_floor_and_the_others_do(machine, tmp_path, capsys):
    machine.crashed = ("monarch",)
    assert measured() == 3
    assert set(floors(tmp_path).floors) == {CELLS[0].key}
    assert (
        "has no floor: fewer than 2 of its processes came to an end: crashed, exit 1"
        in capsys.readouterr().err
    )


def test_where_every_cell_fails_nothing_is_written(machine, tmp_path, capsys):
    machine.crashed = ("sdpa", "monarch")
    assert measured() == 3
    assert "no cell has a floor, nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "baselines").exists()


def test_floors_of_another_machine_count_for_nothing_to_two_arms_and_are_told(
    machine, tmp_path, capsys
):
    assert measured() == 0
    folder = tmp_path / "baselines"
    arms = session(pairs=((CELLS[0], CELLS[0]),))
    assert ab._floors(arms, folder, "") == noise_read(folder / NAME)
    capsys.readouterr()
    elsewhere = Environment({**ENVIRONMENT.facts, "cpu": "Another CPU"})
    moved = dataclasses.replace(
        arms, arms=tuple(dataclasses.replace(one, environment=elsewhere) for one in arms.arms)
    )
    assert ab._floors(moved, folder, "") is None
    err = capsys.readouterr().err
    assert "measured elsewhere count for nothing here" in err
    assert "Some CPU -> Another CPU" in err
    assert ab._floors(arms, tmp_path, "") is None


def test_floors_of_this_machine_come_before_those_that_stand_beside_the_baseline(machine, tmp_path):
    assert measured() == 0
    assert measured("--floors", "main") == 0
    folder = tmp_path / "baselines"
    path, found = noise_beside(("main", "fashion"), folder, ENVIRONMENT)
    assert path.name == "main.noise.json"
    away = dataclasses.replace(found, environment=Environment({"device": "cuda"}))
    noise_write(path, away)
    assert noise_beside(("main", "fashion"), folder, ENVIRONMENT)[0].name == NAME
    (folder / NAME).unlink()
    assert noise_beside(("main", "fashion"), folder, ENVIRONMENT) == (path, away)
    assert noise_beside(("other",), folder, ENVIRONMENT) is None
