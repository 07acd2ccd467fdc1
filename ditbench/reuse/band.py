"""Attention in a band of raster order: no token sees one further away than the reach, and none is masked.

    out_n = softmax(q_n K_B^T / sqrt(d)) V_B,  B = the tokens m with |n - m| <= r,  r = reach
    cost 2 P d,  P = (2 r + 1) N - r (r + 1) pairs in sight

Written out with strided views and one product for each token near an end: its multiply-adds are those of the
pairs in sight and of no others, its speed is not that of a kernel made for it.
"""

from __future__ import annotations

import torch


def pairs(tokens: int, reach: int) -> int:
    """How many pairs of tokens are in sight of each other."""
    reach = min(reach, tokens - 1)
    return (2 * reach + 1) * tokens - reach * (reach + 1)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, reach: int) -> torch.Tensor:
    """(batch, heads, tokens, head_dim) from three of the same shape.

    The tokens whose band is whole all at once, a head at a time; those near an end one by one.
    """
    shape, tokens = q.shape, q.shape[-2]
    q, k, v = (x.flatten(0, 1) for x in (q * q.shape[-1] ** -0.5, k, v))
    keys = k.transpose(
        1, 2
    )  # (batch x heads, head_dim, tokens), as v and q are (batch x heads, tokens, head_dim)

    def alone(token: int) -> torch.Tensor:
        seen = slice(max(0, token - reach), token + reach + 1)
        scores = torch.bmm(q[:, token : token + 1], keys[:, :, seen])
        return torch.bmm(scores.softmax(dim=-1), v[:, seen])

    first, last = min(reach, tokens), max(tokens - reach, min(reach, tokens))
    parts = [alone(token) for token in range(first)]
    if last > first:
        parts.append(_whole(q[:, first:last], k, v, 2 * reach + 1))
    parts += [alone(token) for token in range(last, tokens)]
    return torch.cat(parts, dim=1).view(shape)


def _whole(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, width: int) -> torch.Tensor:
    """Each query of q (heads, runs, head_dim) on a run of so many tokens, the first query on the first run.

    Runs are views: copies would be `width` times as large as k.
    """
    heads = []
    for one, *seen in zip(q, k, v, strict=True):
        keys, values = (x.unfold(0, width, 1) for x in seen)  # (runs, head_dim, width)
        scores = torch.bmm(one.unsqueeze(1), keys)
        heads.append(torch.bmm(scores.softmax(dim=-1), values.transpose(1, 2)).squeeze(1))
    return torch.stack(heads)
