"""The process of one job: pinned, confined, its output in a log; what happens in it is a result.

No torch is imported here: the server has done it, and the measuring function is named by its dotted path.
"""

from __future__ import annotations

import errno
import faulthandler
import importlib
import os
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from io import FileIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ditbench import units
from ditbench.devices import lock
from ditbench.errors import DitbenchError, StoreError, UnfitError
from ditbench.jobs import Findings
from ditbench.records import Status
from ditbench.run import guard
from ditbench.run.wire import Answered, Locked, Order, Question, Queued, Refused, Said, plain
from ditbench.store import disk

# What torch and CUDA's libraries say, in a plain RuntimeError, when memory ends.
_NO_MEMORY = re.compile(
    r"out.of.memory|can(no|')t allocate memory|not enough memory|bad_alloc|"
    r"cudaErrorMemoryAllocation|STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"[0-9]")
_HELD: list[FileIO] = []  # locks, which closing lets go


def work(connection: Connection, order: Order) -> None:
    """Run one job and send its findings; what machine or disk refuse is no finding about the method."""
    guard.be_a_worker()
    try:
        with disk.writing(order.log):
            _redirect(order.log)
        guard.check(order.preload)
        connection.send(Answered(_findings(connection, order)))
    except (UnfitError, StoreError) as error:
        connection.send(Refused.because(error))


def answer(connection: Connection, question: Question) -> None:
    """Call a function and send its result, or the error of ours that it raised.

    What another package prints when it is imported joins the log: stdout is for results.
    """
    guard.be_a_worker()
    os.dup2(2, 1)
    try:
        guard.check(question.preload)
        _pin(question.device)
        if question.alone:
            _hold(question.device, connection)
        connection.send(Answered(_resolve(question.function)(*question.arguments)))
    except DitbenchError as error:
        connection.send(Refused.because(error))
    except Exception as error:  # noqa: BLE001 (a mistake of ours; the parent must not wait for the rest)
        traceback.print_exc()
        told = f"{question.function}: {_described(error)}"
        connection.send(Refused.because(DitbenchError(told)))


def _findings(connection: Connection, order: Order) -> Findings:
    bounds = resource.getrlimit(resource.RLIMIT_DATA)
    telling = _Telling(connection)
    try:
        _limit_memory(order.memory_limit)
        _pin(order.job.device)
        _hold(order.job.device, connection)
        measure = _resolve(order.measure)
        findings = plain(measure(order.job, telling))
    except UnfitError:  # the machine's doing, and not this cell's
        raise
    except Exception as error:  # a method may raise anything, and it is that cell's result
        resource.setrlimit(resource.RLIMIT_DATA, bounds)  # telling needs memory too
        if refused := disk.refusal(error):
            raise refused from error
        traceback.print_exc()
        findings = _failure(error, order.memory_limit)
    return replace(findings, facts={**findings.facts, "phase_s": telling.seconds})


class _Telling:
    """Tells the parent each phase, and adds up the seconds of each kind: "timing 3" is of kind "timing"."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seconds: dict[str, float] = {}
        self._kind, self._since = "", time.monotonic()

    def __call__(self, phase: str) -> None:
        """A new phase begins."""
        self._turn(_NUMBERS.split(phase)[0].strip())
        self._connection.send(Said(phase))

    @property
    def seconds(self) -> dict[str, float]:
        """Of every kind so far, the present one included."""
        self._turn(self._kind)
        return {kind: round(seconds, 4) for kind, seconds in self._seconds.items() if kind}

    def _turn(self, kind: str) -> None:
        now = time.monotonic()
        self._seconds[self._kind] = self._seconds.get(self._kind, 0.0) + now - self._since
        self._kind, self._since = kind, now


def _failure(error: Exception, memory_limit: int | None) -> Findings:
    """An exception as findings: one line for people, the traceback is in the log."""
    if not _is_out_of_memory(error):
        return Findings(Status.CRASHED, _described(error))
    allowed = f" (a worker may hold {units.size(memory_limit)})" if memory_limit else ""
    return Findings(Status.OUT_OF_MEMORY, f"{_described(error)}{allowed}")


def _described(error: Exception) -> str:
    """The type's name and the message's first line; an error of ours needs no name."""
    line = next(iter(str(error).splitlines()), "")
    if isinstance(error, DitbenchError):
        return line
    return f"{type(error).__name__}: {line}".removesuffix(": ")


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether this error, or one that it was raised from, says that memory ended."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)):
        return True
    return error.__cause__ is not None and _is_out_of_memory(error.__cause__)


def _redirect(log: Path) -> None:
    """Send both outputs to the log at the level of the system, where a crash in C writes too."""
    log.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    faulthandler.enable()


def _pin(device: str) -> None:
    """Let CUDA see this device only, by UUID, or none at all."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if device == "cpu" else device


def _hold(device: str, connection: Connection) -> None:
    """Have the device to itself until this process ends, the parent knowing of a wait.

    What a context holds of a GPU goes with the process, after its last message.
    """
    begin = time.monotonic()
    _HELD.append(lock.take(device, lambda phase: connection.send(Queued(phase))))
    connection.send(Locked(time.monotonic() - begin))


def _limit_memory(limit: int | None) -> None:
    """Bound the private memory of this process.

    RLIMIT_DATA, which counts what can be written to, and not RLIMIT_AS, which also counts libraries and
    address space that is only reserved.
    """
    if limit is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _resolve(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
