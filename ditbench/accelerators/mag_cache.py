"""MagCache (Ma et al., 2025, arXiv 2506.09045), by diffusers' hook.

    out_t = x_t + R_t' while sum |1 - prod g| <= threshold, at most `most` steps in a row, after `retention`
    R the residual of all blocks together, g_t = mean |R_t| / |R_t-1| as calibrated; the product and the sum
    over the steps since the last that computed
    skips all blocks

How large the residual of a step is, against the step before, hardly depends on the picture: it is measured
once, and then tells how far a residual that is given again will be off. The calibration is a sampling run of
its own on samples that no figure is made of, with exact attention, by diffusers' own hook; its ratios are
kept beside the pictures and its time is told apart. A run of other length takes the nearest ratios. Not to be
confused with first-block-cache, which looks at the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers.hooks import MagCacheConfig, apply_mag_cache
from diffusers.hooks.mag_cache import _MAG_CACHE_LEADER_BLOCK_HOOK, nearest_interp

from ditbench.accelerators.base import Host, register
from ditbench.accelerators.hooked import Begin, Hooked, uncached_blocks
from ditbench.accelerators.ledger import Ledger, Words, hooks_of
from ditbench.attention.base import METHODS, Moment, Trial
from ditbench.registry import setting

# Samples of the calibration, which are one batch.
_SAMPLES = 4


@register
@dataclass(frozen=True)
class MagCache(Hooked):
    """All blocks, while residuals are known to stay alike."""

    name: ClassVar[str] = "mag-cache"
    paper: ClassVar[str] = "Ma et al., 2025, arXiv 2506.09045"
    skips: ClassVar[str] = "all blocks, while calibrated ratios say that their residual stays alike"
    words: ClassVar[Words] = Words(
        "the residual stays alike", "error, steps in a row, or the start"
    )
    calibrated: ClassVar[bool] = True

    threshold: float = setting(0.06, least=0)
    most: int = setting(3, least=0)
    retention: float = setting(0.2, least=0, most=1)

    def refuses(self, host: Host, first: Moment) -> list[str]:
        """Blocks that diffusers does not know; a run that is all start."""
        start = int(self.retention * first.steps + 0.5)
        told = uncached_blocks(host, least=1)
        if not self.most or start >= first.steps:
            told.append(
                f"most {self.most}, retention {self.retention:g}: skips none of {first.steps} steps"
            )
        return told

    def unsupported(self, host: Host, first: Moment) -> list[str]:
        """Without a trial, for ratios are not known before the calibration."""
        return self.refuses(host, first)

    def calibrate(self, trial: Trial) -> Mapping[str, Any]:
        """`ratios`: one a step."""
        # With one step more than there are diffusers does not print the ratios, and keeps them.
        config = MagCacheConfig(calibrate=True, num_inference_steps=trial.steps + 1)
        ledgers: list[Ledger] = []

        def around(forward: Callable[[], torch.Tensor], now: Moment) -> torch.Tensor:
            # Put in when the run has begun, which takes out whatever was installed before.
            if now.step == 0:
                host = Host(trial.network, trial.sites, {}, lambda: now)
                ledgers.append(Ledger(host, {}, self.words))
                apply_mag_cache(trial.network, config)
            return forward()

        try:
            trial.sample(METHODS.get("sdpa")().open, _SAMPLES, around)
            (head,) = hooks_of(trial.network, _MAG_CACHE_LEADER_BLOCK_HOOK)
            return {"ratios": list(head.state_manager.get_state().calibration_ratios)}
        finally:
            for ledger in ledgers:
                ledger.uninstall()

    def apply(self, host: Host) -> Begin | None:
        """With the ratios of as many steps as the run will have. Raises KeyError if not calibrated."""
        ratios = self.found["ratios"]
        config = MagCacheConfig(
            threshold=self.threshold,
            max_skip_steps=self.most,
            retention_ratio=self.retention,
            num_inference_steps=len(ratios),
            mag_ratios=list(ratios),
        )
        apply_mag_cache(host.network, config)

        def begin(first: Moment) -> None:
            config.num_inference_steps = first.steps
            config.mag_ratios = nearest_interp(torch.tensor(ratios), first.steps)

        return begin
