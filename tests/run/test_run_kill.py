"""Parent or worker killed at any moment: the run goes on from what had ended, and nothing is left behind."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import killable
import pytest

from ditbench import store
from ditbench.devices.processes import children_of, kill
from ditbench.records import Status
from ditbench.run.order import key_of

HERE = Path(__file__).parent
SEED = 20261121
FEW, MANY = 3, 100
WHOLE = {(key_of(job), job.stage, job.replicate) for job in killable.JOBS}
_MARKS = itertools.count()


@dataclass
class Killable:
    """One run in a folder of its own, of which every process can be told by its environment.

    The folder's name is short: the fork server listens on a socket in it.
    """

    folder: Path
    mark: str = field(default_factory=lambda: f"{os.getpid()}-{next(_MARKS)}")

    @property
    def results(self):
        return self.folder / "results"

    @property
    def records(self):
        """The bytes of all whole lines."""
        found = [path.read_bytes() for path in self.results.glob("*/*/records.jsonl")]
        return b"".join(data[: data.rfind(b"\n") + 1] for data in found)

    def begin(self):
        environ = os.environ | {
            "PYTHONPATH": f"{HERE}:{HERE.parent}",
            "TMPDIR": str(self.folder),
            "DITBENCH_LOCKS": str(self.folder),
            "DITBENCH_TEST": self.mark,
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [sys.executable, str(HERE / "killable.py"), str(self.results)],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def to_the_end(self):
        """Begin or go on; nothing may be said on the way."""
        with self.begin() as process:
            said, _ = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, "")

    def left(self):
        """Processes that carry the mark."""
        carries = f"DITBENCH_TEST={self.mark}\0".encode()
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and carries in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def check_nothing_is_left(self):
        end = time.monotonic() + 60
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(0.01)
        assert not left
        for lock in (*self.folder.glob("ditbench-*.lock"), *self.results.glob("*/*/.lock")):
            with lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def check_everything_is_there_once(self):
        run = store.read(store.find(self.results, "latest"))
        assert run.finished
        assert not run.problems
        ended = [(record.key, record.stage, record.replicate) for record in run.records]
        assert len(ended) == len(set(ended))
        return run, set(ended)


@pytest.fixture(scope="module")
def whole_s():
    """Seconds of a run that nobody disturbs."""
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = Killable(Path(folder))
        begin = time.monotonic()
        undisturbed.to_the_end()
        seconds = time.monotonic() - begin
        undisturbed.check_nothing_is_left()
        assert undisturbed.check_everything_is_there_once()[1] == WHOLE
    return seconds


def kill_the_parent(folder, chance, whole_s):
    one = Killable(folder)
    with one.begin() as process:
        time.sleep(chance.uniform(0.0, whole_s))
        process.kill()
        process.wait()  # what it started may hold its output open until it dies too
        one.check_nothing_is_left()
    safe = one.records
    one.to_the_end()
    assert one.records.startswith(safe)
    one.check_nothing_is_left()
    assert one.check_everything_is_there_once()[1] == WHOLE
    return safe.count(b"\n")


def kill_a_worker(folder, chance, whole_s):
    one = Killable(folder)
    with one.begin() as process:
        time.sleep(chance.uniform(0.0, whole_s))
        worker = None
        while worker is None and process.poll() is None:
            worker = next((w for s in children_of(process.pid) for w in children_of(s)), None)
        if worker:
            kill(worker)
        said, _ = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, "")
    one.check_nothing_is_left()
    safe = one.records
    one.to_the_end()
    assert one.records == safe
    run, ended = one.check_everything_is_there_once()
    failed = [record for record in run.records if record.status is not Status.OK]
    skipped = sum(record.facts.get("replicates_skipped", 0) for record in failed)
    assert len(failed) <= 1
    for record in failed:
        assert record.status is Status.CRASHED
        assert record.reason.startswith("killed from outside (SIGKILL)")
        skipped += killable.PROCESSES * (
            record.stage == "gate"
        )  # a cell without its gate is not timed
    assert len(ended) == len(WHOLE) - skipped
    return len(failed)


CASES = [
    pytest.param(FEW, id="few", marks=pytest.mark.slow),
    pytest.param(MANY, id="many", marks=pytest.mark.long),
]


@pytest.mark.parametrize("times", CASES)
@pytest.mark.parametrize("deed", [kill_the_parent, kill_a_worker])
def test_a_kill_at_any_moment_loses_nothing_that_had_ended_and_leaves_nothing_behind(
    whole_s, deed, times
):
    chance = random.Random(f"{SEED} {deed.__name__}")  # noqa: S311 (nothing is secret)
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            found.append(deed(Path(folder), chance, whole_s))
    print(f"{deed.__name__}, {times} times, seed {SEED}: {found}")  # noqa: T201 (shown by -s)
    assert times < MANY or len(set(found)) > 1  # the moments were not all alike
