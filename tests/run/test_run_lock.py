"""Who holds a device's lock, where its file lies, and what a file system that locks nothing comes to."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from ditbench.devices import lock
from ditbench.errors import UnfitError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DITBENCH_LOCKS", str(tmp_path))
    return tmp_path


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """What /proc/locks says: locks on files of the lock file's number, each (file system, process)."""

    def tell(*held):
        number = lock.path_of("cpu").stat().st_ino
        (tmp_path / "locks").write_text(
            "".join(f"1: FLOCK  ADVISORY  WRITE {pid} {fs}:{number} 0 EOF\n" for fs, pid in held)
        )
        monkeypatch.setattr(lock, "_KERNELS", tmp_path / "locks")

    return tell


def own_system():
    device = lock.path_of("cpu").stat().st_dev
    return f"{os.major(device):02x}:{os.minor(device):02x}"


def silent(_phase):
    pass


def test_a_lock_on_another_file_system_is_nobodys_on_this_one(kernel):
    lock.take("cpu", silent).close()
    kernel(("ff:7f", 1))
    assert lock.holder("cpu") == ""


def test_of_two_files_with_one_number_the_one_of_this_file_system_is_told(kernel):
    with lock.take("cpu", silent):
        kernel((own_system(), os.getpid()), ("ff:7f", 1))
        assert lock.holder("cpu").startswith(f"process {os.getpid()} ")


def test_a_lock_is_told_where_the_kernel_numbers_the_file_system_otherwise(kernel):
    with lock.take("cpu", silent):
        kernel(("ff:7f", os.getpid()))
        assert lock.holder("cpu").startswith(f"process {os.getpid()} ")


def test_a_lock_that_the_kernel_does_not_tell_of_is_another_runs(kernel):
    with lock.take("cpu", silent):
        kernel()
        assert lock.holder("cpu") == "another run"


def test_who_only_looks_holds_nobody_up():
    """Somebody who looks shares the lock for a moment; nothing is said, and the device is had after it."""
    lock.take("cpu", silent).close()
    said = []
    with lock.path_of("cpu").open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        threading.Timer(0.2, lambda: fcntl.flock(look, fcntl.LOCK_UN)).start()
        lock.take("cpu", said.append).close()
    assert said == []


@pytest.mark.parametrize("code", [errno.EBADF, errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_that_locks_nothing_makes_the_machine_unfit(monkeypatch, code):
    def refuse(_file, _how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(
        UnfitError, match=f"ditbench-cpu.lock: .*{os.strerror(code)}; .*set DITBENCH_LOCKS"
    ):
        lock.take("cpu", silent)
    assert lock.holder("cpu") == ""


def test_users_with_a_tmpdir_of_their_own_meet_at_one_lock(monkeypatch):
    monkeypatch.delenv("DITBENCH_LOCKS")
    monkeypatch.setenv("TMPDIR", "/nowhere")
    assert lock.path_of("cpu") == Path("/tmp/ditbench-cpu.lock")  # noqa: S108 (on purpose)
