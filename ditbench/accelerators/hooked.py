"""What accelerators made of diffusers' own hooks share: put in, watched, refused where they do nothing.

The hooks are diffusers', unchanged. What is added is what they leave to whoever calls them: the names that
match a network, the context of a sampling run, its steps and timesteps, and a reset by opening anew.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from ditbench.accelerators.base import Accelerator, Handle, Host
from ditbench.accelerators.ledger import Ledger, Words

if TYPE_CHECKING:
    from ditbench.attention.base import Moment

Begin = Callable[["Moment"], None]


@dataclass(frozen=True)
class Hooked(Accelerator):
    """An accelerator that is a hook of diffusers'.

    words: of what its decisions say. outside: whether what it skips lies inside of what it hooks.
    """

    words: ClassVar[Words]
    outside: ClassVar[bool] = False

    def watched(self, host: Host) -> Mapping[str, nn.Module]:
        """What it may hook: the blocks, unless it says otherwise."""
        return host.blocks

    @abstractmethod
    def apply(self, host: Host) -> Begin | None:
        """Put diffusers' hooks in. What is given back, if anything, is told the first moment of a run."""

    def refuses(self, host: Host, first: Moment) -> list[str]:  # noqa: ARG002 (many have no more to say)
        """Every reason of its own against this network."""
        return []

    def install(self, host: Host) -> Handle:
        """The hooks, with a ledger under them."""
        ledger = Ledger(host, self.watched(host), self.words)
        ledger.close(self.apply(host), of_hooked=not self.outside)
        return ledger

    def unsupported(self, host: Host, first: Moment) -> list[str]:
        """Its own reasons, or that the hooks find nothing: tried on a network without data."""
        if told := self.refuses(host, first):
            return told
        handle = self.install(host)
        matched = handle.decisions()
        handle.uninstall()
        known = ", ".join(list(self.watched(host))[:2])
        return [] if matched else [f"{self.name} hooks none of {known}, ... and would skip nothing"]


def uncached_blocks(host: Host, least: int) -> list[str]:
    """Why diffusers' caches of residuals cannot go around these blocks; empty where they can.

    They look for lists of blocks under a few names among the network's own children, and know what the blocks
    of some classes take and give. least: blocks that it takes.
    """
    from diffusers.hooks._common import _ALL_TRANSFORMER_BLOCK_IDENTIFIERS as NAMES  # noqa: PLC0415 (as below)
    from diffusers.hooks._helpers import TransformerBlockRegistry  # noqa: PLC0415 (imports every model)

    found = {
        f"{name}.{number}"
        for name, child in host.network.named_children()
        if name in NAMES and isinstance(child, nn.ModuleList)
        for number in range(len(child))
    }
    if missed := [name for name in host.blocks if name not in found]:
        return [
            f"diffusers looks for blocks in lists such as transformer_blocks, where {missed[0]} is not"
        ]
    for block in host.blocks.values():
        try:
            TransformerBlockRegistry.get(type(block))
        except ValueError:
            return [f"diffusers does not know what a {type(block).__name__} takes and gives"]
    few = len(host.blocks) < least
    return [f"takes {least} blocks, and there are {len(host.blocks)}"] if few else []
