"""`ditbench claims`: every published number of a suite, with a verdict, for people and for programs."""

from __future__ import annotations

import json

import pytest
from fakes_runs import fake_run, good_records

from ditbench import cli
from ditbench.store import RunWriter


@pytest.fixture
def told(tmp_path, capsys):
    with RunWriter.create(tmp_path, fake_run()) as writer:
        for record in good_records():
            writer.append(record)
        writer.finish()

    def told(*options):
        code = cli.main(["claims", *options, "--out", str(tmp_path)])
        assert code == 0
        return capsys.readouterr().out

    return told


def test_a_program_reads_a_verdict_a_claim(told):
    found = json.loads(told("--json"))
    assert [one["verdict"] for one in found] == ["reproduced", "contradicted", "not measured"]
    assert found[2]["why"] == "no cell of this run is of that kind"


def test_a_person_reads_both_numbers_with_their_units(told):
    out = told()
    assert "40.0 MMAC" in out
    assert "contradicted" in out
    assert "DiT paper, table 4" in out
