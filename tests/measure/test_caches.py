"""A first call compiles, whatever an earlier process left on the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ditbench.measure import caches

NAMES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def test_the_caches_are_a_process_own_and_gone_afterwards(monkeypatch, tmp_path):
    monkeypatch.setenv(NAMES[0], str(tmp_path))
    monkeypatch.delenv(NAMES[1], raising=False)
    folder = tmp_path / "mine"
    with caches.empty(folder):
        inside = [Path(os.environ[name]) for name in NAMES]
        assert all(path.parent == folder and not path.exists() for path in inside)
        assert folder.stat().st_mode & 0o777 == 0o700
        inside[0].mkdir()
    assert not folder.exists()
    assert os.environ[NAMES[0]] == str(tmp_path)
    assert NAMES[1] not in os.environ


def test_what_a_killed_process_left_in_its_caches_is_not_found_by_the_next(tmp_path):
    left = tmp_path / "mine" / "inductor"
    left.mkdir(parents=True)
    with caches.empty(left.parent):
        assert not left.exists()


def test_caches_that_lead_elsewhere_are_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError), caches.empty(tmp_path / "mine"):
        pass


# A cell is timed in a Python of its own, which tells what its compiler found in the cache.
TIMED = """
import json, sys
from pathlib import Path
from cells import cell
from torch._dynamo.utils import counters
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import timing
from ditbench.records import Stage
what = Timing(0, 1, 1, warmup_cap_s=0)
job = Job(cell("zero", compile=True), Stage.TIME, 0, what, Quality(), (), "cpu", Path(sys.argv[1]))
found = timing.run(job, lambda _phase: None)
of = counters["inductor"]
print(json.dumps([str(found.status), of["fxgraph_cache_miss"], of["fxgraph_cache_hit"]]))
"""


@pytest.mark.long
def test_two_processes_both_compile_at_their_first_call(tmp_path):
    """Also where the user keeps a cache for all: it is left as it was."""
    kept = tmp_path / "kept"
    kept.mkdir()
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), NAMES[0]: str(kept)}
    environ["TORCHINDUCTOR_VEC_ISA_OK"] = "1"  # it would compile a probe of the processor first
    told = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", TIMED, str(tmp_path)],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        ).stdout
        for _ in range(2)
    ]
    assert [json.loads(text.splitlines()[-1]) for text in told] == [["ok", 1, 0]] * 2
    assert list(kept.iterdir()) == []
