"""How much memory a worker may have, by the machine's account and by its control group's."""

from __future__ import annotations

import pytest

from ditbench.devices import memory

KIB = 1024
GIB = 2**30


def write(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.fixture
def machine(tmp_path):
    files = {
        "proc/meminfo": f"MemTotal: 99 kB\nMemAvailable:   {8 * GIB // KIB} kB\n",
        "proc/vmstat": "pgfault 12\noom_kill 3\n",
    }
    return write(tmp_path, files)


def test_without_control_groups_the_machine_decides(machine):
    assert memory.available(machine) == 8 * GIB
    assert memory.limit(machine) == int(0.8 * 8 * GIB)
    assert memory.kills(machine) == 3


def test_a_container_of_version_2_may_take_what_it_has_left_and_what_is_only_cached(machine):
    group = "sys/fs/cgroup/box/"
    files = {
        "proc/self/cgroup": "0::/box/inner\n",
        group + "memory.max": f"{4 * GIB}\n",
        group + "memory.current": f"{3 * GIB}\n",
        group + "memory.stat": f"anon 1\ninactive_file {GIB}\n",
        group + "memory.events": "oom 9\noom_kill 2\n",
        group + "inner/memory.max": "max\n",
        group + "inner/memory.events": "oom_kill 1\n",
    }
    assert memory.available(write(machine, files)) == 2 * GIB
    assert memory.kills(machine) == 3 + 1


def test_a_container_of_version_1_whose_path_is_the_hosts(machine):
    group = "sys/fs/cgroup/memory/"
    files = {
        "proc/self/cgroup": "5:cpu:/x\n4:memory:/not/seen/from/here\n0::/\n",
        group + "memory.limit_in_bytes": f"{4 * GIB}\n",
        group + "memory.usage_in_bytes": f"{GIB}\n",
        group + "memory.oom_control": "under_oom 0\noom_kill 5\n",
    }
    assert memory.available(write(machine, files)) == 3 * GIB
    assert memory.kills(machine) == 3 + 5


def test_this_machine_has_memory():
    assert memory.limit() > 0
