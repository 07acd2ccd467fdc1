"""Ctrl-C, SIGTERM and a closed terminal, at any moment: exit code 130, one line, and nothing left behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from ditbench.errors import ENVIRONMENT, INTERRUPTED, OK

SUITE = """
name: interrupted
model: TINY
attention: [softmax, sdpa]
steps: 2
timing: {warmup: 0, warmup_cap_s: 0, repeats: 2, processes: 1}
metrics: [latency, macs]
"""
MARK = "DITBENCH_TEST_INTERRUPTS"
JOBS = 6  # of each cell a gate and a process, and the canary before and after
# A machine that others use meanwhile ends a run that came to its end with 6.
ENDED = {OK, ENVIRONMENT}


@dataclass
class Running:
    """A run whose lines are watched, in a session of its own as a terminal's is."""

    process: subprocess.Popen
    mark: str

    def wait_for(self, text):
        """All lines up to the one with this text."""
        said = []
        for line in self.process.stderr:
            said.append(line)
            if text in line:
                break
        return "".join(said)

    def end(self):
        """The rest of what it says, and nothing left of it."""
        _, said = self.process.communicate(timeout=180)
        deadline = time.monotonic() + 60
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not self.left()
        return said

    def left(self):
        carries = f"{MARK}={self.mark}\0".encode()
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and carries in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found


@pytest.fixture
def start(shell, request):
    def start(*command, **popen):
        shell.suite(SUITE)
        mark = f"{os.getpid()}-{request.node.name}"
        environ = {**os.environ, MARK: mark, "OMP_NUM_THREADS": "1"}
        plain = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(
            [sys.executable, "-m", "ditbench", *command],
            cwd=shell.folder,
            env=environ,
            **plain | {"start_new_session": True} | popen,
        )
        return Running(process, mark)

    return start


def test_ctrl_c_twice_while_the_server_imports_is_one_line(start):
    """A terminal sends it to every process of the foreground."""
    running = start("plan", "suite.yaml")
    while len(running.left()) < 3:  # itself, the tracker of resources, the server
        time.sleep(0.01)
    time.sleep(0.5)
    for _ in range(2):
        os.killpg(running.process.pid, signal.SIGINT)
        time.sleep(0.05)
    assert running.end() == "ditbench: interrupted\n"
    assert running.process.returncode == INTERRUPTED


@pytest.mark.parametrize(
    ("number", "after_s"), [(signal.SIGINT, 0.02), (signal.SIGTERM, 0.15), (signal.SIGHUP, 0.3)]
)
def test_a_signal_right_after_the_start_is_exit_130_too(start, number, after_s):
    """Many classes are being made then, inside `exec`: Python would end by SIGINT."""
    running = start("run", "suite.yaml")
    while not is_ready(running):
        time.sleep(0.005)
    time.sleep(after_s)
    running.process.send_signal(number)
    said = running.end()
    assert running.process.returncode == INTERRUPTED
    assert "Traceback" not in said


def is_ready(running):
    """Whether our handlers are there: SIGTERM is caught."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & (1 << (signal.SIGTERM - 1)))


def test_sigterm_between_two_jobs_saves_what_has_ended_and_the_run_goes_on(start, shell):
    running = start("run", "suite.yaml")
    running.wait_for(f"1/{JOBS} jobs")
    running.process.terminate()
    said = running.end()
    assert running.process.returncode == INTERRUPTED
    assert "Traceback" not in said
    assert "what has ended is saved, and --resume goes on from there" in said
    before = (shell.run_folder() / "records.jsonl").read_text()
    assert before.count("\n") >= 1
    again = shell.again("run", "suite.yaml", "--resume", "latest")
    assert again.code in ENDED, again.err
    assert (shell.run_folder() / "records.jsonl").read_text().startswith(before)


def test_kill_9_between_two_jobs_leaves_nothing_behind_and_the_run_goes_on(start, shell):
    running = start("run", "suite.yaml")
    running.wait_for(f"2/{JOBS} jobs")
    running.process.kill()
    running.end()
    before = (shell.run_folder() / "records.jsonl").read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    assert whole.count(b"\n") >= 2
    again = shell.again("run", "suite.yaml", "--resume", "latest")
    assert again.code in ENDED, again.err
    after = (shell.run_folder() / "records.jsonl").read_bytes()
    assert after.startswith(whole)
    assert after.count(b"\n") == JOBS


def test_ctrl_c_while_the_page_is_written_is_exit_130_and_the_page_comes_later(start, shell):
    running = start("run", "suite.yaml")
    running.wait_for(f"{JOBS}/{JOBS} jobs")
    os.killpg(running.process.pid, signal.SIGINT)
    said = running.end()
    assert running.process.returncode == INTERRUPTED
    assert "Traceback" not in said
    again = shell.again("run", "suite.yaml", "--resume", "latest")
    assert again.code in ENDED, again.err
    assert (shell.run_folder() / "report.html").exists()


def test_a_terminal_that_is_closed_ends_the_run_and_loses_nothing(start, shell):
    ours, theirs = pty.openpty()
    running = start(
        *("run", "suite.yaml"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        text=None,
        start_new_session=False,
        preexec_fn=lead_the_terminal,
    )
    os.close(theirs)
    shown = bytearray()
    while f"/{JOBS}".encode() not in shown:  # drawn seldom: the first figure may be any
        shown += os.read(ours, 65536)
    os.close(ours)
    running.process.wait(60)
    running.end()
    assert running.process.returncode == INTERRUPTED
    again = shell.again("run", "suite.yaml", "--resume", "latest")
    assert again.code in ENDED, again.err


def lead_the_terminal():
    """Of a new session, whose terminal is our standard input."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_what_was_interrupted_has_its_pages_too(start, shell):
    """A job that is cancelled shows what the night came to until then."""
    running = start("run", "suite.yaml")
    running.wait_for(f"1/{JOBS} jobs")
    running.process.terminate()
    running.end()
    assert running.process.returncode == INTERRUPTED
    folder = shell.run_folder()
    assert {"report.html", "report.md", "verdict.json"} <= {path.name for path in folder.iterdir()}
