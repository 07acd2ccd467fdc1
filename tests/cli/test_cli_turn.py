"""A turn of an arm: what is measured once it is started, and what is written of it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from fakes_runs import cell, record

from ditbench.cli import turn
from ditbench.devices.device import Device
from ditbench.jobs import Quality, Timing
from ditbench.records import CANARY, Stage, Status
from ditbench.run.order import in_order

MONARCH, SDPA, SOFTMAX = cell("monarch"), cell("sdpa"), cell("softmax")
PAIRS = ((SDPA, MONARCH), (SOFTMAX, SDPA), (None, SOFTMAX))


def jobs(number, pairs=PAIRS):
    planned = SimpleNamespace(suite=SimpleNamespace(timing=Timing(), quality=Quality()))
    request = turn.Request("toy.yaml", "/there/a-0.session.jsonl", number)
    return in_order(turn._jobs(request, planned, pairs, Device()))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_turn_measures_the_canary_once_amid_its_cells(number):
    (sung,) = [job for job in jobs(number) if job.stage is Stage.CANARY]
    assert (sung.cell, sung.beside) == (CANARY, None)
    order = [job.stage for job in jobs(number) if job.stage is not Stage.GATE]
    assert order == [Stage.TIME, Stage.CANARY, Stage.TIME, Stage.TIME]
    gates = sum(job.stage is Stage.GATE for job in jobs(number))
    assert gates == (0 if number else 3)


def test_a_turn_without_cells_starts_nothing():
    assert jobs(0, ()) == ()


@pytest.fixture
def told():
    written = []
    writer = SimpleNamespace(append=written.append)
    hear = turn._Told(writer, {pair[1].key: pair[0] for pair in PAIRS})

    def tell(one):
        written.clear()
        hear(one)
        return list(written)

    return tell


def test_a_process_of_two_cells_is_the_cell_and_its_witness(told):
    arms = {
        "a": {"metrics": {"latency": [1.0]}, "facts": {"rows": 1}},
        "b": {"metrics": {"latency": [2.0]}, "facts": {"rows": 2}},
    }
    own, witness = told(record(MONARCH, Stage.TIME, facts={"arms": arms, "threads": 2}))
    assert (own.cell, own.metrics, own.facts) == (
        MONARCH,
        {"latency": (2.0,)},
        {"rows": 2, "threads": 2},
    )
    assert (witness.cell, witness.metrics, witness.facts) == (
        SDPA,
        {"latency": (1.0,)},
        {"rows": 1, "threads": 2, "witness": MONARCH.key},
    )


def test_a_cell_without_a_reference_and_the_canary_are_written_as_they_are(told):
    for one in (
        record(SOFTMAX, Stage.TIME, metrics={"latency": (1.0,)}),
        record(CANARY, Stage.CANARY, metrics={"canary_matrix": (1e-4,)}),
        record(CANARY, Stage.CANARY, status=Status.CRASHED, reason="SIGSEGV"),
    ):
        assert told(one) == [one]


def test_a_gate_is_a_record_only_where_it_keeps_its_cell_from_the_stopwatch(told):
    failed = record(MONARCH, Stage.GATE, status=Status.FAILED_GATE, reason="lies 1.02 away")
    assert told(record(MONARCH, Stage.GATE)) == []
    assert told(failed) == [dataclasses.replace(failed, stage=Stage.TIME)]
