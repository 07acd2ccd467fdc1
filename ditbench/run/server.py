"""The parent's side of a worker: start it, listen, and say what became of it; never busy, never torch.

Workers come from multiprocessing's own fork server. It ends with this process, so `Server` only has to see
that no worker, and nothing that one started, outlives its job.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import multiprocessing.forkserver
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from ditbench import units
from ditbench.devices import memory, processes
from ditbench.errors import DitbenchError, UnfitError
from ditbench.jobs import Findings, Job
from ditbench.records import Status
from ditbench.run import logs, worker
from ditbench.run.interrupts import SIGNALS, InterruptedRunError
from ditbench.run.wire import Answered, Locked, Message, Order, Question, Queued, Refused, Said

Hear = Callable[[str], None]

_CONTEXT = multiprocessing.get_context("forkserver")
# One fork server serves all threads: forks, reaping and the list of its workers go one at a time.
_FORKING = threading.RLock()
_WORKERS: set[int] = set()


@dataclass(frozen=True)
class Answer:
    """What a job came to.

    started: UTC, ISO 8601. seconds: of the whole process from its fork on, without its wait for the device;
    the first one's wait for the server's imports is not its own.
    """

    findings: Findings
    started: str
    seconds: float


@dataclass
class _Conversation:
    """One worker as its parent sees it, from its fork on.

    forker: the id of its server. ended: by itself. overflowed: ended by us, for its log. queued: it
    had to wait for its device, waited_s long.
    """

    process: ForkServerProcess
    connection: Connection
    forker: int
    started: datetime
    begin: float
    phase: str = ""
    queued: bool = False
    ended: bool = True
    overflowed: bool = False
    waited_s: float = 0.0
    final: Answered | Refused | None = None


@dataclass(frozen=True)
class Server:
    """The fork server, started on entering so that it imports while the parent does other things.

    Enter it in the main thread: the kernel ties the server's life to the thread that started it. Jobs may
    run in several threads at once.
    preload: the module that the server imports. measure: "module:function" that a job runs.
    grace_s: between asking a worker to end and killing it.
    """

    preload: str = "ditbench.run.preload"
    measure: str = "ditbench.measure:measure"
    grace_s: float = 2.0
    _stopped: int = field(default_factory=lambda: os.eventfd(0), init=False, repr=False)

    def __enter__(self) -> Self:
        _CONTEXT.set_forkserver_preload([self.preload])
        _ensure_running()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Nothing is left to end: each call sees its own worker out."""

    def stop(self) -> None:
        """End every job that runs now, each of which raises InterruptedRunError; none will run after it."""
        os.eventfd_write(self._stopped, 1)

    def run_job(self, job: Job, log: Path, hear: Hear = lambda _phase: None) -> Answer:
        """Run a job in a fresh process; a crash, a hang and the end of memory are findings too.

        hear: told each phase. Raises UnfitError where the server itself is not fit to fork, or the device
        cannot be locked, InterruptedRunError after `stop`.
        """
        limit: int | None = None
        if job.device == "cpu":
            limit = memory.bounded(job.timing.memory_limit or memory.limit())
        order = Order(job, log, self.measure, self.preload, limit)
        kills = memory.kills()
        try:
            talk = self._converse(worker.work, order, job.timing.timeout_s.of(job.stage), hear)
        finally:
            shutil.rmtree(job.caches, ignore_errors=True)  # a worker that was killed could not
        if isinstance(talk.final, Refused):
            raise talk.final.error
        if isinstance(talk.final, Answered):
            findings: Findings = talk.final.value
        else:
            findings = _silence(talk, order, killed_for_memory=memory.kills() > kills)
        seen: dict[str, float] = {"memory_limit": limit} if limit is not None else {}
        if talk.queued:
            seen["waited_s"] = round(talk.waited_s, 3)
        logs.trim(log)
        stamp = talk.started.isoformat(timespec="seconds")
        seconds = time.monotonic() - talk.begin - talk.waited_s
        return Answer(replace(findings, facts={**findings.facts, **seen}), stamp, seconds)

    def call(
        self,
        function: str,
        *arguments: object,
        device: str = "cpu",
        alone: bool = False,
        timeout_s: float = 120.0,
        hear: Hear = lambda _phase: None,
    ) -> Any:  # noqa: ANN401 (the function's own)
        """The result of "module:function" in a fresh process. Raises what it raises of our errors.

        device: the only one that the process sees; alone: it also waits until it has that one to itself,
        which is no part of the time limit and told to `hear`.
        """
        question = Question(function, arguments, self.preload, device, alone)
        talk = self._converse(worker.answer, question, timeout_s, hear)
        if isinstance(talk.final, Refused):
            raise talk.final.error
        if talk.final is None:
            how = _exit_text(talk) if talk.ended else f"no answer within {units.seconds(timeout_s)}"
            raise DitbenchError(f"{function}: {how}")
        return talk.final.value

    def _converse(
        self, target: Callable[..., None], order: Order | Question, timeout_s: float, hear: Hear
    ) -> _Conversation:
        receiver, sender = _CONTEXT.Pipe(duplex=False)
        process = _CONTEXT.Process(target=target, args=(sender, order))
        talk: _Conversation | None = None
        try:
            forker = _start(process)
            sender.close()
            talk = _Conversation(process, receiver, forker, datetime.now(UTC), time.monotonic())
            self._listen(talk, timeout_s, hear, order.log if isinstance(order, Order) else None)
            if talk.ended:
                _wait_for(process, self.grace_s)
        finally:
            sender.close()
            receiver.close()
            self._end(process, talk)
        return talk

    def _listen(self, talk: _Conversation, timeout_s: float, hear: Hear, log: Path | None) -> None:
        """Wait for the final message, the end of the process, its time limit, or too long a log."""
        deadline = talk.begin + timeout_s
        growth = logs.Growth(log)
        while talk.final is None:
            left = max(0.0, deadline - time.monotonic())
            heard: list[Connection | int] = [talk.connection, talk.process.sentinel, self._stopped]
            ready = wait(heard, min(left, logs.LOOK_S))
            if self._stopped in ready:
                raise InterruptedRunError("stopped")
            if growth.is_too_much():
                talk.ended, talk.overflowed = False, True
                return
            if not ready and time.monotonic() < deadline:
                continue
            if not ready:
                talk.ended = False
                return
            message = _receive(talk.connection) if talk.connection in ready else None
            if message is None:
                return
            deadline = _take_in(talk, message, deadline, timeout_s)
            if isinstance(message, Said | Queued):
                hear(message.phase)

    def _end(self, process: ForkServerProcess, talk: _Conversation | None) -> None:
        """See the worker out, and whatever it started."""
        if process.pid is None:
            return
        floods = talk is not None and talk.overflowed
        if not floods and not _wait_for(process, 0):
            process.terminate()
            _wait_for(process, self.grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if not _wait_for(process, 0):
            process.kill()
            _wait_for(process, None)
        with _FORKING:
            _WORKERS.discard(process.pid)
            if talk and talk.forker > 1:
                processes.end_strays(talk.forker, _WORKERS)


def _take_in(talk: _Conversation, message: Message, deadline: float, timeout_s: float) -> float:
    """Keep what a message says; the deadline that holds from now on."""
    match message:
        case Answered() | Refused():
            talk.final = message
        case Said():
            talk.phase = message.phase
        case Queued():  # for its device: no time of its own goes by
            talk.phase, talk.queued = message.phase, True
            return math.inf
        case Locked():
            talk.waited_s = message.waited_s
            return time.monotonic() + timeout_s
    return deadline


def _ensure_running() -> None:
    """Start the server where none runs, deaf to the terminal from its first instruction on.

    Signals that are held back here stay so in what is started, and come to this process afterwards.
    """
    with _FORKING:
        resource_tracker.ensure_running()  # before, because it lifts the mask for itself
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            multiprocessing.forkserver.ensure_running()
        except OSError as error:  # the name of a socket, for one, has room for 107 characters
            raise UnfitError(
                f"the fork server cannot listen in {tempfile.gettempdir()}: {error}; "
                "set TMPDIR to another folder"
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(process: ForkServerProcess) -> int:
    """Fork a worker; the id of the server that did. A server that has died is started anew, once."""
    with _FORKING:
        for last in (False, True):
            _ensure_running()
            try:
                with _nothing_to_run_again():
                    process.start()
                break
            except (EOFError, ConnectionError) as error:
                if last:
                    raise UnfitError(
                        "the fork server died before it could fork: what it said stands above this line"
                    ) from error
        if process.pid is None:
            raise UnfitError("the fork server forked nothing")
        _WORKERS.add(process.pid)
        return processes.parent_of(process.pid)


def _wait_for(process: ForkServerProcess, seconds: float | None) -> bool:
    """Whether the process ended within so long. Reaping goes one at a time: each reads from one pipe once."""
    wait([process.sentinel], seconds)
    with _FORKING:
        return process.exitcode is not None


def _receive(connection: Connection) -> Message | None:
    try:
        message: Message = connection.recv()
    except (EOFError, OSError):  # ended, in the middle of a message perhaps
        return None
    return message


def _silence(talk: _Conversation, order: Order, *, killed_for_memory: bool) -> Findings:
    """What to record of a worker that ended without an answer."""
    log = f"log: {order.log.parent.name}/{order.log.name}"
    phase = f"in phase {talk.phase}" if talk.phase else "before its first phase"
    if talk.overflowed:
        written = units.size(logs.MOST)
        return Findings(Status.CRASHED, f"wrote more than {written} to its log, {phase}; {log}")
    if not talk.ended:
        stage = order.job.stage
        limit = f"{units.seconds(order.job.timing.timeout_s.of(stage))}, the limit of {stage}"
        return Findings(Status.TIMEOUT, f"no answer within {limit}, {phase}; {log}")
    how = f"{_exit_text(talk)}, {phase}; {log}"
    code = talk.process.exitcode
    if code == -signal.SIGKILL and killed_for_memory:
        return Findings(
            Status.OUT_OF_MEMORY, f"killed by the kernel for want of memory, {phase}; {log}"
        )
    if code == -signal.SIGABRT and _ran_out_in_c(order.log):
        return Findings(Status.OUT_OF_MEMORY, how)
    return Findings(Status.CRASHED, how)


def _exit_text(talk: _Conversation) -> str:
    """How a worker ended that we did not end."""
    code = talk.process.exitcode
    if code == 255 and processes.gone(talk.forker, 0.5):  # what multiprocessing says then
        return "the fork server was killed, and its worker with it"
    if code is None or code >= 0:
        return f"exited with {code} and no answer"
    number = signal.Signals(-code)
    if number in {signal.SIGKILL, signal.SIGTERM}:
        return f"killed from outside ({number.name})"
    return f"{(signal.strsignal(number) or 'signal').lower()} ({number.name})"


def _ran_out_in_c(log: Path) -> bool:
    """Whether C++ said so before it aborted."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65536))
            return b"std::bad_alloc" in file.read()
    except OSError:  # the log was deleted under the run
        return False


@contextlib.contextmanager
def _nothing_to_run_again() -> Iterator[None]:
    """Python has each child run the parent's script again; our workers need nothing from it.

    With a `__main__` that came from no file there is nothing to run.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
