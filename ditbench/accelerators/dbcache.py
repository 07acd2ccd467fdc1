"""DBCache (vipshop, 2025, cache-dit), by cache-dit's own blocks.

    r = x_first - x;   out = x_first + R where mean |r - r'| < threshold mean |r'|, then the last blocks
    r' and R (of the blocks between) of the last step that computed
    skips the blocks between the first and the last few, in steps in which the first ones have moved little

With one first block and no last it is first-block-cache. The first `warmup` steps compute, and at most `most`
steps in a row reuse (0: no limit). cache-dit counts steps to know where a run ends; here every run installs
anew, and its count is set beyond any run. One answer serves all rows, with guidance too.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ditbench.accelerators.base import Accelerator, Handle, Host, register
from ditbench.accelerators.ledger import Ledger, Words
from ditbench.registry import setting

if TYPE_CHECKING:
    from ditbench.attention.base import Moment

# More steps than any run has.
_NEVER = 10_000


class _Watched(Ledger):
    """A ledger under cache-dit's blocks, which keep their state in a manager of their own."""

    def held(self) -> object:
        """All that cache-dit keeps."""
        return vars(self.network)["_context_manager"]

    def uninstall(self) -> None:
        """As cache-dit does, and then every trace that it leaves."""
        import cache_dit  # noqa: PLC0415 (a package of its own, where it is asked for)

        cache_dit.disable_cache(self.network)
        super().uninstall()


def _quieten() -> None:
    """It tells eight lines at each installation."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("cache_dit", "CACHE_DIT")):
            logging.getLogger(name).setLevel(logging.ERROR)


@register
@dataclass(frozen=True)
class DBCache(Accelerator):
    """Blocks between the first and the last few."""

    name: ClassVar[str] = "dbcache"
    paper: ClassVar[str] = "none: vipshop, 2025, cache-dit"
    skips: ClassVar[str] = (
        "blocks between the first and the last few, where the first ones moved little"
    )
    needs: ClassVar[str] = "cache-dit (pip install 'ditbench[cache-dit]')"
    words: ClassVar[Words] = Words("the first blocks moved little", "first, last, or they moved")

    first: int = setting(1, least=1)
    last: int = setting(0, least=0)
    threshold: float = setting(0.08, least=0)
    warmup: int = setting(2, least=0)
    most: int = setting(0, least=0)

    @classmethod
    def unavailable(cls) -> list[str]:
        """The package."""
        found = importlib.util.find_spec("cache_dit")
        return [] if found else ["needs cache-dit: pip install 'ditbench[cache-dit]'"]

    def unsupported(self, host: Host, first: Moment) -> list[str]:
        """A model that cache-dit does not know, or settings that leave nothing to skip."""
        from cache_dit import BlockAdapterRegister  # noqa: PLC0415 (likewise)

        computed, steps = self.first + self.last, first.steps
        reasons = {
            f"cache-dit does not know a {type(host.network).__name__}": not BlockAdapterRegister.is_supported(
                host.network
            ),
            f"computes {computed} of {len(host.blocks)} blocks at each step, and skips none": computed
            >= len(host.blocks),
            f"warms up for {self.warmup} of {steps} steps, and skips none": self.warmup >= steps,
        }
        return [reason for reason, holds in reasons.items() if holds]

    def install(self, host: Host) -> Handle:
        """cache-dit's wrappers of the list of blocks."""
        import cache_dit  # noqa: PLC0415 (likewise)

        _quieten()
        ledger = _Watched(host, host.blocks, self.words)
        config = cache_dit.DBCacheConfig(
            Fn_compute_blocks=self.first,
            Bn_compute_blocks=self.last,
            residual_diff_threshold=self.threshold,
            max_warmup_steps=self.warmup,
            max_continuous_cached_steps=self.most or -1,
            num_inference_steps=_NEVER,
        )
        cache_dit.enable_cache(host.network, cache_config=config)
        return ledger
