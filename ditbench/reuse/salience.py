"""Channels of activations and weights made as hard to round (PTQ4DiT, Wu et al., 2024, arXiv 2405.16005).

    s(X_j) = max |X_j| over tokens,  s(W_j) = max |W_j| over outputs,  for each input channel j
    CSB: b_j = (s(X_j) / (s(W_j) + 1e-8))^(1/2),  X~ = X diag(1/b),  W~ = W diag(b)
    SSC: rho_t = Spearman(s(X^(t)), s(W)),  eta_t = exp(-rho_t) / sum_u exp(-rho_u),
         s(X) = sum_t eta_t s(X^(t)), over the steps t of a calibration

X~ W~^T is X W^T, and both sides now have the salience (s(X_j) s(W_j))^(1/2) in channel j. A step whose large
channels are not those of the weights counts more: there is more to balance. Queries and keys are balanced
as X and W are, because Q K^T is a product over channels likewise.
"""

from __future__ import annotations

import torch

from ditbench import stats

_AGAINST_ZERO = 1e-8


def of_weights(weight: torch.Tensor) -> torch.Tensor:
    """s(W): (inputs,) of a linear layer's weight (outputs, inputs)."""
    return weight.abs().amax(dim=0)


def factors(of_x: torch.Tensor, of_w: torch.Tensor) -> torch.Tensor:
    """CSB's b, by which X's channels are divided and W's multiplied, from the saliences of both.

    At least float32, where 1e-8 is a number. A channel that either side lacks is left as it is, b = 1: it
    adds nothing to any product, and what was never seen in a calibration may be there later. Infinity and
    NaN pass, so that what is balanced by them is not finite.
    """
    wide = torch.promote_types(of_x.dtype, torch.float32)
    x, w = of_x.to(wide), of_w.to(wide)
    lacking = (x == 0) | (w == 0)
    return (x / (w + _AGAINST_ZERO)).sqrt().masked_fill(lacking, 1.0)


def balance(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """CSB between queries and keys, each (rows, heads, tokens, head_dim): b (rows, heads, 1, head_dim).

    `(q * b) @ (k / b).mT` is `q @ k.mT`. A cache keeps k / b and b, and multiplies each later query by that
    b; both in b's dtype, which is at least float32. What is gained is in keys whose scale spans channels: a
    scale for each channel leaves nothing to balance.
    """
    return factors(k.abs().amax(dim=2, keepdim=True), q.abs().amax(dim=2, keepdim=True))


def spearman(a: torch.Tensor, b: torch.Tensor) -> float:
    """Rank correlation of two vectors, -1 to 1, ties at their mean rank; 0 where either has no order."""
    return stats.rank_correlation(a.tolist(), b.tolist()) or 0.0


def weights_over_time(of_x: torch.Tensor, of_w: torch.Tensor) -> torch.Tensor:
    """SSC's eta (steps,), which add up to 1, from s(X) of each step (steps, channels) and s(W)."""
    correlations = torch.tensor([spearman(step, of_w) for step in of_x], dtype=torch.float64)
    return (-correlations).softmax(dim=0)


def over_time(of_x: torch.Tensor, of_w: torch.Tensor) -> torch.Tensor:
    """SSC's one s(X) (channels,) for all steps of a calibration, from that of each (steps, channels)."""
    eta = weights_over_time(of_x, of_w).to(
        of_x.device, torch.promote_types(of_x.dtype, torch.float32)
    )
    return eta @ of_x.to(eta.dtype)
