"""What several processes saw of one set of pictures, put together into statistics of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ditbench.distances.frechet import Moments, Streaming
from ditbench.errors import UsageError
from ditbench.store.statistics import Reference


@dataclass(frozen=True)
class Part:
    """Sums over the pictures that one process looked at.

    whose: the identity of the whole (`store.statistics.IDENTITY`). seen, constant: pictures of this part, and
    those of one colour among them. pool, places: of features, and of those that keep their places. features
    (n, d): the rows that are kept.
    """

    whose: dict[str, Any]
    seen: int
    constant: int
    pool: Streaming
    places: Streaming | None
    features: NDArray[np.float32]


def together(parts: Sequence[Part], say: Callable[[str], None] = lambda _text: None) -> Reference:
    """Statistics of all parts, in the order of their pictures.

    say: told of some pictures of one colour. Raises UsageError where all are, or there are fewer than 2.
    """
    seen = sum(part.seen for part in parts)
    constant = sum(part.constant for part in parts)
    whose = parts[0].whose
    if constant and constant == seen:
        raise UsageError(
            f"{whose['name']}: each of {seen} pictures is of one colour: they have no statistics"
        )
    if constant:
        say(f"{whose['name']}: {constant} of {seen} pictures are of one colour")
    places = [part.places for part in parts if part.places]
    return Reference(
        **whose,
        moments=_merged([part.pool for part in parts]),
        spatial=_merged(places) if places else None,
        features=np.concatenate([part.features for part in parts]),
    )


def _merged(several: Sequence[Streaming]) -> Moments:
    total = Streaming(several[0].width)
    for sums in several:
        total.merge(sums)
    return total.moments()
