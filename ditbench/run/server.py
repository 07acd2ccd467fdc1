"""The parent's side of a worker: start it, listen, and say what became of it; never busy, never torch.

Workers come from multiprocessing's own fork server. It ends with this process, so `Server` only has to see
that no worker outlives its job.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from ditbench import units
from ditbench.errors import DitbenchError, UnfitError
from ditbench.jobs import Findings, Job
from ditbench.records import Status
from ditbench.run import memory, worker
from ditbench.run.wire import Answered, Message, Order, Question, Refused, Said

Hear = Callable[[str], None]

_CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Answer:
    """What a job came to.

    started: UTC, ISO 8601. seconds: of the whole process from its fork on; the first one's wait for the
    server's imports is not its own.
    """

    findings: Findings
    started: str
    seconds: float


@dataclass
class _Conversation:
    """One worker as its parent sees it, from its fork on. ended: by itself, and not by its time limit."""

    process: ForkServerProcess
    connection: Connection
    started: datetime
    begin: float
    phase: str = ""
    ended: bool = True
    final: Answered | Refused | None = None


@dataclass(frozen=True)
class Server:
    """The fork server, started on entering so that it imports while the parent does other things.

    Enter it in the main thread: the kernel ties the server's life to the thread that started it.
    preload: the module that the server imports. measure: "module:function" that a job runs.
    grace_s: between asking a worker to end and killing it.
    """

    preload: str = "ditbench.run.preload"
    measure: str = "ditbench.measure:measure"
    grace_s: float = 2.0

    def __enter__(self) -> Self:
        _CONTEXT.set_forkserver_preload([self.preload])
        multiprocessing.forkserver.ensure_running()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Nothing is left to end: each call sees its own worker out."""

    def run_job(self, job: Job, log: Path, hear: Hear = lambda _phase: None) -> Answer:
        """Run a job in a fresh process; a crash, a hang and the end of memory are findings too.

        hear: told each phase. Raises UnfitError where the server itself is not fit to fork.
        """
        limit = (job.timing.memory_limit or memory.limit()) if job.device == "cpu" else None
        order = Order(job, log, self.measure, self.preload, limit)
        kills = memory.kills()
        talk = self._converse(worker.work, order, job.timing.timeout_s.of(job.stage), hear)
        if isinstance(talk.final, Refused):
            raise talk.final.error
        if isinstance(talk.final, Answered):
            findings: Findings = talk.final.value
        else:
            findings = _silence(talk, order, killed_for_memory=memory.kills() > kills)
        if limit is not None:
            findings = replace(findings, facts={**findings.facts, "memory_limit": limit})
        stamp = talk.started.isoformat(timespec="seconds")
        return Answer(findings, stamp, time.monotonic() - talk.begin)

    def call(self, function: str, *arguments: object, timeout_s: float = 120.0) -> Any:  # noqa: ANN401 (the function's own)
        """The result of "module:function" in a fresh process. Raises what it raises of our errors."""
        question = Question(function, arguments, self.preload)
        talk = self._converse(worker.answer, question, timeout_s, lambda _phase: None)
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
        try:
            _start(process)
            sender.close()
            talk = _Conversation(process, receiver, datetime.now(UTC), time.monotonic())
            _listen(talk, timeout_s, hear)
            if talk.ended:
                process.join(self.grace_s)
        finally:
            sender.close()
            receiver.close()
            self._end(process)
        return talk

    def _end(self, process: ForkServerProcess) -> None:
        """See the worker out, and what it may have started."""
        if process.pid is None:
            return
        if process.is_alive():
            process.terminate()
            process.join(self.grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.is_alive():
            process.kill()
            process.join()


def _start(process: ForkServerProcess) -> None:
    try:
        with _nothing_to_run_again():
            process.start()
    except (EOFError, ConnectionError) as error:
        raise UnfitError(
            "the fork server died before it could fork: what it said stands above this line"
        ) from error


def _listen(talk: _Conversation, timeout_s: float, hear: Hear) -> None:
    """Wait for the final message, the end of the process, or the time limit."""
    deadline = talk.begin + timeout_s
    while talk.final is None:
        left = max(0.0, deadline - time.monotonic())
        ready = wait([talk.connection, talk.process.sentinel], left)
        if not ready:
            talk.ended = False
            return
        message = _receive(talk.connection) if talk.connection in ready else None
        if message is None:
            return
        if isinstance(message, Answered | Refused):
            talk.final = message
        elif isinstance(message, Said):
            talk.phase = message.phase
            hear(message.phase)
        else:  # the wait for the device is over
            deadline = time.monotonic() + timeout_s


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
    code = talk.process.exitcode
    if code is None or code >= 0:
        return f"exited with {code} and no answer"
    number = signal.Signals(-code)
    return f"{(signal.strsignal(number) or 'signal').lower()} ({number.name})"


def _ran_out_in_c(log: Path) -> bool:
    """Whether C++ said so before it aborted."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 65536))
        return b"std::bad_alloc" in file.read()


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
