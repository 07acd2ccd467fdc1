"""How evenly the rows of an attention map spread, in nats, without the map.

    H = mean over heads and queries of -sum_k p ln p,  p = max(softmax(q k^T / sqrt(d)), 1e-6)
    H = 0 of one key in full, ln N where all N count the same
    rows heads N^2 d multiply-adds

The map is made in blocks of queries, on the device where q and k are, and only one number a row leaves it:
the DQAR project sent whole maps to the host, a million numbers a block and step.
"""

from __future__ import annotations

import math

import torch

# No probability is taken for less (as in the DQAR project).
LEAST = 1e-6
# Numbers of the map that are held at once: 16 MiB of float32.
_BLOCK = 2**22


def entropy(q: torch.Tensor, k: torch.Tensor, block: int = _BLOCK) -> torch.Tensor:
    """Nats (rows,) of q (rows, heads, queries, head_dim) and k of as many rows and heads, in float32 or more.

    block: numbers of the map that are made at once; a single query a head may need more.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    keys = k.to(wide).mT * q.shape[-1] ** -0.5  # (rows, heads, head_dim, keys)
    held = max(1, block // (q.shape[0] * q.shape[1] * k.shape[-2]))
    parts = torch.split(q, held, dim=-2)
    total = torch.stack([_spread(part.to(wide) @ keys) for part in parts]).sum(dim=0)
    return total / (q.shape[1] * q.shape[-2])


def _spread(scores: torch.Tensor) -> torch.Tensor:
    """Summed over heads and queries (rows,), from scores (rows, heads, queries, keys)."""
    p = scores.softmax(dim=-1).clamp_min_(LEAST)
    nats: torch.Tensor = torch.special.entr(p)
    return nats.sum(dim=(1, 2, 3))


def greatest(keys: int) -> float:
    """No entropy over so many keys is more: ln N, and what the least probability may add."""
    return math.log(keys) - keys * LEAST * math.log(LEAST)


def macs(rows: int, heads: int, queries: int, keys: int, head_dim: int) -> int:
    """Multiply-adds of taking it once."""
    return rows * heads * queries * keys * head_dim
