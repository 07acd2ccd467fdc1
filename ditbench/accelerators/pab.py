"""Pyramid Attention Broadcast (Zhao et al., 2024, arXiv 2408.12588), by diffusers' hook.

    out_t = out_t' unless t = 0 (mod every), where below < time_t < above; t' the last step that computed
    skips an attention module whole, its four projections too, in (every - 1) of every steps in that range

The attention of neighbouring steps is alike in the middle of a run, so its output is given again. Which steps
are spared follows from their number and timestep alone. `every` is of self attention, `cross` of attention
to a text (0: computed always). The range is strict, as in diffusers: a timestep at its end computes. Not to
be confused with a method with memory: those know the block, and what stands for the core; this knows neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from diffusers.hooks import PyramidAttentionBroadcastConfig, apply_pyramid_attention_broadcast
from torch import nn

from ditbench.accelerators.base import Host, register
from ditbench.accelerators.hooked import Begin, Hooked
from ditbench.accelerators.ledger import Words
from ditbench.attention.base import Moment
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class PyramidAttentionBroadcast(Hooked):
    """Attention outputs given again."""

    name: ClassVar[str] = "pab"
    paper: ClassVar[str] = "Zhao et al., 2024, arXiv 2408.12588"
    skips: ClassVar[str] = "attention modules, by the number of the step, in a range of timesteps"
    words: ClassVar[Words] = Words("broadcast")

    every: int = setting(2, least=1)
    cross: int = setting(0, least=0)
    below: int = setting(800, least=0)
    above: int = setting(100, least=0)

    def watched(self, host: Host) -> Mapping[str, nn.Module]:
        """Attention modules."""
        return host.attentions

    def refuses(self, host: Host, first: Moment) -> list[str]:  # noqa: ARG002 (the same for any network)
        """Settings by which no step is spared."""
        told = (
            []
            if range(self.above + 1, self.below)
            else [f"no timestep lies between {self.above} and {self.below}"]
        )
        if max(self.every, self.cross) < 2:
            told.append(f"every {self.every}: computes at each step, and skips nothing")
        return told

    def apply(self, host: Host) -> Begin | None:
        """With the loop's own timesteps."""
        between = (self.above, self.below)
        apply_pyramid_attention_broadcast(
            host.network,
            PyramidAttentionBroadcastConfig(
                spatial_attention_block_skip_range=self.every,
                cross_attention_block_skip_range=self.cross or None,
                spatial_attention_timestep_skip_range=between,
                cross_attention_timestep_skip_range=between,
                current_timestep_callback=lambda: host.now().time,
            ),
        )
        return None
