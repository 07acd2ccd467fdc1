"""What a reader must know of figures of pictures: too few for the network, or not measured at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ditbench import scores
from ditbench.summary.evidence import Evidence

_FRECHET = frozenset({"frechet", "sfid"})


def narrow(of: Evidence) -> Iterator[str]:
    """Why its Frechet distances are larger than they would be of more pictures, by network.

    Of no more pictures than features a covariance is singular: two sets of real pictures are then far apart,
    155 by FID at 125 pictures of CIFAR-10 and 47 at 1,000.
    """
    named = (score for name in of.estimates if (score := scores.parse(name)))
    counts = {score.extractor: score.count for score in named if score.word in _FRECHET}
    reference = int(of.references.get("dataset", {}).get("count", 0))
    for name, count in counts.items():
        width = int(of.extractors.get(name, {}).get("dim", 0))
        if width > 0 and count <= width:
            yield (
                f"{count:,} pictures are too few for the {width:,} features of {name}: its distances are too "
                f"large, and tell something only beside others of {count:,}, by the paired difference"
            )
        if 0 < reference <= width:
            yield (
                f"{reference:,} real pictures are too few for the {width:,} features of {name}: every "
                "distance to them is too large"
            )


def unmeasured(cells: Iterable[Evidence]) -> Iterator[str]:
    """What was asked for and could not be had, each reason once, with how many cells it is of."""
    cells = {one.cell.quality_key: one for one in cells if one.pictures}.values()
    words: dict[str, dict[str, None]] = defaultdict(dict)
    of: dict[str, set[str]] = defaultdict(set)
    for one in cells:
        for told in one.judged.get("unmeasured", ()):
            word, _, why = told.partition(" ")
            words[why][word.rstrip(",:")] = None
            of[why].add(one.cell.quality_key)
    for why, named in words.items():
        yield f"Not measured of {len(of[why])} of {len(cells)} methods: {', '.join(named)} {why}."
