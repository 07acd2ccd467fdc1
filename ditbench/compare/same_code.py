"""Sessions whose arms were the same code and packages: they tell what a machine does, and acquit nobody."""

from __future__ import annotations

from collections.abc import Sequence

from ditbench.compare.verdicts import Finding, Step, Verdict
from ditbench.environment import packages
from ditbench.store import Session

_WHY = (
    "both arms were the same code and packages, so that the machine moved, or something that is not "
    "recorded"
)


def told_by(session: Session, found: Sequence[Finding]) -> tuple[Finding, ...]:
    """What a session's findings say of a run and its baseline, whose arms they were.

    Of arms that differed all that they say, else no verdict.
    """
    return tuple(_untold(one) for one in found) if _same(session) else tuple(found)


def _same(session: Session) -> bool:
    a, b = session.arms
    alike = packages(a.environment) == packages(b.environment)
    return alike and dict(a.code) == dict(b.code)


def _untold(one: Finding) -> Finding:
    step = Step("code", f"{one.verdict} between equal arms", _WHY)
    return one.after(step, Verdict.INCONCLUSIVE, _WHY)
