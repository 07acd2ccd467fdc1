"""What is kept of a forward so that it can be given again, in memory that nobody else writes to.

A projection may write into the same buffer at every step, and a network may add to what it was given: what is
kept is a copy, or was rounded into memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from ditbench.reuse.gating import Kept
from ditbench.reuse.quantise import Storage, Stored, sqnr


@dataclass
class Witness:
    """A site's projections, of which some are given and the others noted.

    given: in the place of a projection, by its letter of "qkv". made: what was projected, by letter.
    """

    project: Callable[[torch.Tensor, str], tuple[torch.Tensor, ...]]
    given: Mapping[str, torch.Tensor] = field(default_factory=dict)
    made: dict[str, torch.Tensor] = field(default_factory=dict)

    def __call__(self, x: torch.Tensor, /, parts: str = "qkv") -> tuple[torch.Tensor, ...]:
        """Of x (rows, tokens, dim) the parts named, each (rows, heads, tokens, head_dim)."""
        if wanted := "".join(part for part in parts if part not in self.given):
            self.made |= dict(zip(wanted, self.project(x, wanted), strict=True))
        return tuple(self.given[part] if part in self.given else self.made[part] for part in parts)

    @property
    def whole(self) -> bool:
        """Whether q, k and v were all projected; a core that looks at none of them projects none."""
        return set(self.made) == set("qkv")


@dataclass
class Entry:
    """Of one site, for all rows of a forward or half of them. held: the parts that are given again."""

    known: Kept
    held: tuple[Stored, ...]


def keep(storages: Iterable[Storage], parts: Sequence[torch.Tensor]) -> tuple[Stored, ...]:
    """Each part kept its own way, in memory of its own."""
    stored = (storage.store(part) for storage, part in zip(storages, parts, strict=True))
    return tuple(
        replace(one, codes=part.clone()) if one.codes is part else one
        for one, part in zip(stored, parts, strict=True)
    )


def restored(entries: Sequence[Entry]) -> list[torch.Tensor]:
    """Each part of the entries' rows, one after the other; of a single entry perhaps what is kept itself."""
    rows = zip(*([part.restored() for part in entry.held] for entry in entries), strict=True)
    return [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in rows]


def loss(held: Sequence[Stored], parts: Sequence[torch.Tensor]) -> dict[str, float]:
    """SQNR in dB of keys and of values, where they were rounded; waits for the device."""
    return {
        name: sqnr(part, one.restored())
        for name, one, part in zip(("sqnr_k", "sqnr_v"), held, parts, strict=False)
        if one.codes.dtype != part.dtype
    }
