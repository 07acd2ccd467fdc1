"""`ditbench ab`: three times the work is found, in shared processes, and every value is kept."""

from __future__ import annotations

import functools
import json

import pytest
from at_rest import undisturbed

from ditbench import errors
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
def attempt(shell):
    suite = shell.suite(SUITE)

    @functools.cache
    def attempt(number):
        name = f"{number}.session.jsonl"
        arms = ("--a", ".", "--b", "steps=6", "--out", name, "--json")
        ended = shell("ab", suite, *arms, first=True)
        (verdict,) = json.loads(ended.out)
        why = verdict["reason"] if ended.code == errors.ENVIRONMENT else ""
        return (ended, verdict, session_read(shell.folder / name)), why

    return attempt


def test_three_times_the_work_is_confirmed(attempt):
    ended, verdict, _ = undisturbed(attempt)
    assert ended.code == errors.PERFORMANCE, ended.err
    assert verdict["verdict"] == "regressed"
    assert verdict["duel"]["ratio"]["value"] > 1.5
    assert verdict["duel"]["inside"]


def test_both_arms_of_each_process_took_turns(attempt):
    (*_, session), _ = attempt(0)
    told = [(record.facts["process"], record.facts["arm"]) for record in session.records]
    assert told[:10] == [(process, arm) for process in range(5) for arm in "ab"]
    for a, b in zip(session.records[::2], session.records[1::2], strict=True):
        assert len(a.metrics["latency"]) == len(b.metrics["latency"]) >= 6
        assert a.facts["begins"] == "ab"[a.facts["process"] % 2]
        assert a.facts["telemetry"]["samples"] > 0
    assert session.finished
