"""A cell that one arm of a session can run and the other cannot: broken or fixed, and no question of speed.

Of `ditbench ab` only: what became of a run's cells its own records say, and an old commit that does not run
here any more says nothing of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ditbench.compare.verdicts import Finding, Step, Verdict
from ditbench.records import Cell, Status
from ditbench.store import Session
from ditbench.store.sessions import ARM, ARMS, WITNESS


def turned(session: Session, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings of `judge_session`, with what failed in one arm alone said to be broken or fixed."""
    return tuple(_turned(session, one) for one in findings)


def _turned(session: Session, one: Finding) -> Finding:
    pair = next(pair for pair in session.pairs if pair[1].key == one.cell.key)
    a, b = (_failure(session, arm, cell) for arm, cell in zip(ARMS, pair, strict=True))
    if bool(a) == bool(b):
        return one
    verdict = Verdict.BROKEN if b else Verdict.FIXED
    told = f"ok in A, and in B {b}" if b else f"ok in B, and in A {a}"
    step = Step("ended", f"A {a or Status.OK}, B {b or Status.OK}", str(verdict))
    return replace(one.after(step, verdict), reason=told)


def _failure(session: Session, arm: str, cell: Cell) -> str:
    """How the cell ended in an arm, where it did not end well."""
    for record in session.records:
        mine = record.facts[ARM] == arm and WITNESS not in record.facts
        if mine and record.key == cell.key and record.status is not Status.OK:
            return f"{record.status}: {record.reason}"
    return ""
