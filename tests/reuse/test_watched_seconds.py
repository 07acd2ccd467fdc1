"""Seconds of decisions, told only where somebody listens."""

from __future__ import annotations

import itertools

import pytest
import torch

from ditbench.reuse import spent


@pytest.fixture
def clock(monkeypatch):
    """Each reading is a second later."""
    ticks = itertools.count()
    monkeypatch.setattr(spent.time, "perf_counter", lambda: float(next(ticks)))
    return ticks


def test_seconds_and_times_add_up(clock):
    with spent.collect("cpu") as found:
        for _ in range(3):
            with spent.watched():
                next(clock)  # a second of work
        next(clock)
    assert (found.seconds, found.times) == (6.0, 3)


def test_unheard_no_clock_is_read(clock):
    with spent.watched():
        pass
    assert next(clock) == 0
    assert spent.told(lambda: {"never": 1.0}) == {}


def test_one_inside_another_is_the_outer_ones(clock):
    with spent.collect("cpu") as found, spent.watched(), spent.watched():
        next(clock)
    assert (found.seconds, found.times) == (2.0, 1)


def test_what_fails_is_told_too_and_listening_ends(clock):
    with pytest.raises(ValueError, match="odd"), spent.collect("cpu") as found, spent.watched():
        raise ValueError("odd")
    assert found.seconds == 1.0
    assert spent.told(lambda: {"never": 1.0}) == {}


def test_a_gpu_is_waited_for_on_both_sides(monkeypatch):
    heard = []
    monkeypatch.setattr(torch.cuda, "synchronize", heard.append)
    with spent.collect("cuda:1"), spent.watched():
        heard.append("work")
    assert heard == [torch.device("cuda:1"), "work", torch.device("cuda:1")]


def test_what_is_only_told_is_found_out_for_who_listens_and_stands_aside(clock):
    with spent.collect("cpu") as found:
        assert spent.told(lambda: {"second": float(next(clock))})
    assert (found.seconds, found.aside) == (0.0, 2.0)
