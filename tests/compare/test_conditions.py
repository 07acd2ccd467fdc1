"""A time that moved on a machine that is another than then is the machine's, exit 6, and no regression."""

from __future__ import annotations

import dataclasses

import pytest
from fakes_runs import cell, fake_run, gate, record, timed
from fakes_sessions import ARMS, abba, session

from ditbench import errors
from ditbench.compare import Given, Verdict, compare
from ditbench.devices import readings
from ditbench.devices.cpu import CpuMeter
from ditbench.devices.readings import CpuSample, Window
from ditbench.records import CANARY, Stage

S = 10**9
QUIET = {"device": "cpu", "window_s": 5.0, "samples": 10, "others": 0.02}


def run(seconds=0.1, telemetry=QUIET, canary=None):
    """One cell in three processes under these conditions; canary: seconds of its product, at each place."""
    of = cell("sdpa")
    processes = [tuple(seconds * (1 + one / 1000) for one in (0, at)) for at in range(3)]
    records = [
        dataclasses.replace(one, facts={**one.facts, "telemetry": telemetry})
        for one in timed(of, *processes)
    ]
    size = {"side": 192, "copied": 2**22}
    sung = [
        record(
            CANARY,
            Stage.CANARY,
            replicate=place,
            metrics={"canary_matrix": (seconds,) * 10, "canary_copy": (1e-3,) * 10},
            facts=size,
        )
        for place, seconds in enumerate(canary if isinstance(canary, tuple) else (canary,) * 3)
        if seconds
    ]
    return fake_run(gate(of, exact=True), *records, *sung)


def latency(now, then, **given):
    comparison = compare(now, then, "main", given=Given(**given))
    found = next(one for one in comparison.findings if one.metric == "latency")
    return found, comparison.exit_codes


def test_on_the_same_machine_a_slower_time_waits_to_be_confirmed_and_is_no_exit_6():
    found, codes = latency(run(0.12, canary=1e-3), run(0.1, canary=1e-3))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "canary" not in found.reason
    assert codes == frozenset()


def test_mistake_29_where_the_canary_moved_as_well_the_machine_changed():
    found, codes = latency(run(0.12, canary=1.1e-3), run(0.1, canary=1e-3))
    assert (found.verdict, codes) == (Verdict.INCONCLUSIVE, {errors.ENVIRONMENT})
    assert found.reason.endswith(
        "the canary moved too, so the machine is another: its matrix product took 1.00 ms then and 1.10 ms "
        "now, +10.0 % beyond a floor of 1.50 %"
    )
    assert found.steps[-1].rule == "machine"


def test_mistake_29_a_time_that_moved_in_a_run_within_which_the_machine_did_is_exit_6():
    wavering = run(0.12, canary=(1e-3, 1.1e-3, 1e-3))
    found, codes = latency(wavering, run(0.1, canary=1e-3))
    assert (found.verdict, codes) == (Verdict.INCONCLUSIVE, {errors.ENVIRONMENT})
    assert "the canary moved within this run, so the machine did not stay the same: its matrix" in (
        found.reason
    )
    still, codes = latency(run(0.1, canary=(1e-3, 1.1e-3, 1e-3)), run(0.1, canary=1e-3))
    assert (still.verdict, codes) == (Verdict.UNCHANGED, frozenset())


@pytest.mark.parametrize("arms", [ARMS, ARMS[:1] * 2], ids=["two commits", "equal arms"])
@pytest.mark.parametrize("number", [3, 5])
def test_a_session_acquits_the_machine_only_with_five_processes_an_arm(number, arms):
    def side(seconds):
        return [seconds * (1 + place / 1000) for place in range(number)]

    own = session(*abba(cell("sdpa"), side(0.1), side(0.1)), arms=arms)
    found, codes = latency(run(0.12, canary=1.1e-3), run(0.1, canary=1e-3), session=own)
    assert ("the canary moved too" in found.reason) is (number == 3)
    assert codes == ({errors.ENVIRONMENT} if number == 3 else frozenset())


def test_a_canary_that_moved_while_no_time_did_is_no_exit_6():
    found, codes = latency(run(0.1, canary=1.1e-3), run(0.1, canary=1e-3))
    assert (found.verdict, codes) == (Verdict.UNCHANGED, frozenset())


def test_mistake_29_a_gpu_at_another_clock_explains_a_time_that_moved():
    def at(hertz):
        return {"device": "GPU-1", "window_s": 5.0, "samples": 10, "sm_clock": [hertz] * 3}

    found, codes = latency(run(0.12, at(1.5e9)), run(0.1, at(1.8e9)))
    assert codes == {errors.ENVIRONMENT}
    assert (
        "the GPU's clock was 1.80 GHz then and is 1.50 GHz now (\N{MINUS SIGN}16.7 %)"
        in found.reason
    )


@pytest.mark.parametrize("busy", ["then", "now"])
def test_mistake_29_other_programs_at_either_time_explain_a_time_that_moved(busy):
    crowd = QUIET | {"others": 0.9}
    conditions = {"then": QUIET, "now": QUIET} | {busy: crowd}
    found, codes = latency(run(0.12, conditions["now"]), run(0.1, conditions["then"]))
    assert (found.verdict, codes) == (Verdict.INCONCLUSIVE, {errors.ENVIRONMENT})
    assert "other programs kept 0.90 processors busy" in found.reason


def test_mistake_29_other_programs_beside_a_time_that_did_not_move_are_a_doubt_alone():
    found, codes = latency(run(0.1, QUIET | {"others": 0.9}), run(0.1))
    assert (found.verdict, codes) == (Verdict.UNCHANGED, frozenset())


class Ours:
    """This run's own processes, which took so many processor seconds."""

    def __init__(self, *seconds):
        self._seconds = list(seconds)

    def cpu_seconds(self):
        return self._seconds.pop(0)


def test_mistake_29_a_program_that_keeps_one_processor_busy_is_exit_6_and_no_regression(tmp_path):
    """From the kernel's own counters to the exit code; a tick is a hundredth of a second."""

    def stat(*busy):
        lines = [f"cpu{n} {ticks} 0 0 1000 0 0 0 0 0 0" for n, ticks in enumerate(busy)]
        (tmp_path / "stat").write_text("cpu  0 0 0 0 0 0 0 0 0 0\n" + "\n".join(lines) + "\n")

    meter = CpuMeter(Ours(0.0, 13.0), (0, 1), tmp_path, tmp_path)
    stat(100, 100)
    first = CpuSample(0, meter.read())
    stat(1100, 1100)  # ten seconds of both, of which 13 are ours
    told = readings.cpu(Window([first, CpuSample(10 * S, meter.read())], S, 9 * S))
    assert told["others"] == pytest.approx(0.7)
    found, codes = latency(run(0.12, told), run(0.1))
    assert (found.verdict, codes) == (Verdict.INCONCLUSIVE, {errors.ENVIRONMENT})
    assert "other programs kept 0.70 processors busy while it was timed" in found.reason
