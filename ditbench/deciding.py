"""The rules that screen and confirm: one value beside those of before, then two arms side by side.

The screen takes what moved by more than was asked to be let pass, and than what was seen before varies by.
The rule that confirms wants two robust figures of process medians, both beyond the gate and on one side.

Of processes of two arms the Hodges-Lehmann ratio, the median of all ratios b / a, and the ratio of the best
processes, min b / min a. Where each process ran both arms in turns, its own ratio takes the place of b / a:
the first figure is then the median of all geometric means of two of them (Walsh averages), the second the
same of the faster half of the processes, for a mode that both arms share cancels in each process, and the
fastest medians of either arm by itself vary more than ratios do. One figure by itself is fooled by a
machine of two modes: the first by an arm whose processes were slow more often, the second by an arm none of
whose processes was fast. What tests of significance lose here ADR 0019 tells with numbers.

Everything takes arrays of shape (..., processes) and is defined for any number of processes and any values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ditbench.gating import GATE, PROCESSES
from ditbench.stats import NORMAL

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

IMPROVED, UNCHANGED, REGRESSED, INCONCLUSIVE = -1, 0, 1, 2
# Changes within three deviations of what was seen before are what the machine does by itself.
SIGMAS = 3.0
# The share of false ones among the discoveries of a session.
DISCOVERIES = 0.05
# Two modes lie further apart than the usual gate, and than three times what either spans by itself.
_APART = np.log1p(GATE)
_SPANS = 3.0


@dataclass(frozen=True)
class Decision:
    """What two arms come to; every field of the shape of the leading axes.

    ratio: Hodges-Lehmann, B / A. best: of the best processes. codes: IMPROVED (faster), UNCHANGED, REGRESSED
    (slower) or INCONCLUSIVE. p: of no difference, by a t test on the faster modes (see `p_value`). Ratios and
    p are NaN where a value has no logarithm.
    """

    ratio: Array
    best: Array
    codes: NDArray[np.int8]
    p: Array


@dataclass(frozen=True)
class Screened:
    """What values come to beside those of before; every field of the shape of the leading axes.

    change: relative to their middle where that is beyond what is allowed, else to whichever of the middle and
    the baseline is farther; NaN where there is no ratio. of_base: whether it is the baseline's. least: the
    relative change that was asked to be let pass, and three deviations of what was seen before. allowed: the
    same, and the gate.
    """

    change: Array
    of_base: Flags
    least: Array
    allowed: Array

    @property
    def moved(self) -> Flags:
        """Whether it is more than was asked to be let pass; what has no ratio is within nothing."""
        return np.asarray(~(abs(self.change) <= self.least))

    @property
    def beyond(self) -> Flags:
        """Whether it is so much that a session of two arms can tell, and is to."""
        return np.asarray(~(abs(self.change) <= self.allowed))


def decide(
    base: ArrayLike, judged: ArrayLike, gate: ArrayLike, paired: ArrayLike | None = None
) -> Decision:
    """The verdict on arms A and B from their process medians, (..., processes), counts may differ.

    gate: the relative change that is let pass, of the leading axes. paired: where each process ran both arms
    in turns, its own ratio b / a, (..., processes).
    """
    difference = np.log(ratio(base, judged, paired))
    best = _best(logarithms(base), logarithms(judged), paired)
    sides = (base, judged) if paired is None else (base, judged, paired)
    enough = min(logarithms(side).shape[-1] for side in sides) >= PROCESSES
    codes = _codes(difference, best, np.log1p(np.asarray(gate, float)))
    codes = codes if enough else np.full_like(codes, INCONCLUSIVE)
    return Decision(np.exp(difference), np.exp(best), codes, p_value(base, judged, paired))


def ratio(base: ArrayLike, judged: ArrayLike, paired: ArrayLike | None = None) -> Array:
    """The Hodges-Lehmann ratio B / A, of two samples or of the processes' own ratios (`decide`)."""
    logs = (
        _walsh(logarithms(paired))
        if paired is not None
        else _shift(logarithms(base), logarithms(judged))
    )
    return np.asarray(np.exp(logs))


def wants_more(base: ArrayLike, judged: ArrayLike, paired: ArrayLike | None = None) -> Flags:
    """Whether two modes show, so that five processes an arm are to become eight.

    In the processes of either arm, and in those of both together: five fast and five slow ones may be two
    arms, or two modes. Where processes ran both arms, the modes of a process are those of both and cancel;
    then only `paired` is looked at.
    """
    if paired is not None:
        return modes(logarithms(paired))[0]
    a, b = logarithms(base), logarithms(judged)
    return modes(a)[0] | modes(b)[0] | modes(np.concatenate([a, b], axis=-1))[0]


def seen(values: ArrayLike) -> tuple[Array, Array]:
    """The middle of process medians of one run, (..., n), and their spread relative to it; NaN of none.

    The spread is 1.4826 x MAD.
    """
    given = np.asarray(values, float)
    middle = _middle(given)
    with np.errstate(invalid="ignore"):
        return middle, _spread(abs(given - middle[..., None]), middle)


def nights(values: ArrayLike) -> tuple[Array, Array]:
    """The same of the nights before a run, (..., nights), in the order of time.

    The spread is 1.4826 x the median of |x(t+1) - x(t)| / sqrt 2, which of independent normal nights is their
    deviation as well (von Neumann, Kent, Bellinson & Hart 1941). Distances from the middle are not asked: of
    a window half before and half after a step they are the step, which would then let itself pass. Here a
    step is one difference of nine, and a slow drift is small in each of them.
    """
    given = np.asarray(values, float)
    with np.errstate(invalid="ignore"):
        return _middle(given), _spread(abs(np.diff(given)) / np.sqrt(2), _middle(given))


def _middle(values: Array) -> Array:
    """The median along the last axis, NaN where a value is, or none; of few values faster than numpy's."""
    if not values.shape[-1]:
        return np.full(values.shape[:-1], np.nan)
    ordered = np.sort(values, axis=-1)
    last = ordered.shape[-1] - 1
    middle = ordered[..., last // 2] / 2 + ordered[..., (last + 1) // 2] / 2
    return np.where(np.isnan(ordered[..., -1]), np.nan, middle)


def _spread(away: Array, middle: Array) -> Array:
    """Relative, of distances (..., n)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(NORMAL * _middle(away) / middle)


def screened(
    before: tuple[ArrayLike, ArrayLike],
    base: ArrayLike,
    now: ArrayLike,
    asked: ArrayLike,
    gate: ArrayLike,
) -> Screened:
    """One value of now beside what was seen before, and beside the baseline: both must let it pass.

    Nights follow a step and a drift, so that after five nights a step is what they say; the baseline does
    not. before: middle and spread, of `nights`, or of the baseline's processes (`seen`). base: its value.
    asked: the relative change that is let pass wherever nobody measured the noise. gate: never below that.
    """
    middle, spread = (np.asarray(one, float) for one in before)
    beside, own = _relative(middle, now), _relative(base, now)
    least = np.fmax(asked, SIGMAS * spread)  # a spread that nobody knows widens nothing
    allowed = np.fmax(least, gate)
    of_base = (abs(beside) <= allowed) & ~(abs(own) <= abs(beside))
    return Screened(np.where(of_base, own, beside), of_base, least, allowed)


def _relative(before: ArrayLike, now: ArrayLike) -> Array:
    """Now / before - 1, NaN where there is no ratio."""
    then, value = np.asarray(before, float), np.asarray(now, float)
    known = np.isfinite(then) & (then > 0) & np.isfinite(value)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(known, value / then - 1, np.nan)


def slow_share(medians: ArrayLike) -> Array:
    """The share of processes in the slow mode; 0 where there are not two."""
    return np.asarray((~_fast(logarithms(medians))).mean(axis=-1))


def p_value(base: ArrayLike, judged: ArrayLike, paired: ArrayLike | None = None) -> Array:
    """Of a difference as large between equal arms; NaN where a value has no logarithm or too few there are.

    Two-sided t tests on logarithms: of paired ratios against 0, else between the arms' faster modes with
    their common variance. Ranks of five against five reach no lower than 1 / 126, which over twenty cells
    discovers nothing at all, and a slow process among five makes a plain t test blind. Where both arms
    have one fast process, nothing tells what such vary by, and all processes are tested.
    """
    if paired is not None:
        own = logarithms(paired)
        count = np.full(own.shape[:-1], own.shape[-1])
        return _t_test(own.mean(axis=-1), _squares(own, np.ones_like(own, bool)), (count,))
    a, b = logarithms(base), logarithms(judged)
    fast = _fast(a), _fast(b)
    alone = sum(one.sum(axis=-1) for one in fast) <= len(fast)
    fast = fast[0] | alone[..., None], fast[1] | alone[..., None]
    counts = tuple(one.sum(axis=-1) for one in fast)
    difference = _mean(b, fast[1]) - _mean(a, fast[0])
    return _t_test(difference, _squares(a, fast[0]) + _squares(b, fast[1]), counts)


def discoveries(p: ArrayLike, axis: int = -1) -> Array:
    """Of each p of a session, the share of false ones among the discoveries that reach down to it.

    Benjamini & Hochberg 1995: p times their number over its rank, and never more than a larger p's. NaN is
    no p, and stays.
    """
    given = np.moveaxis(np.asarray(p, float), axis, -1)
    order = given.argsort(axis=-1)
    ordered = np.take_along_axis(given, order, -1)
    number = (~np.isnan(ordered)).sum(axis=-1, keepdims=True)
    shares = ordered * number / np.arange(1, ordered.shape[-1] + 1)
    found = np.empty_like(given)
    np.put_along_axis(found, order, np.fmin.accumulate(shares[..., ::-1], axis=-1)[..., ::-1], -1)
    return np.asarray(np.moveaxis(found, -1, axis))


def modes(logs: Array) -> tuple[Flags, Array]:
    """Whether two modes show along the last axis, and the largest value of the faster one.

    logs: (..., n). Two modes are two groups at the largest gap: further apart than the usual gate, and than
    three times what the wider of them spans.
    """
    ordered = np.sort(logs, axis=-1)
    gaps = np.diff(ordered, axis=-1)
    if not gaps.shape[-1]:
        return np.zeros(logs.shape[:-1], bool), ordered[..., -1]
    place = gaps.argmax(axis=-1)[..., None]
    gap = np.take_along_axis(gaps, place, -1)[..., 0]
    below = np.take_along_axis(ordered, place, -1)[..., 0]
    above = np.take_along_axis(ordered, place + 1, -1)[..., 0]
    span = np.maximum(below - ordered[..., 0], ordered[..., -1] - above)
    return (gap > _APART) & (gap > _SPANS * span), below


def logarithms(values: ArrayLike) -> Array:
    """Logarithms; NaN for what has none, infinite times among it, and no warning."""
    given = np.atleast_1d(np.asarray(values, float))
    if not given.shape[-1]:
        return np.full((*given.shape[:-1], 1), np.nan)
    usable = np.isfinite(given) & (given > 0)
    return np.asarray(np.log(np.where(usable, given, np.nan)))


def _shift(a: Array, b: Array) -> Array:
    """The median of all differences b - a (Hodges & Lehmann 1963)."""
    differences = b[..., :, None] - a[..., None, :]
    return np.asarray(np.median(differences.reshape(*differences.shape[:-2], -1), axis=-1))


def _best(a: Array, b: Array, paired: ArrayLike | None) -> Array:
    """Of the best processes: the fastest of each arm, or the faster half of those that ran both."""
    if paired is None:
        return np.asarray(b.min(axis=-1) - a.min(axis=-1))
    own = logarithms(paired)
    fastest = np.argsort(a + b, axis=-1)[..., : (own.shape[-1] + 1) // 2]
    return _walsh(np.take_along_axis(own, fastest, -1))


def _walsh(logs: Array) -> Array:
    """The median of all means of two values, each with itself among them."""
    first, second = np.triu_indices(logs.shape[-1])
    return np.asarray(np.median((logs[..., first] + logs[..., second]) / 2, axis=-1))


def _codes(difference: Array, best: Array, gate: Array) -> NDArray[np.int8]:
    """NaN is on no side of anything."""
    rules = (
        (difference > gate) & (best > gate),
        (difference < -gate) & (best < -gate),
        (abs(difference) <= gate) & (abs(best) <= gate),
    )
    return np.asarray(np.select(rules, (REGRESSED, IMPROVED, UNCHANGED), INCONCLUSIVE), np.int8)


def _fast(logs: Array) -> Flags:
    """Which processes are in the faster mode; all where one mode shows."""
    two, last = modes(logs)
    return np.asarray(~two[..., None] | (logs <= last[..., None]))


def _mean(logs: Array, chosen: Flags) -> Array:
    return np.asarray(np.where(chosen, logs, 0).sum(axis=-1) / chosen.sum(axis=-1))


def _squares(logs: Array, chosen: Flags) -> Array:
    """The sum of squared distances from the mean."""
    away = np.where(chosen, logs - _mean(logs, chosen)[..., None], 0)
    return np.asarray((away**2).sum(axis=-1))


def _t_test(difference: Array, squares: Array, counts: tuple[NDArray[np.intp], ...]) -> Array:
    """Student's; certain where nothing varies and something differs."""
    freedom = np.asarray(sum(counts) - len(counts))
    inverse = np.asarray(sum(1 / count for count in counts))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / np.sqrt(squares / freedom * inverse)
        p = 2 * special.stdtr(freedom, -abs(t))
    certain = np.where(difference == 0, 1.0, 0.0)
    found = np.where(squares == 0, certain, p)
    return np.asarray(np.where((freedom > 0) & ~np.isnan(difference), found, np.nan))
