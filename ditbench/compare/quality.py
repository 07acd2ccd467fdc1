"""Figures of pictures: the same seeds are drawn again, so differences are paired and one comparison suffices.

A change counts beyond three standard errors of the paired difference and beyond the tolerance, the suite's
or the usual one; of a Frechet distance beyond 1.3 % too. What comes one value a picture is paired then with
now. A figure of a whole set cannot be: no baseline keeps features. Its errors are those of then - softmax and
now - softmax on the same seeds, and the larger one is taken. Where then, now and softmax are equally alike,
each of variance v and each two of covariance c, that is exact: every difference has variance 2 (v - c).
Two states of one method are more alike than the method and softmax, so that it is too large rather than too
small. Of softmax itself the error is its own, unpaired, and larger still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ditbench import units
from ditbench.compare.pair import Pair
from ditbench.compare.rules import Rules, Ruling, said
from ditbench.compare.verdicts import Verdict
from ditbench.gating import GATE
from ditbench.metrics import PAIRS, ROUNDING, word_of

_SIGMAS = 3
# Fewer pictures have no spread.
_FEWEST = 2
# The PSNR of pictures whose error is one grey level everywhere, 20 log10(255): above it nobody sees anything.
_ONE_LEVEL = 20 * math.log10(255)
# Training the same network again moves the distance by as much, beyond any error of sampling ("FID Lottery",
# arXiv 2606.20536): of no other figure of sets is that known.
_FRECHET = 0.013
_OF_SETS = frozenset({"frechet", "sfid"})
# Where a suite names no gate: absolute for what is bounded or logarithmic, else relative.
_ABSOLUTE = {"psnr": 0.3, "ssim": 0.005, "lpips": 0.005}
_RELATIVE = {"latent_drift": 0.05}
_UNKNOWN = "its error is not known"
_AGAIN = "the same seeds were drawn again, which needs no confirmation"


@dataclass(frozen=True)
class _Difference:
    """by: now - then; error: its standard error, None where nothing tells it."""

    by: float
    error: float | None


def _same(pair: Pair) -> Ruling | None:
    """Why the two are the same in spite of any ratio."""
    excuse = _excuse(pair)
    return said("difference", pair.values, excuse, Verdict.UNCHANGED) if excuse else None


def _excuse(pair: Pair) -> str:
    before, after = pair.before.value, pair.after.value
    if before == after:
        return "equal"
    rounding = ROUNDING.get(pair.now.cell.sampling.dtype, 0.0)
    if pair.metric.name == "latent_drift" and pair.now.exact and max(before, after) <= rounding:
        return "rounding of an exact method"
    if pair.metric.unit == "dB" and min(before, after) >= _ONE_LEVEL:
        return "errors below one grey level"
    return ""


def _error(pair: Pair) -> Ruling:
    """Beyond three standard errors of the difference of the same pictures."""
    found = _difference(pair)
    if not math.isfinite(found.by):
        return said("paired error", pair.values, "no difference", Verdict.INCONCLUSIVE)
    if found.error is None:
        return said("paired error", pair.values, _UNKNOWN)
    least = max(pair.metric.floor, _SIGMAS * found.error)
    numbers = f"{pair.values}; difference {found.by:+.3g}, standard error {found.error:.3g}"
    if abs(found.by) <= least:
        told = f"a difference of {abs(found.by):.3g}, which {least:.3g} may be by itself"
        return said("paired error", numbers, told, Verdict.UNCHANGED)
    return said("paired error", numbers, f"beyond {_SIGMAS} standard errors")


def _tolerance(pair: Pair) -> Ruling | None:
    """Beyond what the suite lets pass."""
    by, allowed, told = abs(_difference(pair).by), *_allowed(pair)
    if by <= allowed:
        outcome = f"a difference of {by:.3g} within the tolerance of {told}"
        return said("tolerance", pair.values, outcome, Verdict.UNCHANGED)
    return said("tolerance", told, f"{by:.3g} beyond it")


def _unknown(pair: Pair) -> Ruling | None:
    """Nothing is significant by accident: neither one picture nor a figure without a stored error."""
    if _difference(pair).error is not None:
        return None
    pictures = min(pair.before.samples, pair.after.samples)
    why = "of one picture" if pictures < _FEWEST else _UNKNOWN
    told = f"{pair.values}, beyond the tolerance, but {why}: no change of it can be told"
    return said("known error", pair.values, told, Verdict.INCONCLUSIVE)


def _allowed(pair: Pair) -> tuple[float, str]:
    """The tolerance in the metric's unit and in words.

    Of what is not positive, as a kernel distance about zero, a share is nothing: the errors judge alone.
    """
    name, word = pair.metric.name, word_of(pair.metric.name)
    if pair.gate.named is None and name in _ABSOLUTE:
        return _ABSOLUTE[name], f"{_ABSOLUTE[name]:g} {pair.metric.unit}"
    share = _RELATIVE.get(name, GATE) if pair.gate.named is None else pair.gate.named
    if word in _OF_SETS:
        share = max(share, _FRECHET)
    before = max(0.0, _seen(pair.metric.unit, pair.before.value))
    return share * before, f"{units.percent(share)} of {before:.3g}"


def _verdict(pair: Pair) -> Ruling:
    change = pair.change
    told = pair.values if change is None else units.percent(change, signed=True)
    if (_difference(pair).by < 0) == (pair.metric.better == "lower"):
        return said("pictures", pair.values, f"{told}, better; {_AGAIN}", Verdict.IMPROVED)
    return said("pictures", pair.values, f"{told}, worse; {_AGAIN}", Verdict.REGRESSED)


def _difference(pair: Pair) -> _Difference:
    """Of pictures one by one, where both sides have each; of a whole set from its own errors."""
    unit = pair.metric.unit
    before, after = _seen(unit, pair.before.value), _seen(unit, pair.after.value)
    if pair.metric.name not in PAIRS:
        errors = [row.error(pair.metric.name) for row in (pair.then, pair.now)]
        known = [error for error in errors if error is not None] if _several(pair) else []
        return _Difference(after - before, max(known, default=None))
    then, now = (
        [_seen(unit, one) for one in row.pictures.metrics[pair.metric.name]] if row.pictures else []
        for row in (pair.then, pair.now)
    )
    if len(then) != len(now):
        return _Difference(after - before, None)
    apart = np.subtract(now, then)
    error = float(apart.std(ddof=1) / math.sqrt(len(apart))) if _several(pair) else None
    return _Difference(float(apart.mean()), error)


def _several(pair: Pair) -> bool:
    return min(pair.before.samples, pair.after.samples) >= _FEWEST


def _seen(unit: str, value: float) -> float:
    """Noise ratios end where nobody sees an error any more, so that equal pictures have a finite one."""
    return min(value, _ONE_LEVEL) if unit == "dB" else value


RULES: Rules[Pair] = (_same, _error, _tolerance, _unknown, _verdict)
