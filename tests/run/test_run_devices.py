"""Several devices asked for at once: which they are, and when they are refused."""

from __future__ import annotations

import pytest
from fakes_run import FakeGpu, FakeNvml

from ditbench.devices import device
from ditbench.devices.device import CPU, facts_of
from ditbench.errors import UnfitError, UsageError
from ditbench.units import parse_seconds, parse_size

ONE = "GPU-11111111-aaaa"
TWO = "GPU-22222222-bbbb"


def choose_all(wanted, nvml, environ):
    """Without the time in which a GPU is watched before it is called idle."""
    return device.choose_all(wanted, nvml, environ, sleep=lambda _seconds: None)


def two(**more):
    return FakeNvml([FakeGpu(ONE), FakeGpu(TWO, **more)])


def names(wanted, nvml, environ=None):
    return [one.name for one in choose_all(wanted, nvml, environ or {})]


def test_one_device_is_chosen_as_ever():
    assert names("1", two()) == [TWO]
    assert choose_all(None, None, {}) == (CPU,)


@pytest.mark.parametrize("wanted", ["0,1", "0, GPU-2", f"{ONE},{TWO}", "all"])
def test_several_are_named_with_commas_or_all_together(wanted):
    assert names(wanted, two()) == [ONE, TWO]


def test_all_is_what_the_environment_leaves():
    assert names("all", two(), {"CUDA_VISIBLE_DEVICES": TWO}) == [TWO]


def test_all_of_them_are_watched_together_for_two_seconds():
    slept = []
    device.choose_all("all", two(), {}, sleep=slept.append)
    assert sum(slept) == pytest.approx(2.0)


def test_their_card_names_all_of_them():
    facts = facts_of(choose_all("all", two(), {}))
    assert (facts["gpu_uuid"], facts["gpus"]) == (f"{ONE}, {TWO}", 2)
    assert facts["gpu"] == "NVIDIA H200"
    assert "gpus" not in facts_of(choose_all("0", two(), {}))


def test_gpus_that_differ_are_refused_with_what_differs():
    with pytest.raises(UnfitError) as caught:
        choose_all("all", two(name="NVIDIA H100", watts=350), {})
    told = str(caught.value)
    assert f"gpu is NVIDIA H200 on {ONE} and NVIDIA H100 on {TWO}" in told
    assert f"gpu_power_limit is 700.0 on {ONE} and 350.0 on {TWO}" in told


@pytest.mark.parametrize("wanted", ["0,0", "0,cpu", f"{ONE},0"])
def test_nothing_but_gpus_and_each_of_them_once(wanted):
    with pytest.raises(UsageError, match="name each GPU once, and nothing but GPUs"):
        choose_all(wanted, two(), {})


def test_one_that_is_busy_is_named():
    with pytest.raises(UnfitError, match=f"{TWO}.* is used by process 77"):
        choose_all("all", two(pids=(77,)), {})


@pytest.mark.parametrize("wanted", ["all", ","])
def test_none_at_all_is_said(wanted):
    with pytest.raises(UnfitError, match="there is no GPU"):
        choose_all(wanted, None, {})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2 h", 7200), ("0.5h", 1800), ("1h 5s", 3605)],
)
def test_a_time_is_said_in_hours_minutes_and_seconds(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "5m1h", "-5m", "1e3s", "soon"])
def test_anything_else_is_no_time(text):
    assert parse_seconds(text) is None


@pytest.mark.parametrize("text", ["", "4", "GiB", "4 gib", "-4 GiB", "4 GiBs", "4 Gi"])
def test_anything_else_is_no_size(text):
    assert parse_size(text) is None
