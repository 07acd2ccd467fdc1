"""When figures of pictures may stand beside each other, and when they never do.

The same number of pictures, made by the same protocol, seen by the same network through the same resize,
beside the same reference: where one of these differs the difference of the figures says nothing of a method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ditbench import scores
from ditbench.compare.verdicts import Finding, Verdict
from ditbench.metrics import PAIRS
from ditbench.records import Cell
from ditbench.scores import Score
from ditbench.summary import Estimate, Evidence

# Which network sees the pictures of a metric of pairs.
_NETWORKS = {"lpips": "lpips_alex"}
_DIGITS = 16  # of a digest, as people are shown it


def hindrance(name: str, then: Evidence, now: Evidence) -> str:
    """Why a figure of both cannot be compared; empty where it can.

    What only one side tells, as runs of earlier versions do not, is no difference.
    """
    before, after = then.estimates[name].samples, now.estimates[name].samples
    if before != after:
        return f"{before} pictures then, {after} now"
    score = scores.parse(name)
    network = score.extractor if score else _NETWORKS.get(name, "")
    return next(
        filter(
            None,
            (
                _other_network(network, then, now),
                _other_reference(score.against if score else "softmax", then, now),
                *_differ("", then.protocol, now.protocol),
            ),
        ),
        "",
    )


def _other_network(name: str, then: Evidence, now: Evidence) -> str:
    before, after = (row.extractors.get(name, {}) for row in (then, now))
    return next(_differ(f"features of another network, {name}: ", before, after), "")


def _other_reference(against: str, then: Evidence, now: Evidence) -> str:
    before, after = (row.references.get(against, {}) for row in (then, now))
    told = f"another reference, {before.get('name') or against} and {after.get('name') or against}"
    compared = ("sha256", "count", "image_key")
    mine, theirs = ({k: v for k, v in one.items() if k in compared} for one in (before, after))
    return next(_differ(f"{told}: ", mine, theirs), "")


def _differ(told: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in then:
        if name in now and then[name] != now[name]:
            yield f"{told}{name} {_said(then[name])} then, {_said(now[name])} now"


def _said(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    is_digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:_DIGITS] if is_digest else text or "none"


@dataclass(frozen=True)
class Unlike:
    """Figures of two runs that say the same of different numbers of pictures, or in other networks."""

    pairs: tuple[tuple[Score, Estimate, Score, Estimate], ...]

    @property
    def names(self) -> frozenset[str]:
        """Of both runs."""
        return frozenset(score.name for one in self.pairs for score in (one[0], one[2]))

    def findings(self, cell: Cell) -> Iterator[Finding]:
        """Each with both values, so that a person may look."""
        for before, then, after, now in self.pairs:
            if before.count != after.count:
                why = f"{before.count} pictures then, {after.count} now"
            else:
                why = f"features of {before.extractor} then, of {after.extractor} now"
            reason = f"{before.name} {then.value:g} and {after.name} {now.value:g}: {why}"
            yield Finding(
                cell, after.name, Verdict.INCOMPARABLE, reason, baseline=then, candidate=now
            )


def unlike(then: Evidence, now: Evidence) -> Unlike:
    """The figures that only one run has by that name, beside what the other has in its place."""
    mine, theirs = _only(then, now), _only(now, then)
    found = []
    for before in mine:
        alike = [one for one in theirs if (one.word, one.against) == (before.word, before.against)]
        same = [one for one in alike if one.extractor == before.extractor]
        if alike:
            after = (same or alike)[0]
            theirs.remove(after)
            found.append((before, then.estimates[before.name], after, now.estimates[after.name]))
    return Unlike(tuple(found))


def _only(one: Evidence, other: Evidence) -> list[Score]:
    names = [name for name in one.estimates if name not in other.estimates and name not in PAIRS]
    return [score for name in names if (score := scores.parse(name))]
