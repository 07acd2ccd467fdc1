"""PTQ4DiT (Wu et al., 2024, arXiv 2405.16005): the linear layers of blocks in integers, simulated.

    y = x^ W^^T + bias,  x^ the input over b, W^ the weight times b, both rounded as integers would be
    b balances channels (CSB) by saliences that are weighted over the steps of a calibration (SSC)
    skips nothing: every block of every step is computed, and more slowly than in floating point

w8a8 rounds weights and inputs to eight bits, w4a8 weights to four. q, k, v, the output projection and both
layers of the feed-forward part are rounded; the second of those is not balanced, as in the paper. A weight
has a scale of each output channel, an input one for all, both between the extremes that were seen, and
inputs are divided by b at run time. The paper has more: it rounds scores and attention weights too, which
here stay in floating point, searches for narrower scales, and learns which way to round (AdaRound, block by
block). Its pictures are therefore others. This tells quality and nothing of speed. Not to be confused with
`int8-qk`, which rounds what attention multiplies and leaves linear layers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from ditbench.accelerators.base import Accelerator, Handle, Host, register
from ditbench.accelerators.none import Idle
from ditbench.attention.base import METHODS, Trial
from ditbench.registry import setting
from ditbench.reuse import fake_quant
from ditbench.reuse.fake_quant import Group, Widths

if TYPE_CHECKING:
    from ditbench.attention.base import Moment

# In a block, as diffusers and our own networks name them: attention, and the feed-forward part's two layers.
_LAYOUTS = (("attn1", "ff.net.0.proj", "ff.net.2"), ("attn", "ff.0", "ff.2"))
_WIDTHS = {"w8a8": Widths(8, 8), "w4a8": Widths(4, 8)}


def groups_of(network: nn.Module) -> tuple[Group, ...]:
    """The linear layers of every block of a known layout, those of one input together."""
    modules = dict(network.named_modules())
    laid = (_laid(block, *layout) for block in modules for layout in _LAYOUTS)
    return tuple(
        group
        for groups in laid
        if all(isinstance(modules.get(name), nn.Linear) for one in groups for name in one.names)
        for group in groups
    )


def _laid(block: str, attention: str, wide: str, narrow: str) -> tuple[Group, ...]:
    return (
        Group(tuple(f"{block}.{attention}.to_{part}" for part in "qkv")),
        Group((f"{block}.{attention}.to_out.0",)),
        Group((f"{block}.{wide}",)),
        Group((f"{block}.{narrow}",), balanced=False),
    )


@dataclass(frozen=True)
class Rounded(Idle):
    """Rounding layers in a network: alike at every step, nothing skipped, nothing kept for later ones."""

    layers: ExitStack

    def uninstall(self) -> None:
        """The very layers that were there are put back."""
        self.layers.close()


@register
@dataclass(frozen=True)
class Ptq4Dit(Accelerator):
    """Linear layers rounded as integers would be: what quality is left, not what time is saved."""

    name: ClassVar[str] = "ptq4dit"
    paper: ClassVar[str] = "Wu et al., 2024, arXiv 2405.16005"
    skips: ClassVar[str] = "nothing: rounds the linear layers of blocks, in floating point"
    simulated: ClassVar[str] = (
        "integers are simulated in floating point, which is slower than not to: its pictures tell the "
        "quality of a quantised network, its times tell nothing"
    )
    composes: ClassVar[bool] = True
    calibrated: ClassVar[bool] = True

    bits: str = setting("w8a8", choices=tuple(_WIDTHS))
    balance: bool = setting(True)
    samples: int = setting(8, least=1)

    def unsupported(self, host: Host, first: Moment) -> list[str]:  # noqa: ARG002 (any run)
        """Blocks that it does not know, or that it knows in part."""
        others = [site for site in host.sites if site.kind != "self"]
        told = [
            f"rounds self attention, and {one.name} is {one.kind} attention" for one in others[:1]
        ]
        if not groups_of(host.network):
            told.append(
                "finds no blocks with attn1.to_q and ff.net.2 or alike, and would round nothing"
            )
        return told

    def calibrate(self, trial: Trial) -> Mapping[str, Any]:
        """For every group b and bounds, from whole sampling runs of the network in floating point."""
        groups = groups_of(trial.network)
        with fake_quant.watched(trial.network, groups) as seen:
            trial.sample(METHODS.get("sdpa")().open, self.samples)
        return fake_quant.found(trial.network, groups, seen, balance=self.balance)

    def install(self, host: Host) -> Handle:
        """Round the weights, and put layers that round their inputs in the place of the network's."""
        groups = groups_of(host.network)
        layers = fake_quant.install(host.network, groups, self.found, _WIDTHS[self.bits])
        return Rounded(layers)
