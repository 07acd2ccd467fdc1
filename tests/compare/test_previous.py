"""What a run is compared with where nobody says: never with one that was measured otherwise."""

from __future__ import annotations

import dataclasses

import fakes_scale
import pytest
from fakes_runs import cell, fake_run, timed

from ditbench.cli.concluding import previous
from ditbench.jobs import Timing

FULL = dataclasses.asdict(Timing())
QUICK = FULL | {"warmup": 1, "repeats": 3, "processes": 1, "warmup_cap_s": 0.0}
PATIENT = FULL | {"timeout_s": {"gate": 1.0}, "memory_limit": 2**30}


def run(number, timing, batches=(1,)):
    records = [one for batch in batches for one in timed(cell(batch_size=batch), (0.1, 0.1))]
    effort = {"timing": timing, "quality": {"samples": 0}, "metrics": ["latency"]}
    return fake_run(*records, id=f"2026112{number}-100000-aaaa", effort=effort)


@pytest.mark.parametrize(
    ("earlier", "later", "chosen"),
    [
        (QUICK, FULL, False),
        (FULL, QUICK, False),
        (QUICK, QUICK, True),
        (FULL, FULL, True),
        (FULL, PATIENT, True),
    ],
    ids=["quick for full", "full for quick", "both quick", "both full", "other limits"],
)
def test_a_run_is_compared_by_default_with_one_of_the_same_effort_only(
    tmp_path, earlier, later, chosen
):
    fakes_scale.write(tmp_path, run(1, earlier))
    found = previous(run(2, later), tmp_path)
    assert (found.id if found else None) == (run(1, earlier).id if chosen else None)


def test_an_older_run_of_the_same_effort_is_found_behind_a_quick_one(tmp_path):
    for number, timing in ((1, FULL), (2, QUICK)):
        fakes_scale.write(tmp_path, run(number, timing))
    assert previous(run(3, FULL), tmp_path).id == run(1, FULL).id


def test_a_run_of_fewer_cells_is_no_default(tmp_path):
    fakes_scale.write(tmp_path, run(1, FULL))
    assert previous(run(2, FULL, (1, 4)), tmp_path) is None
