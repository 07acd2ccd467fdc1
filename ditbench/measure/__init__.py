"""What a worker does with one cell: gates, then instruments. Everything here runs in a fresh process."""

from __future__ import annotations

from collections.abc import Callable

from ditbench.jobs import Findings, Job
from ditbench.measure import canary, duel, fit, gates, op_gates, op_timing, quality, shots, timing
from ditbench.records import Stage

_STAGES = {
    Stage.GATE: gates.run,
    Stage.TIME: timing.run,
    Stage.FIT: fit.run,
    Stage.SAMPLE: shots.run,
    Stage.QUALITY: quality.run,
    Stage.CANARY: canary.run,
}
# Of an attention core by itself.
_STAGES_OF_AN_OP = {Stage.GATE: op_gates.run, Stage.TIME: op_timing.run}


def measure(job: Job, say: Callable[[str], None]) -> Findings:
    """Do the job's stage; `say` tells the parent the phase. Exceptions are the worker's to name."""
    if job.beside:
        return duel.run(job, say)
    return (_STAGES_OF_AN_OP if job.cell.op else _STAGES)[job.stage](job, say)
