"""A terminal that closes: what is written to it fails before its signal comes; the run was interrupted."""

from __future__ import annotations

import errno
import os
import signal
import threading

import pytest

from ditbench import cli, errors


def failing(monkeypatch, code, then=lambda: None):
    """The command line, whose output fails."""

    class Failing:
        def main(self, *_arguments, **_options):
            then()
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(cli, "tree", lambda _app: Failing())


def test_a_line_that_failed_just_before_the_signal_is_an_interruption(monkeypatch, capsys):
    def hang_up():  # a signal that nohup does not make deaf to
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()

    failing(monkeypatch, errno.EIO, hang_up)
    assert cli.main([]) == errors.INTERRUPTED
    assert capsys.readouterr().err == "ditbench: interrupted\n"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_output_that_takes_no_more_is_one_line(monkeypatch, capsys, code):
    monkeypatch.setattr(cli, "_HANG_UP_S", 0.01)
    failing(monkeypatch, code)
    assert cli.main([]) == errors.USAGE
    assert capsys.readouterr().err == f"ditbench: standard output: {os.strerror(code)}\n"
