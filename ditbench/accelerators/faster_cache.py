"""FasterCache (Lv et al., 2024, arXiv 2410.19355), by diffusers' hook.

    uncond_t = ifft(fft(cond_t) + a_low D_low + a_high D_high) unless t = 0 (mod uncond) or time is early
    D = fft(uncond) - fft(cond) of the last step that computed both, apart in low and high frequencies
    attention: out_t = out_t' + (out_t' - out_t'') weight, in every second of the steps without uncond
    skips the half of a forward that has no condition, and attention of the other half there

With guidance a forward holds two halves; that without a condition is made of the other one and of how they
differed before. It needs guidance, and skips nothing without. diffusers expects that half first and splits
what it finds under the names of a text model: the halves are turned for it and back, and the names of what
DiT is given (class_labels) are told to it through a private setting. Attention is approximated only where the
rows are fewer than in the first step, so never in steps that compute both halves.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers.hooks import FasterCacheConfig, apply_faster_cache
from diffusers.hooks.hooks import HookRegistry, ModelHook
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import logging
from torch import nn

from ditbench.accelerators.base import Host, register
from ditbench.accelerators.hooked import Begin, Hooked
from ditbench.accelerators.ledger import Words
from ditbench.attention.base import Moment
from ditbench.registry import setting

# What networks are given that has a row for each sample.
_BY_ROW = (
    "hidden_states",
    "timestep",
    "class_labels",
    "encoder_hidden_states",
    "encoder_attention_mask",
    "pooled_projections",
)


class _Turned(ModelHook):  # type: ignore[misc]  # diffusers is not typed
    """The outermost hook: the half without a condition first, as diffusers expects it, and back."""

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, ARG002 (a module's own)
        """Turn what has rows."""
        return args, {k: _turned(v) if k in _BY_ROW else v for k, v in kwargs.items()}

    def post_forward(self, module: nn.Module, output: Any) -> Any:  # noqa: ANN401, ARG002 (a module's own)
        """Turn the prediction, which comes first."""
        return (_turned(output[0]), *output[1:])


def _turned(rows: torch.Tensor) -> torch.Tensor:
    first, second = rows.chunk(2)
    return torch.cat([second, first])


@register
@dataclass(frozen=True)
class FasterCache(Hooked):
    """The half without a condition, made of the other."""

    name: ClassVar[str] = "faster-cache"
    paper: ClassVar[str] = "Lv et al., 2024, arXiv 2410.19355"
    skips: ClassVar[str] = (
        "the half of a guided forward without a condition, and some attention of the other"
    )
    words: ClassVar[Words] = Words("approximated", partly="without the unconditional half")

    outside: ClassVar[bool] = True

    uncond: int = setting(5, least=1)
    uncond_below: int = setting(641, least=0)
    every: int = setting(2, least=1)
    below: int = setting(681, least=0)
    weight: float = setting(0.5, least=0)

    def watched(self, host: Host) -> Mapping[str, nn.Module]:
        """The parts of blocks, for attention may be skipped where the others run on half of the rows."""
        return {
            f"{name}.{part}": module
            for name, block in host.blocks.items()
            for part, module in block.named_children()
            if next(module.parameters(), None) is not None
        }

    def refuses(self, host: Host, first: Moment) -> list[str]:
        """No second half, or none that is ever left out; tokens of another kind."""
        foreign = not isinstance(host.network, ModelMixin) or "hidden_states" not in (
            inspect.signature(host.network.forward).parameters
        )
        frames = [site.name for site in host.sites if not site.plane] or [""]
        reasons = {
            "needs guidance above 1: it skips the half of a forward that has no condition": not first.guided,
            f"uncond {self.uncond}: computes both halves at each step, and skips nothing": self.uncond
            < 2,
            f"knows the inputs of diffusers' transformers, and not those of a "
            f"{type(host.network).__name__}": foreign,
            f"takes the tokens of one picture, and {frames[0]} has others": bool(frames[0]),
        }
        return [reason for reason, holds in reasons.items() if holds]

    def apply(self, host: Host) -> Begin | None:
        """With the loop's own timesteps, and the halves in its order."""
        logging.get_logger("diffusers.hooks.faster_cache").setLevel(logging.ERROR)
        config = FasterCacheConfig(
            spatial_attention_block_skip_range=self.every,
            spatial_attention_timestep_skip_range=(-1, self.below),
            unconditional_batch_skip_range=self.uncond,
            unconditional_batch_timestep_skip_range=(-1, self.uncond_below),
            attention_weight_callback=lambda _: self.weight,
            tensor_format="BCHW",
            current_timestep_callback=lambda: host.now().time,
            _unconditional_conditional_input_kwargs_identifiers=list(_BY_ROW),
        )
        apply_faster_cache(host.network, config)
        registry = HookRegistry.check_if_exists_or_initialize(host.network)
        registry.register_hook(_Turned(), "ditbench_turned")
        return None
