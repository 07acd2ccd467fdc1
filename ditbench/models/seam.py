"""The seam where an attention method goes into a model, and comes out again without a trace.

diffusers' DiT has no setter of its own (`set_attention_backend` on it is a silent no-op), so a processor
is put on each block's attention module. The module keeps its trained projections: a swap changes the core
and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from diffusers import DiTTransformer2DModel
from diffusers.models.attention_processor import Attention

from ditbench.attention.base import AttentionMethod, Layer, Shape, Site
from ditbench.models.dit import DiT, attentions


@dataclass
class Clock:
    """The step of the sampling run, set by the loop and read by layers with memory."""

    step: int = 0


@dataclass
class Processor:
    """What diffusers calls in place of its own attention. calls: eager forwards seen by this site."""

    layer: Layer
    clock: Clock
    calls: int = 0

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Self-attention (batch, tokens, dim) -> the same shape. Raises ValueError on any other use."""
        if encoder_hidden_states is not None or attention_mask is not None or temb is not None:
            raise ValueError("a DiT block was called with cross attention, a mask or an embedding")
        # A counter would be a guard in compiled code, and recompile at every forward.
        if not torch.compiler.is_compiling():
            self.calls += 1
        heads = attn.heads

        def split(x: torch.Tensor) -> torch.Tensor:
            batch, tokens, dim = x.shape
            return x.view(batch, tokens, heads, dim // heads).transpose(1, 2)

        def project(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            return split(attn.to_q(x)), split(attn.to_k(x)), split(attn.to_v(x))

        out = self.layer(hidden_states, project, self.clock.step)
        return attn.to_out[0](out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]  # (batch, tokens, dim)


@dataclass
class Denoiser:
    """A network whose attention can be swapped. Calling it is one forward of all rows."""

    network: DiTTransformer2DModel
    spec: DiT
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self._native = [attn.processor for attn in attentions(self.network)]
        self._forward: Callable[..., tuple[torch.Tensor]] = self.network

    def __call__(
        self, latents: torch.Tensor, timesteps: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """The prediction (rows, out_channels, size, size) for latents (rows, channels, size, size)."""
        return self._forward(latents, timesteps, labels, return_dict=False)[0]

    def sites(self) -> tuple[Site, ...]:
        """Every place where attention happens, from block 0."""
        spec, network = self.spec, self.network
        where = (str(network.device), str(network.dtype).removeprefix("torch."))
        return tuple(
            Site(block, spec.depth, spec.heads, spec.head_dim, spec.grid, *where)
            for block in range(spec.depth)
        )

    def shape(self, rows: int) -> Shape:
        """Sizes of q, k, v in a forward of so many rows."""
        return shape_of(self.spec, rows)

    def install(self, layer_of: Callable[[Site], Layer]) -> None:
        """Open a layer at every site. Opening anew is how a sampling run begins without memory."""
        self.clock.step = 0
        for attn, site in zip(attentions(self.network), self.sites(), strict=True):
            layer, present = layer_of(site), attn.processor
            if layer.stateless and isinstance(present, Processor) and present.layer == layer:
                # The same stateless layer: a new object would make compiled code compile again.
                present.calls = 0
            else:
                attn.set_processor(Processor(layer, self.clock))

    def uninstall(self) -> None:
        """Give every site the processor back that it came with."""
        for attn, native in zip(attentions(self.network), self._native, strict=True):
            attn.set_processor(native)

    def calls(self) -> list[int]:
        """Eager calls seen by each site since its layer was opened."""
        return [attn.processor.calls for attn in attentions(self.network)]

    def compile(self, *, on: bool = True) -> None:
        """Compile the forward whole, or go back to eager.

        A graph break is an error: no part may fall back to eager unseen.
        """
        self._forward = (
            torch.compile(self.network, fullgraph=True, dynamic=False) if on else self.network
        )

    def at_step(self, step: int) -> None:
        """For the sampling loop's `on_step`."""
        self.clock.step = step


def shape_of(spec: DiT, rows: int) -> Shape:
    """Sizes of q, k, v in a forward of so many rows of this architecture."""
    return Shape(rows, spec.heads, spec.tokens, spec.head_dim, spec.grid)


def placed(
    method: AttentionMethod, rest: AttentionMethod, blocks: Sequence[int]
) -> Callable[[Site], Layer]:
    """The layer of each site: `method` in the chosen blocks, `rest` in the others."""
    chosen = frozenset(blocks)
    return lambda site: (method if site.block in chosen else rest).open(site)
