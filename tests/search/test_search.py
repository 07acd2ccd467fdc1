"""The search for the largest number that fits: right, within its trials, and honest about what wavers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditbench.records import Cell, Choice, Sampling
from ditbench.search import MOST, Found, largest, step


class Memory:
    """Fits up to a true limit, but for the trials that are scripted otherwise; keeps what was tried."""

    def __init__(self, limit, odd=()):
        self.limit, self.odd, self.tried = limit, dict(odd), []

    def __call__(self, number):
        self.tried.append(number)
        script = self.odd.get(number)
        return script.pop(0) if script else number <= self.limit


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8, 31, 32, 33, 47, 63, 64, 65, 100, 127])
def test_below_128_the_answer_is_exact(limit):
    assert largest(Memory(limit)) == Found(limit, limit + 1)


@given(st.integers(1, MOST - 1))
def test_the_answer_fits_and_the_next_step_does_not(limit):
    found = largest(Memory(limit))
    assert found.largest <= limit < found.fails
    assert found.fails - found.largest == step(found.largest)
    assert found.fails - found.largest <= max(1, found.largest / 64)
    assert found.wavering == ()


@given(st.integers(1, MOST - 1))
def test_trials_grow_with_the_logarithm_and_the_last_two_are_the_two_sides_again(limit):
    memory = Memory(limit)
    found = largest(memory)
    assert len(memory.tried) <= limit.bit_length() + 1 + 6 + 2
    assert memory.tried[-2:] == [found.largest, found.fails]
    assert memory.tried.count(found.largest) == memory.tried.count(found.fails) == 2


def test_doubling_comes_first_and_then_halves():
    memory = Memory(11)
    largest(memory)
    assert memory.tried == [1, 2, 4, 8, 16, 12, 10, 11, 11, 12]


def test_where_not_even_one_fits_the_answer_is_none():
    memory = Memory(0)
    assert largest(memory) == Found(0, 1)
    assert memory.tried == [1, 1]


def test_the_search_ends_at_its_cap_and_knows_no_number_that_fails():
    memory = Memory(10**9)
    assert largest(memory) == Found(MOST, None)
    assert max(memory.tried) == MOST


def test_no_trial_has_more_rows_than_kernels_take():
    """CUDA's limit of a grid in y and z, which flash and efficient attention lay a row along."""
    guided = Cell(Choice("dit"), Choice("sdpa"), sampling=Sampling(guidance_scale=4.0))
    most = guided.of_batch(MOST).rows
    assert 2 * most > 65_535 >= most > MOST


def test_what_fits_once_and_not_again_does_not_count_as_fitting():
    memory = Memory(20, odd={21: [True, False]})
    assert largest(memory) == Found(20, 21, (21,))


def test_a_drop_far_below_the_edge_is_searched_again():
    """At 20 it fits once and then never; from 18 on nothing does any more."""
    memory = Memory(17, odd={24: [False], 20: [True], 18: [True], 22: [True], 23: [True]})
    found = largest(memory)
    assert (found.largest, found.fails) == (17, 18)
    assert found.wavering == (18, 20, 22, 23)


def test_what_failed_once_and_fits_on_a_second_try_is_told_and_not_believed():
    memory = Memory(21, odd={21: [False]})
    assert largest(memory) == Found(20, 21, (21,))


def test_one_that_wavers_at_the_very_bottom_is_none():
    assert largest(Memory(0, odd={1: [True, False, False]})) == Found(0, 1, (1,))


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 200))
def test_any_noise_ends_and_the_answer_never_failed(noise, limit):
    flips = iter(noise)
    said = []

    def fits(number):
        answer = (number <= limit) != (next(flips, False))
        said.append((number, answer))
        return answer

    found = largest(fits)
    assert (found.largest, False) not in said
    if found.fails is not None:
        assert (found.fails, False) in said
        assert found.largest < found.fails


def test_what_a_trial_raises_ends_the_search():
    def fits(number):
        if number == 4:
            raise TimeoutError
        return True

    with pytest.raises(TimeoutError):
        largest(fits)
