"""The largest batch of one cell: each trial is a fresh worker, the answer one record.

Out of memory is what a trial asks; anything else that ends one (a crash, a time limit, numbers that are not
finite) says nothing of memory, so it ends the search and is the cell's result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ditbench import search
from ditbench.devices import memory
from ditbench.jobs import Findings, Job
from ditbench.metrics import LARGEST_BATCH
from ditbench.records import Record, Stage, Status
from ditbench.run.server import Answer

Say = Callable[[str], None]
_SAID = {Status.OK: "fits", Status.OUT_OF_MEMORY: "out of memory"}


class _EndedError(Exception):
    """A trial that ended in another way than by fitting or not."""


def find(job: Job, run: Callable[[Job], Answer], say: Say = lambda _text: None) -> Answer:
    """The largest batch of the job's cell, with every trial among the facts.

    run: one trial, a job of the same stage whose cell has the trial's batch. say: told each trial.
    """
    trials = _Trials(job, run, say)
    try:
        found = search.largest(trials.fits)
    except _EndedError:
        return trials.answer(trials.broken())
    return trials.answer(trials.findings(found))


def limit(done: Iterable[Record]) -> int:
    """Bytes for each trial on the CPU, where the suite names no limit.

    Fixed once, or every trial would meet another limit. done: records of the run that is resumed, which goes
    on with its own.
    """
    known = (one.facts.get("memory_limit") for one in done if one.stage is Stage.FIT)
    return next((int(one) for one in known if one), None) or memory.limit()


@dataclass
class _Trials:
    """What has been tried so far."""

    job: Job
    run: Callable[[Job], Answer]
    say: Say
    ended: list[tuple[int, Answer]] = field(default_factory=list)

    def fits(self, batch: int) -> bool:
        """Try one. Raises _EndedError where its end is no answer."""
        known = self._fitted()
        self.say(f"trying {batch}, {known} fits" if known else f"trying {batch}")
        answer = self.run(dataclasses.replace(self.job, cell=self.job.cell.of_batch(batch)))
        self.ended.append((batch, answer))
        if answer.findings.status not in _SAID:
            raise _EndedError
        return answer.findings.status is Status.OK

    def _fitted(self) -> int:
        """The largest batch so far, 0 for none."""
        fitted = (batch for batch, one in self.ended if one.findings.status is Status.OK)
        return max(fitted, default=0)

    def findings(self, found: search.Found) -> Findings:
        """The end of a search that went to its end."""
        facts = self._facts() | {"fails": found.fails, "wavering": list(found.wavering)}
        if not found.largest:
            why = next(one.findings.reason for _, one in self.ended if one.findings.reason)
            return Findings(Status.OUT_OF_MEMORY, f"not even a batch of 1 fits: {why}", facts=facts)
        return Findings(metrics={LARGEST_BATCH: (float(found.largest),)}, facts=facts)

    def broken(self) -> Findings:
        """The end of a search that a trial cut off, as that trial's."""
        batch, answer = self.ended[-1]
        fitted = self._fitted()
        so_far = f"; a batch of {fitted} fitted" if fitted else ""
        reason = f"batch {batch}: {answer.findings.reason}{so_far}"
        return Findings(answer.findings.status, reason, facts=self._facts())

    def answer(self, findings: Findings) -> Answer:
        """The findings with the time that all trials took."""
        return Answer(findings, self.ended[0][1].started, sum(one.seconds for _, one in self.ended))

    def _facts(self) -> dict[str, Any]:
        told = [one.findings.facts for _, one in self.ended]
        return {
            "trials": [_trial(batch, answer) for batch, answer in self.ended],
            "peak": next((one["peak"] for one in told if "peak" in one), ""),
            "given_back": all(one.get("given_back", True) for one in told),
            "memory_limit": next(
                (one["device_memory"] for one in told if "device_memory" in one),
                self.job.timing.memory_limit,
            ),
        }


def _trial(batch: int, answer: Answer) -> list[Any]:
    """Batch, how it ended, peak in bytes where that is known, seconds."""
    ended = _SAID.get(answer.findings.status, str(answer.findings.status))
    return [batch, ended, answer.findings.facts.get("peak_bytes"), round(answer.seconds, 3)]
