"""Samples of a machine, made by hand, and what they amount to."""

from __future__ import annotations

import pytest

from ditbench.devices import readings
from ditbench.devices.cpu import Load
from ditbench.devices.nvml import Reading
from ditbench.devices.readings import CpuSample, GpuSample, Window

S = 10**9


def reading(**more):
    plain = {
        "sm_clock": 1.98e9,
        "memory_clock": 2.6e9,
        "temperature": 60.0,
        "power": 500.0,
        "energy": None,
        "reasons": 0,
        "utilisation": 1.0,
        "memory_used": 2**30,
    }
    return Reading(**(plain | more))


def window(samples, begin=0.0, end=10.0):
    """samples: (seconds, reading's differences)."""
    made = [
        GpuSample(round(at * S), reading(**{k: v for k, v in more.items() if k != "foreign"}),
                  more.get("foreign", ()))
        for at, more in samples
    ]  # fmt: skip
    return Window(made, round(begin * S), round(end * S))


def steady(**more):
    """Ten samples a second from one second before to one after ten seconds."""
    return [(at / 10, more) for at in range(-10, 111)]


def metered(watts=500.0, **more):
    return [(at, {"energy": 1e6 + watts * at, "power": watts} | more) for at, _ in steady()]


def test_lowest_median_and_highest_are_of_the_timed_stretch_alone():
    samples = [(-1, {"temperature": 20.0}), *((at, {"temperature": 50.0 + at}) for at in range(11))]
    told = readings.gpu(window(samples))
    assert told["temperature"] == [50.0, 55.0, 60.0]
    assert (told["samples"], told["window_s"]) == (11, 10.0)


def test_a_stretch_between_two_samples_is_told_by_those_two():
    told = readings.gpu(window([(0, {"power": 100.0}), (1, {"power": 300.0})], 0.4, 0.5))
    assert told["power"] == [100.0, 200.0, 300.0]


def test_what_a_gpu_does_not_say_is_left_out():
    told = readings.gpu(window(steady(sm_clock=None, reasons=None)))
    assert "sm_clock" not in told
    assert told["slowed_share"] == 0.0


@pytest.mark.parametrize(
    ("bits", "slowed", "cause"),
    [
        (0x20, 1.0, "heat"),
        (0x40, 1.0, "heat"),
        (0x80, 1.0, "a power brake"),
        (0x08, 1.0, "its hardware"),
        (0x04, 0.0, None),
        (0x01, 0.0, None),
        (0x02, 0.0, None),
    ],
    ids=["software heat", "hardware heat", "brake", "slowdown", "power cap", "idle", "clock set"],
)
def test_mistake_29_only_reasons_that_invalidate_count_and_the_power_cap_stands_apart(
    bits, slowed, cause
):
    told = readings.gpu(window(steady(reasons=bits)))
    assert told["slowed_share"] == slowed
    assert set(told["slowed"]) == ({cause} if cause else set())
    assert told["power_capped"] == float(bits == 0x04)


def test_mistake_29_a_throttled_part_of_the_stretch_is_its_share():
    samples = [(at, {"reasons": 0x20 if at < 2 else 0}) for at in range(10)]
    assert readings.gpu(window(samples))["slowed_share"] == pytest.approx(0.2)


def test_mistake_29_a_foreign_process_is_named_with_its_share():
    samples = [(at, {"foreign": ("process 7 (x, of y)",) if at >= 5 else ()}) for at in range(10)]
    told = readings.gpu(window(samples))
    assert told["foreign"] == ["process 7 (x, of y)"]
    assert told["foreign_share"] == pytest.approx(0.5)


def test_energy_is_the_counters_between_the_ends():
    found = readings.energy(window(metered(), 0.05, 9.95))
    assert found["joules"] == pytest.approx(500 * 9.9)
    assert found["source"] == "counter"
    assert found["disagreement"] < 1e-9


def test_without_a_counter_power_is_integrated_and_said():
    found = readings.energy(window(steady(power=400.0), 0.05, 9.95))
    assert found == {"joules": pytest.approx(400 * 9.9), "source": "power"}


def test_a_counter_that_began_anew_is_not_believed():
    samples = [(at, {"energy": 5e6 if at < 5 else 1.0, "power": 300.0}) for at in range(11)]
    assert readings.energy(window(samples))["source"] == "power"


def test_a_counter_that_disagrees_with_power_says_by_how_much():
    found = readings.energy(window(metered(500.0, power=600.0)))
    assert found["disagreement"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (window(steady(power=None)), "neither its energy nor its power"),
        (window(steady(power=0.0, energy=7.0)), "neither"),
        (window(metered(), 3.0, 3.4), "timed for 0.4 s"),
        (window(metered(), 3.0, 30.0), "neither"),
        (window(metered(), -5.0, 9.0), "timed for longer than samples are kept"),
    ],
    ids=["silent", "standing still", "too short", "beyond the samples", "before the samples"],
)
def test_energy_is_missing_with_a_reason_and_never_zero(found, why):
    told = readings.energy(found)
    assert "joules" not in told
    assert why in told["missing"]


def loads(*rows):
    return [
        CpuSample(round(at * S), Load(busy, ours, hertz, heat))
        for at, busy, ours, hertz, heat in rows
    ]


def test_the_load_of_others_is_what_is_busy_less_what_is_ours():
    rows = loads((0, 100.0, 10.0, 2e9, 3), (5, 108.0, 15.0, 3e9, 3), (10, 116.0, 20.0, 1e9, 5))
    told = readings.cpu(Window(rows, 1 * S, 9 * S))
    assert told["others"] == pytest.approx(0.6)
    assert told["throttled"] == 2
    assert told["frequency"] == [3e9, 3e9, 3e9]


def test_one_sample_of_the_processors_says_nothing_of_others():
    assert "others" not in readings.cpu(Window(loads((0, 1.0, 1.0, None, None)), 0, S))


def out(samples, calls, spoilt=readings.gpu_spoilt):
    """Which of the calls that began at these seconds are left out of a stretch of ten."""
    looked = window(samples) if spoilt is readings.gpu_spoilt else samples
    return readings.left_out([round(at * S) for at in calls], 10 * S, spoilt(looked))


HEAT, BRAKE, HARDWARE, POWER_CAP, IDLE = 0x20, 0x80, 0x08, 0x04, 0x01
HOT = "the GPU was slowed by heat"


def test_mistake_29_calls_beside_a_look_that_saw_heat_are_left_out_with_the_reason():
    looks = [(at, {"reasons": HEAT if at == 4 else 0}) for at in range(11)]
    assert out(looks, range(10)) == [(3, HOT), (4, HOT)]
    assert out(looks, [0, 2, 3.5, 6]) == [(1, HOT), (2, HOT)]


@pytest.mark.parametrize(
    ("bits", "why"),
    [
        (HEAT | HARDWARE, HOT),
        (0x40 | HARDWARE, HOT),
        (BRAKE | HARDWARE, "the GPU was slowed by a power brake"),
        (HARDWARE, "the GPU was slowed by its hardware"),
    ],
)
def test_mistake_29_each_physical_cause_is_named(bits, why):
    looks = [(at, {"reasons": bits if at == 5 else 0}) for at in range(11)]
    assert {reason for _, reason in out(looks, range(10))} == {why}


@pytest.mark.parametrize("bits", [0, POWER_CAP, IDLE, None])
def test_a_power_cap_and_a_slow_call_are_no_reason_to_leave_anything_out(bits):
    looks = [(at, {"reasons": bits, "sm_clock": 1e9 * at}) for at in range(1, 11)]
    assert out(looks, [0, 1, 9.9]) == []


def test_mistake_29_calls_beside_another_program_are_left_out_and_name_it():
    looks = [(at, {"foreign": ("process 7 (train)",) if at >= 8 else ()}) for at in range(11)]
    told = "process 7 (train) computed on the GPU"
    assert out(looks, range(10)) == [(7, told), (8, told), (9, told)]


def test_heat_between_the_last_look_before_and_the_first_after_reaches_a_short_stretch():
    assert out([(-1, {"reasons": HEAT}), (12, {})], [0.0]) == [(0, HOT)]


def throttled(*counts):
    loads = [Load(0.0, 0.0, None, count) for count in counts]
    return Window([CpuSample(at * S, load) for at, load in enumerate(loads)], S, 10 * S)


def test_mistake_29_calls_during_which_the_kernel_counted_heat_are_left_out():
    seen = throttled(3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4)
    told = "heat slowed the processors"
    assert out(seen, range(10), readings.cpu_spoilt) == [(2, told)]
    assert out(throttled(*[None] * 11), range(10), readings.cpu_spoilt) == []
