"""TaylorSeer (Liu et al., 2025, arXiv 2503.06923), by diffusers' hook.

    out_t = sum_{i <= order} D^i out_t' (t - t')^i / i!,   D^i differences over the steps that computed
    skips a module whole in (interval - 1) of every interval steps, after the first ones

What a module gives is forecast along its Taylor series instead of given again. `identifiers` says which
modules: `attention`, `blocks`, or a regular expression that must match a module's whole name. `default` are
diffusers' own: `^transformer_blocks.*attn`, matched whole, fits no transformer_blocks.0.attn1, so that on DiT
and PixArt it would hook nothing and say nothing. It is refused, and so is a run that ends before the first
forecast. `factors` is the dtype in which differences are kept: diffusers' default is bfloat16. diffusers
keeps the state when a run ends, and the next picture begins with it: here every run installs anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from diffusers.hooks import TaylorSeerCacheConfig, apply_taylorseer_cache
from diffusers.hooks.taylorseer_cache import _TRANSFORMER_BLOCK_IDENTIFIERS
from torch import nn

from ditbench.accelerators.base import Host, register
from ditbench.accelerators.hooked import Begin, Hooked
from ditbench.accelerators.ledger import Words
from ditbench.attention.base import Moment
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class TaylorSeer(Hooked):
    """Forecasts of what modules give."""

    name: ClassVar[str] = "taylorseer"
    paper: ClassVar[str] = "Liu et al., 2025, arXiv 2503.06923"
    skips: ClassVar[str] = (
        "modules by name, whose output is forecast between the steps that compute"
    )
    words: ClassVar[Words] = Words("forecast")

    interval: int = setting(5, least=1)
    before: int = setting(3, least=1)
    order: int = setting(1, least=0)
    identifiers: str = "attention"
    factors: str = setting("bfloat16", choices=("bfloat16", "float32"))

    def patterns(self, host: Host) -> Sequence[str]:
        """Regular expressions, of which one must match a name whole."""
        if self.identifiers == "default":
            return list(map(str, _TRANSFORMER_BLOCK_IDENTIFIERS))
        known = {"attention": host.attentions, "blocks": host.blocks}
        named = known.get(self.identifiers)
        return [self.identifiers] if named is None else [re.escape(name) for name in named]

    def watched(self, host: Host) -> Mapping[str, nn.Module]:
        """The modules that match."""
        patterns = [re.compile(one) for one in self.patterns(host)]
        return {
            name: module
            for name, module in host.network.named_modules()
            if any(one.fullmatch(name) for one in patterns)
        }

    def refuses(self, host: Host, first: Moment) -> list[str]:
        """Names that match nothing, or each other's parts; settings that never forecast."""
        try:
            names = list(self.watched(host))
        except re.error as error:
            return [f"identifiers {self.identifiers!r}: not a regular expression: {error}"]
        inner = [one for one in names for other in names if one.startswith(f"{other}.")]
        known = host.sites[0].name
        reasons = {
            f"identifiers {self.identifiers} match no module whole, so it would hook nothing and say "
            f"nothing: names here are such as {known}": not names,
            f"identifiers {self.identifiers} match {''.join(inner[:1])} and what it lies in": bool(
                inner
            ),
            f"of {first.steps} steps none is left to forecast after before: {self.before} with interval: "
            f"{self.interval}": not self.forecasts(first.steps),
        }
        return [reason for reason, holds in reasons.items() if holds]

    def forecasts(self, steps: int) -> int:
        """How many steps of a run are forecast."""
        return sum(
            (step - self.before - 1) % self.interval != 0 for step in range(self.before, steps)
        )

    def apply(self, host: Host) -> Begin | None:
        """On the modules that match, and no others."""
        config = TaylorSeerCacheConfig(
            cache_interval=self.interval,
            disable_cache_before_step=self.before,
            max_order=self.order,
            taylor_factors_dtype=getattr(torch, self.factors),
            cache_identifiers=list(self.patterns(host)),
        )
        apply_taylorseer_cache(host.network, config)
        return None
