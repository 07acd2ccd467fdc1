"""A disk that refuses under a worker ends the run with one line; it is never a method's result."""

from __future__ import annotations

from pathlib import Path

import fakes_run
import pytest

from ditbench.errors import StoreError
from ditbench.records import Status
from ditbench.run.server import Server

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE))
        with Server("light_preload", "fakes_full:measure") as running:
            yield running


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (
            "prints",
            "a file of the run: cannot be written: No space left on device; make room, then",
        ),
        ("keeps", "images/a.npz: cannot be written: No space left on device; make room, then"),
        ("compiles", "No space left on device: make room, then go on with --resume"),
    ],
)
def test_a_full_disk_is_not_a_crash_of_the_method(server, tmp_path, method, told):
    log = tmp_path / "a.log"
    log.symlink_to("/dev/full")
    with pytest.raises(StoreError) as error:
        server.run_job(fakes_run.job(method), log)
    assert str(error.value).startswith(told)


def test_a_full_log_costs_nothing_while_nobody_writes_to_it(server, tmp_path):
    log = tmp_path / "a.log"
    log.symlink_to("/dev/full")
    answer = server.run_job(fakes_run.job("softmax"), log)
    assert answer.findings.status is Status.OK


def test_a_log_that_cannot_be_opened_is_one_line(server, tmp_path):
    (tmp_path / "logs").write_text("")
    with pytest.raises(
        StoreError, match=r"logs/a\.log: cannot be written: (File exists|Not a dir)"
    ):
        server.run_job(fakes_run.job("softmax"), tmp_path / "logs" / "a.log")
