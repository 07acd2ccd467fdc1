"""When a series is long enough, on series of every awkward kind; nothing is measured here."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest

from ditbench.stopping import Stopping, Warmup, half_width, least_s, unsteady

seeded = random.Random


def constant(seconds):
    return itertools.repeat(seconds)


def noisy(seconds, share, seed=0):
    rng = seeded(seed)
    return (seconds * rng.gauss(1, share) for _ in itertools.count())


def drifting(first, share):
    """Each call a share slower or faster than the one before."""
    return (first * (1 + share) ** n for n in itertools.count())


def cooling(steady, extra, half_life):
    """Slow at first, and ever nearer to its steady speed."""
    return (steady * (1 + extra * 0.5 ** (n / half_life)) for n in itertools.count())


def bimodal(one, other, seed=0):
    rng = seeded(seed)
    return (rng.choice((one, other)) * rng.gauss(1, 0.001) for _ in itertools.count())


def played(over, series):
    """The calls that are made of a series until `over`, on a clock that only the calls move."""
    made = []
    while not over(made, sum(made)):
        made.append(next(series))
        assert len(made) < 10_000
    return made


def warmed(series, least=3, cap_s=10.0):
    warmup = Warmup(least, cap_s)
    made = played(warmup.over, series)
    return made, warmup.facts(made, sum(made))


def stopped(series, least=10, precision=0.01, most=40, cap_s=1e9):
    stopping = Stopping(least, precision, most, cap_s)
    made = played(lambda seconds, elapsed_s: bool(stopping.reason(seconds, elapsed_s)), series)
    return made, stopping.facts(made, sum(made))


def test_a_constant_speed_is_steady_after_two_windows():
    made, facts = warmed(constant(0.4))
    assert len(made) == 6
    assert (facts["stable"], facts["unmet"], facts["calls"]) == (True, "", 6)


def test_short_calls_go_on_until_the_device_has_worked_a_second():
    made, facts = warmed(constant(0.01))
    assert sum(made) == pytest.approx(1.0)
    assert facts["stable"]


def test_a_long_call_is_an_average_itself_and_held_against_one_other():
    assert len(warmed(constant(20.0), least=1)[0]) == 1  # the cap came first
    assert len(warmed(constant(4.0), least=1)[0]) == 2


def test_mistake_10_slow_first_calls_are_not_what_is_timed():
    """Half as fast again at first: with three warm-ups the figure is wrong by a tenth, warm it is right."""
    steady = 0.2

    def cold():
        return cooling(steady, 0.5, 3)

    made, facts = warmed(cold(), least=3)
    after = statistics.median(itertools.islice(cold(), len(made), len(made) + 5))
    unwarmed = statistics.median(itertools.islice(cold(), 3, 8))
    assert facts["stable"]
    assert after / steady - 1 < 0.02
    assert unwarmed / steady - 1 > 0.1


def test_mistake_10_a_baseline_that_never_gets_warm_says_so():
    made, facts = warmed(drifting(0.3, -0.02))
    assert sum(made) >= 10
    assert facts["stable"] is False
    assert facts["unmet"] == "still moving by \N{MINUS SIGN}5.88 %"


def test_a_step_is_seen_until_both_windows_are_past_it():
    series = itertools.chain([0.3] * 4, constant(0.4))
    made, facts = warmed(series)
    assert facts["stable"]
    assert made[-6:].count(0.3) <= 1  # no median of three holds it


def test_noise_gets_there_and_two_modes_only_by_luck():
    assert warmed(noisy(0.2, 0.01))[1]["stable"]
    two = list(itertools.islice(itertools.cycle([0.2, 0.3]), 12))
    assert unsteady(two, 10.0) == "still moving by +50.0 %"


def test_a_cap_of_nothing_is_exactly_the_warm_ups_that_were_asked_for():
    for least in (0, 2):
        made, facts = warmed(drifting(0.3, 0.5), least=least, cap_s=0)
        assert len(made) == least
        assert (facts["stable"], facts["unmet"]) == (None, "")


def test_the_cap_never_takes_away_what_was_asked_for():
    made, facts = warmed(constant(3.0), least=5, cap_s=1.0)
    assert len(made) == 5
    assert facts["stable"]


def test_too_few_calls_before_the_cap_are_told():
    facts = warmed(constant(0.9), least=1, cap_s=2.0)[1]
    assert facts["unmet"] == "3 calls are too few to tell"
    assert warmed(constant(0.1), least=1, cap_s=0.65)[1]["unmet"] == (
        "700 ms of work are too few to tell"
    )


@pytest.mark.parametrize("once", [0.001, 0.125, 0.5, 1.0, 8.0])
def test_the_plan_knows_the_shortest_warm_up(once):
    made, _ = warmed(constant(once), least=1, cap_s=1e9)
    assert sum(made) == pytest.approx(least_s(once), rel=0.01)


def test_without_a_precision_there_are_exactly_the_repeats():
    made, facts = stopped(noisy(1.0, 0.5), least=7, precision=None, most=7)
    assert len(made) == 7
    assert (facts["by"], facts["unmet"], facts["precision"]) == ("repeats", "", None)


def test_a_quiet_series_ends_at_its_precision():
    made, facts = stopped(noisy(1.0, 0.005))
    assert len(made) == 10
    assert facts["by"] == "precision"
    assert half_width(made) <= 0.01
    assert stopped(constant(1.0), least=2)[1]["calls"] == 6  # fewer have no interval at all


def test_noise_goes_on_for_as_long_as_that_helps():
    made, facts = stopped(noisy(1.0, 0.03), most=1000)
    assert facts["by"] == "precision"
    assert len(made) > 20


def test_the_most_calls_and_the_most_seconds_end_it_and_say_what_was_missed():
    by_calls = stopped(noisy(1.0, 0.05), most=15)[1]
    by_time = stopped(noisy(1.0, 0.05), cap_s=11.5)[1]
    assert (by_calls["by"], by_calls["calls"]) == ("most_repeats", 15)
    assert (by_time["by"], by_time["calls"]) == ("cap_s", 12)
    assert by_calls["unmet"].endswith("where 1.00 % was asked for")
    assert stopped(constant(9.0), least=3, most=3)[1]["unmet"] == (
        "not known where 1.00 % was asked for"
    )


def test_the_seconds_never_take_away_what_was_asked_for():
    assert stopped(noisy(1.0, 0.05), least=10, cap_s=2.0)[1]["calls"] == 10


@pytest.mark.parametrize(
    "series",
    [
        pytest.param(bimodal(1.0, 1.3), id="two modes"),
        pytest.param(drifting(1.0, 0.01), id="drift"),
        pytest.param(itertools.chain([1.0] * 7, [1.2] * 7, constant(1.4)), id="steps"),
    ],
)
def test_an_interval_that_no_longer_narrows_is_a_plateau(series):
    facts = stopped(series, most=400)[1]
    assert facts["by"] == "plateau"
    assert facts["calls"] < 100
    assert facts["unmet"].startswith("\N{PLUS-MINUS SIGN}")


@pytest.mark.parametrize("count", [6, 7, 12, 25, 60])
def test_the_interval_holds_the_median_in_95_of_100_series(count):
    """Of a lopsided distribution whose median is ln 2."""
    rng = seeded(count)
    held = 0
    for _ in range(2000):
        values = sorted(rng.expovariate(1) for _ in range(count))
        width = half_width(values) * statistics.median(values) * 2
        # The interval itself, found again by its width.
        pairs = zip(values, reversed(values), strict=True)
        low, high = next((a, b) for a, b in pairs if math.isclose(b - a, width))
        held += low <= math.log(2) <= high
    assert 0.94 <= held / 2000 <= 0.995


def test_below_six_values_there_is_no_interval():
    assert half_width([1.0] * 5) == math.inf
    assert half_width([]) == math.inf
    assert half_width([1.0] * 6) == 0
