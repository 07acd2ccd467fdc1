"""Which pictures a method moved most, beside softmax's own of the same seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ditbench.errors import StoreError
from ditbench.metrics import ROUNDING
from ditbench.report import words
from ditbench.report.judged import Method, Peers
from ditbench.report.kept import Kept, Picked, kept
from ditbench.report.pictures import figures, said
from ditbench.report.tiles import Tile, tile

_PICTURES = 4
_METHODS = 24
_SIDE = 96
# The figure that says how far, and its sign where more is farther.
_BY = (("latent_drift", 1.0), ("lpips", 1.0), ("psnr", -1.0), ("ssim", -1.0))
# Without a drift: what rounding of an 8-bit picture may leave of either.
_NEAR = {"psnr": -60.0, "ssim": -0.9999, "lpips": 1e-4}


@dataclass(frozen=True)
class Pair:
    """A picture of softmax's and the method's of the same seed."""

    number: int
    named: str
    reference: Tile
    own: Tile
    told: str


@dataclass(frozen=True)
class Mover:
    """One method and its farthest pictures, the farthest first. detail: what most is."""

    label: str
    detail: str
    pairs: tuple[Pair, ...]

    @property
    def size(self) -> int:
        """Characters that it takes."""
        return sum(pair.reference.size + pair.own.size for pair in self.pairs)


@dataclass(frozen=True)
class Moved:
    """Methods of one protocol, the farthest first. still: those that moved nothing beyond rounding.

    hidden: how many more there are.
    """

    title: str
    by: str
    movers: tuple[Mover, ...]
    still: tuple[str, ...]
    hidden: int


def moved(folder: Path, found: Sequence[Peers], budget: int) -> tuple[Moved, ...]:
    """For every protocol in which softmax's pictures are there to stand beside the others'.

    folder: the run's. budget: characters that all may take. Files that cannot be read are told of elsewhere.
    """
    fit = [peers for peers in found if budget and peers.methods[0].is_reference]
    share = budget // max(1, len(fit))
    made = (_moved(folder, peers, share) for peers in fit)
    return tuple(one for one in made if one)


def _moved(folder: Path, peers: Peers, budget: int) -> Moved | None:
    reference = _opened(folder, peers.methods[0])
    by = next((pair for pair in _BY if any(pair[0] in m.metrics for m in peers.methods[1:])), None)
    if reference is None or by is None:
        return None
    far = [one for one in peers.methods[1:] if _most(one, *by) > -math.inf]
    far.sort(key=lambda one: -_most(one, *by))
    still = tuple(one.label for one in far if _is_still(one, *by))
    movers: list[Mover] = []
    for method in far[:_METHODS]:
        if method.label in still or (pictures := _opened(folder, method)) is None:
            continue
        mover = _mover(method, by[0], _farthest(method, *by), (reference, pictures))
        budget -= mover.size
        if budget < 0:
            break
        movers.append(mover)
    hidden = len(far) - len(still) - len(movers)
    return Moved(peers.title, words.named(by[0]), tuple(movers), still, hidden)


def _opened(folder: Path, method: Method) -> Kept | None:
    try:
        return kept(folder, method.row.cell)
    except StoreError:
        return None


def _most(method: Method, name: str, sign: float) -> float:
    """The largest figure, signed so that more is farther; minus infinity where there is none."""
    return max((sign * value for value in method.metrics.get(name, ())), default=-math.inf)


def _is_still(method: Method, name: str, sign: float) -> bool:
    """Whether no picture moved by more than rounding explains."""
    allowed = _NEAR.get(name, ROUNDING.get(method.row.cell.sampling.dtype, 0.0))
    return _most(method, name, sign) <= allowed


def _farthest(method: Method, name: str, sign: float) -> list[int]:
    values = method.metrics[name]
    order = sorted(range(len(values)), key=lambda number: -sign * values[number])
    return order[:_PICTURES]


def _mover(method: Method, name: str, numbers: Sequence[int], kept_by: tuple[Kept, Kept]) -> Mover:
    most = min(one.count for one in kept_by)
    numbers = [number for number in numbers if number < most]
    theirs, ours = (one.pick(numbers) for one in kept_by)
    pairs = tuple(_pair(method, number, at, (theirs, ours)) for at, number in enumerate(numbers))
    value = method.row.estimates.get(name)
    middle = f"median {words.figure(name, value.value)}" if value else ""
    return Mover(method.label, middle, pairs)


def _pair(method: Method, number: int, at: int, picked: tuple[Picked, Picked]) -> Pair:
    theirs, ours = picked
    named = ours.classes[at][1] if ours.classes else ""
    of = f" ({named})" if named else ""
    return Pair(
        number=number,
        named=named,
        reference=tile(theirs.images[at], f"picture {number}{of} by softmax", _SIDE),
        own=tile(ours.images[at], said(method, number, ours.classes, at), _SIDE),
        told=figures(method, number),
    )
