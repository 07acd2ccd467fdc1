"""First block cache (Cheng, 2024, ParaAttention; after TeaCache, arXiv 2411.19108), by diffusers' hook.

    r = block_0(x) - x;   out = block_0(x) + R where mean |r - r'| <= threshold mean |r'|
    r' of the last step that computed, R = (output of the last block) - block_0(x) there
    skips every block but the first, in the steps whose first residual has moved little since

The first block always runs and says whether the others need to. One answer for all rows of a forward: samples
are not independent of each other, and with guidance both halves share it. Not to be confused with MagCache,
which does not look at the state but at how large residuals were when it was calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from diffusers.hooks import FirstBlockCacheConfig, apply_first_block_cache

from ditbench.accelerators.base import Host, register
from ditbench.accelerators.hooked import Begin, Hooked, uncached_blocks
from ditbench.accelerators.ledger import Words
from ditbench.attention.base import Moment
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class FirstBlockCache(Hooked):
    """All blocks but the first, where it has moved little."""

    name: ClassVar[str] = "first-block-cache"
    paper: ClassVar[str] = "Cheng, 2024, ParaAttention; after TeaCache, arXiv 2411.19108"
    skips: ClassVar[str] = (
        "all blocks but the first, where the first one's residual has moved little"
    )
    words: ClassVar[Words] = Words("the first block moved little", "the first block, or it moved")

    threshold: float = setting(0.05, least=0)

    def refuses(self, host: Host, first: Moment) -> list[str]:  # noqa: ARG002 (any run)
        """Blocks that diffusers does not know."""
        return uncached_blocks(host, least=2)

    def apply(self, host: Host) -> Begin | None:
        """The first block, the last, and those between share one state."""
        apply_first_block_cache(host.network, FirstBlockCacheConfig(threshold=self.threshold))
        return None
