"""Who is ours and who is not, on a machine and in a container."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ditbench.devices.cpu import CpuMeter
from ditbench.devices.family import Family

HERE = Family(os.getpid())


def fake_proc(folder, namespace, parents):
    """parents: process id to its parent's."""
    (folder / "self/ns").mkdir(parents=True)
    (folder / "self/ns/pid").symlink_to(namespace)
    for pid, parent in parents.items():
        (folder / str(pid) / "task" / str(pid)).mkdir(parents=True)
        times = "10 20 30 40" if pid == 100 else "100 0 0 0"
        (folder / str(pid) / "stat").write_text(f"{pid} (a) b) S {parent} {'0 ' * 9}{times} 20 0\n")
        children = " ".join(str(one) for one, its in parents.items() if its == pid)
        (folder / str(pid) / "task" / str(pid) / "children").write_text(children)
    return Family(100, folder)


NOBODY = 5_000_000  # above every id that Linux gives
FAMILY = {100: 1, 101: 100, 102: 101, NOBODY: 1}
MACHINE, CONTAINER = "pid:[4026531836]", "pid:[4026532999]"


def test_descendants_are_ours_and_others_are_not(tmp_path):
    processes = fake_proc(tmp_path, MACHINE, FAMILY)
    assert [pid for pid in (100, 101, 102, NOBODY, 300) if processes.ours(pid)] == [100, 101, 102]


def test_mistake_29_on_the_machine_every_other_process_is_foreign(tmp_path):
    processes = fake_proc(tmp_path, MACHINE, FAMILY)
    assert processes.foreign([102, NOBODY]) == (f"process {NOBODY}",)
    assert processes.foreign([NOBODY]) == (f"process {NOBODY}",)
    assert processes.foreign([102]) == ()


def test_in_a_container_one_unknown_process_is_taken_for_our_worker(tmp_path):
    assert fake_proc(tmp_path, CONTAINER, FAMILY).foreign([4711]) == ()


def test_mistake_29_in_a_container_a_second_unknown_process_is_foreign(tmp_path):
    (told,) = fake_proc(tmp_path, CONTAINER, FAMILY).foreign([4711, 4712])
    assert told == (
        "a process this container cannot see (host id 4711 or 4712, one of which is our own)"
    )


def test_mistake_29_a_container_that_sees_its_worker_knows_the_others_for_foreign(tmp_path):
    told = fake_proc(tmp_path, CONTAINER, FAMILY).foreign([102, 4712])
    assert told == ("a process this container cannot see (host id 4712)",)


def test_the_time_of_a_family_counts_those_it_has_seen_out(tmp_path):
    ticks = os.sysconf("SC_CLK_TCK")
    assert fake_proc(tmp_path, MACHINE, FAMILY).cpu_seconds() == pytest.approx((100 + 200) / ticks)


def test_without_a_namespace_to_read_nothing_is_named(tmp_path):
    assert Family(1, tmp_path).told(5).startswith("a process this container cannot see")


def _burn(seconds):
    """Of processor time, however long a crowded machine takes to give it."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_what_a_child_burns_is_ours_and_no_load_of_others():
    """Seen from the child alone, what its parent burns is somebody else's."""
    fork = multiprocessing.get_context("fork")
    ready, done = fork.Event(), fork.Event()
    child = fork.Process(target=lambda: (ready.set(), done.wait()))
    child.start()
    ready.wait()
    of_child = CpuMeter(Family(child.pid), tuple(os.sched_getaffinity(0)))
    of_us = CpuMeter(HERE, of_child.cpus)
    before, ours = of_child.read(), of_us.read().ours
    _burn(0.5)
    after, burnt = of_child.read(), of_us.read().ours - ours
    done.set()
    child.join()
    assert burnt == pytest.approx(0.5, abs=0.2)
    assert after.ours - before.ours < burnt / 2
    assert after.busy - before.busy > burnt / 2


def test_frequency_and_heat_are_read_where_the_machine_tells_them(tmp_path):
    for number, (kilohertz, events) in enumerate([(2_000_000, 3), (1_500_000, 4)]):
        cpu = tmp_path / f"cpu{number}"
        (cpu / "cpufreq").mkdir(parents=True)
        (cpu / "thermal_throttle").mkdir()
        (cpu / "cpufreq/scaling_cur_freq").write_text(f"{kilohertz}\n")
        (cpu / "thermal_throttle/core_throttle_count").write_text(f"{events}\n")
    found = CpuMeter(HERE, (0, 1), Path("/proc"), tmp_path).read()
    assert (found.frequency, found.throttled) == (1.5e9, 7)
    silent = CpuMeter(HERE, (0, 1), Path("/proc"), tmp_path / "none").read()
    assert (silent.frequency, silent.throttled) == (None, None)


_ENDING = """
import codecs, encodings, os
from ditbench.devices.processes import children_of, end_children
codecs.unregister(encodings.search_function)  # as in an interpreter that is ending
child = os.fork()
if not child:
    os.execv("/bin/sleep", ["sleep", "60"])
assert children_of(os.getpid()) == [child]
end_children()
assert children_of(os.getpid()) == []
"""


def test_children_are_found_and_ended_where_an_interpreter_knows_no_encodings_any_more():
    done = subprocess.run([sys.executable, "-c", _ENDING], check=False, timeout=180)
    assert done.returncode == 0
