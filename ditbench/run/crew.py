"""A thread a device: jobs run in them while the main thread waits for what they tell.

Only the main thread writes records, shows what happens and hears signals.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Self

from ditbench.jobs import Job
from ditbench.run.events import Phase
from ditbench.run.server import Answer

# After a stop: a worker's grace and its end; whoever takes longer ends with this process.
_PATIENCE_S = 10.0


Hear = Callable[[str], None]


@dataclass(frozen=True)
class Done:
    """A job has ended on its device. Either an answer, or the error that kept it from one."""

    device: str
    job: Job
    answer: Answer | None = None
    error: BaseException | None = None

    def result(self) -> Answer:
        """The answer. Raises what kept the job from one."""
        if self.answer is None:
            raise self.error or RuntimeError("a job ended with neither answer nor error")
        return self.answer


class Crew:
    """One hand a device. work: does a job. stop: ends what still runs when the crew is left."""

    def __init__(
        self, devices: Sequence[str], work: Callable[[Job, Hear], Answer], stop: Callable[[], None]
    ) -> None:
        self._do = work
        self._stop = stop
        self._told: SimpleQueue[Phase | Done] = SimpleQueue()
        self._tasks: dict[str, SimpleQueue[Job | None]] = {
            device: SimpleQueue() for device in devices
        }
        # Threads that live as long as the run: a server that has to be started anew lives as long as the
        # thread that starts it.
        self._threads = [
            threading.Thread(target=self._work, args=(device,), daemon=True)
            for device in self._tasks
        ]
        self._busy: dict[str, Job] = {}
        self._ended: dict[str, Done] = {}

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._busy:
            self._stop()
        for tasks in self._tasks.values():
            tasks.put(None)
        for thread in self._threads:
            thread.join(_PATIENCE_S)

    @property
    def idle(self) -> list[str]:
        """Devices without a job."""
        return [device for device in self._tasks if device not in self._busy]

    @property
    def running(self) -> list[Job]:
        """Jobs that have been given and have not ended."""
        return list(self._busy.values())

    @property
    def ended(self) -> list[Done]:
        """The last job of each device that has ended, whether or not anybody has heard of it."""
        return list(self._ended.values())

    def give(self, device: str, job: Job) -> None:
        """Have a job run on an idle device."""
        self._busy[device] = job
        self._tasks[device].put(job)

    def hear(self) -> Phase | Done:
        """Wait for the next thing that any job tells."""
        told = self._told.get()
        if isinstance(told, Done):
            del self._busy[told.device]
        return told

    def _work(self, device: str) -> None:
        while job := self._tasks[device].get():
            self._ended[device] = self._done(device, job)  # a signal may come while it is heard
            self._told.put(self._ended[device])

    def _done(self, device: str, job: Job) -> Done:
        try:
            answer = self._do(job, lambda text: self._told.put(Phase(job, text)))
        except BaseException as error:  # noqa: BLE001 (raised again in the main thread)
            return Done(device, job, error=error)
        return Done(device, job, answer)
