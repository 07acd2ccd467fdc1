"""`ditbench ab`: three times the work is found, in shared processes, and every value is kept."""

from __future__ import annotations

import json

import pytest

from ditbench.store import session_read

SUITE = """
name: arms
model: TINY
attention: sdpa
steps: 2
timing: {warmup: 1, warmup_cap_s: 0, repeats: 6, cap_s: 1, memory_limit: 4 GiB}
metrics: [latency]
"""


@pytest.fixture(scope="module")
def found(shell):
    suite = shell.suite(SUITE)
    ended = shell("ab", suite, "--a", ".", "--b", "steps=6", "--out", "x.session.jsonl", "--json")
    return ended, session_read(shell.folder / "x.session.jsonl")


def test_three_times_the_work_is_confirmed_unless_the_machine_was_too_busy_to_tell(found):
    """What other programs do here while this runs is not ours to choose: then it is exit 6."""
    ended, _ = found
    (verdict,) = json.loads(ended.out)
    busy = any(step["rule"] == "machine" for step in verdict["steps"])
    assert ended.code == (6 if busy else 4), ended.err
    assert verdict["verdict"] == ("inconclusive" if busy else "regressed")
    assert verdict["duel"]["ratio"]["value"] > 1.5
    assert verdict["duel"]["inside"]


def test_both_arms_of_each_process_took_turns(found):
    _, session = found
    told = [(record.facts["process"], record.facts["arm"]) for record in session.records]
    assert told == [(process, arm) for process in range(5) for arm in "ab"]
    for a, b in zip(session.records[::2], session.records[1::2], strict=True):
        assert len(a.metrics["latency"]) == len(b.metrics["latency"]) >= 6
        assert a.facts["begins"] == "ab"[a.facts["process"] % 2]
        assert a.facts["telemetry"]["samples"] > 0
    assert session.finished
