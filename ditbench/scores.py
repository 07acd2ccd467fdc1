"""What figures of a whole set of pictures are called: network, number of pictures and reference in each name.

Two such figures stand in one column only where all of that is equal, so all of it is part of the name. FID is
the Frechet distance in one certain network, the Inception of 2015-12-05; in any other it is `fd_<extractor>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

# A suite's words for these figures, with what each says.
WORDS = {
    "frechet": "Frechet distance of pictures to each reference (FID where the network is Inception)",
    "sfid": "the same of Inception's spatial features",
    "kid": "kernel distance to each reference, unbiased at any number of pictures",
    "precision": "share of pictures within the reference's manifold",
    "recall": "share of the reference within the pictures' manifold",
    "inception_score": "how sure and how varied a classifier of the pictures is",
}
References = Literal["dataset", "softmax", ""]
INCEPTION = "inception"
# The stem of a name in Inception's features, and in those of any other network; `{}` is its name.
_STEMS = {
    "frechet": ("fid", "fd_{}"),
    "sfid": ("sfid", ""),
    "kid": ("kid", "kd_{}"),
    "precision": ("precision", "precision_{}"),
    "recall": ("recall", "recall_{}"),
    "inception_score": ("inception_score", "class_score_{}"),
}
# It looks at no pictures but the method's own.
ALONE = "inception_score"
_EXTRACTOR = r"(?P<extractor>[a-z][a-z0-9_]*?)"
_AGAINST = {"dataset": "real pictures", "softmax": "softmax's pictures"}
_SAID = {
    "frechet": "Frechet distance",
    "sfid": "spatial Frechet distance",
    "kid": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "inception_score": "class score",
}
_HIGHER = frozenset({"precision", "recall", "inception_score"})


@dataclass(frozen=True)
class Score:
    """One figure of a set of pictures.

    word: a suite's word for it. count: pictures. against: the reference, empty where there is none to be.
    """

    word: str
    extractor: str
    count: int
    against: References = "dataset"

    @property
    def name(self) -> str:
        """As records call it. Raises ValueError for a figure that this network has not."""
        own, other = _STEMS[self.word]
        stem = own if self.extractor == INCEPTION else other.format(self.extractor)
        if not stem:
            raise ValueError(f"{self.word} is of {INCEPTION}'s features only")
        return f"{stem}_{self.count}{'@' if self.against else ''}{self.against}"

    @property
    def summary(self) -> str:
        """In words."""
        told = f"{_SAID[self.word]} in {self.extractor} features, {self.count} pictures"
        return f"{told}, to {_AGAINST[self.against]}" if self.against else told

    @property
    def higher(self) -> bool:
        """Whether more is better."""
        return self.word in _HIGHER


@lru_cache(maxsize=1024)
def parse(name: str) -> Score | None:
    """What a name says, or None for one of another kind.

    `fid_50k`, as papers write it, is `fid_50000@dataset`.
    """
    for word, pattern in _PATTERNS:
        if match := pattern.fullmatch(name):
            found = match.groupdict()
            count = int(found["count"].removesuffix("k")) * (1000 if "k" in found["count"] else 1)
            against = "" if word == ALONE else found.get("against") or "dataset"
            return Score(
                word, found.get("extractor") or INCEPTION, count, cast("References", against)
            )
    return None


def canonical(name: str) -> str:
    """The name as records say it."""
    score = parse(name)
    return score.name if score else name


def _pattern(stem: str, *, alone: bool) -> re.Pattern[str]:
    end = "" if alone else "(@(?P<against>dataset|softmax))?"
    return re.compile(stem.format(_EXTRACTOR) + r"_(?P<count>\d{1,12}k?)" + end)


_PATTERNS = tuple(
    (word, _pattern(stem, alone=word == ALONE))
    for word, stems in _STEMS.items()
    for stem in stems
    if stem
)
