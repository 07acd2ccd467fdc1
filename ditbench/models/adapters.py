"""What a network calls in place of its own attention: one adapter for each family of attention modules.

Both take q, k and v from the module's own projections, norms and rotary embedding, hand them to a layer as
(batch, heads, tokens, head_dim), and give what comes back to the module's own output projections: a swap
changes the core and nothing else. diffusers' switch of backends, the whole process's, is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch

from ditbench.attention.base import Layer, Moment

if TYPE_CHECKING:
    from ditbench.attention.base import Output

Rotary = tuple[torch.Tensor, torch.Tensor]


@dataclass
class Clock:
    """Where the sampling run stands, set by the loop and read by layers with memory."""

    now: Moment = field(default_factory=Moment)


@dataclass
class Adapter:
    """A layer at one site. calls: eager forwards seen by it.

    across: whether the module norms, and turns, all heads at once. text_first: where text joins the picture's
    tokens, whether before them.
    """

    across: ClassVar[bool] = False
    text_first: ClassVar[bool] = False

    layer: Layer
    clock: Clock
    calls: int = 0

    def turn(self, x: torch.Tensor, rotary: Rotary) -> torch.Tensor:
        """The rotary embedding as the model applies it, on (batch, tokens, heads, head_dim).

        On (batch, tokens, dim) where all heads are turned at once.
        """
        raise NotImplementedError  # only asked of models with a rotary embedding, which have their own

    def attend(
        self,
        attn: Any,  # noqa: ANN401 (a module of either family)
        x: torch.Tensor,
        text: torch.Tensor | None,
        rotary: Rotary | None = None,
    ) -> Output:
        """The module's output for x (batch, tokens, dim), and for the text where it joins."""
        if text is not None and getattr(attn, "add_k_proj", None) is None:
            raise ValueError(
                "cross attention was given an adapter, which needs q, k and v of one shape"
            )
        # A counter would be a guard in compiled code, and recompile at every forward.
        if not torch.compiler.is_compiling():
            self.calls += 1

        def project(x: torch.Tensor, parts: str = "qkv") -> tuple[torch.Tensor, ...]:
            return tuple(self._part(attn, part, x, text, rotary) for part in parts)

        def finish(out: torch.Tensor) -> Output:
            flat = out.transpose(1, 2).flatten(2)
            if text is None:
                return _through(getattr(attn, "to_out", None), flat)
            return self._finished(attn, flat, text.shape[1])

        return self.layer(x, project, finish, self.clock.now)

    def _part(
        self,
        attn: Any,  # noqa: ANN401 (a module of either family)
        part: str,
        x: torch.Tensor,
        text: torch.Tensor | None,
        rotary: Rotary | None,
    ) -> torch.Tensor:
        """One of q, k and v as layers get it: (batch, heads, tokens, head_dim)."""
        projected = self._projected(attn, part, x, text)
        if rotary is not None and part != "v":
            projected = self.turn(projected, rotary)
        return self._apart(attn, projected)

    def _finished(self, attn: Any, out: torch.Tensor, words: int) -> Output:  # noqa: ANN401 (a module of either family)
        """Of picture and text, each through its own output projection. words: tokens of the text."""
        others = out.shape[1] - words
        sizes = (words, others) if self.text_first else (others, words)
        first, second = out.split_with_sizes(sizes, dim=1)
        picture, text = (second, first) if self.text_first else (first, second)
        added = attn.to_add_out
        return _through(attn.to_out, picture), text if added is None else added(text)

    def _projected(
        self,
        attn: Any,  # noqa: ANN401 (a module of either family)
        part: str,
        x: torch.Tensor,
        text: torch.Tensor | None,
    ) -> torch.Tensor:
        """One of q, k and v, normed, the text's beside the picture's where there is any."""
        own = self._normed(
            attn, getattr(attn, f"norm_{part}", None), getattr(attn, f"to_{part}")(x)
        )
        if text is None:
            return own
        added = getattr(attn, f"add_{part}_proj")(text)
        words = self._normed(attn, getattr(attn, f"norm_added_{part}", None), added)
        return torch.cat([words, own] if self.text_first else [own, words], dim=1)

    def _normed(
        self,
        attn: Any,  # noqa: ANN401 (a module of either family)
        norm: torch.nn.Module | None,
        x: torch.Tensor,
    ) -> torch.Tensor:
        x = x if self.across else torch.unflatten(x, -1, (attn.heads, -1))
        return x if norm is None else norm(x)

    def _apart(self, attn: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 (a module of either family)
        """(batch, heads, tokens, head_dim)."""
        return (torch.unflatten(x, -1, (attn.heads, -1)) if self.across else x).transpose(1, 2)


class Older(Adapter):
    """The family of diffusers' `Attention`, whose processors call torch: DiT, PixArt, SD3, Sana."""

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 (diffusers' Attention)
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> Output:
        """Self or joint attention. Raises ValueError where a mask or an embedding would be dropped."""
        if attention_mask is not None or temb is not None:
            raise ValueError(
                "attention was called with a mask or an embedding, which would be lost"
            )
        return self.attend(attn, hidden_states, encoder_hidden_states)


class Spatial(Adapter):
    """diffusers' `Attention` among convolutions, as in its UNets: over the places of a feature map.

    The module norms its input over channels, adds it to what comes out and scales the sum; all that stays.
    """

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 (diffusers' Attention)
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(batch, channels, rows, columns) from the same; rows x columns are the tokens.

        Raises ValueError where a text, a mask or an embedding would be dropped. `temb` is given to every
        module of a middle block, and used by those with a norm that depends on it.
        """
        lost = attention_mask is not None or encoder_hidden_states is not None
        if lost or (temb is not None and attn.spatial_norm is not None):
            raise ValueError(
                "attention was called with a text, a mask or an embedding, which would be lost"
            )
        tokens = hidden_states.flatten(2).mT  # (batch, tokens, channels)
        if attn.group_norm is not None:
            tokens = attn.group_norm(tokens.mT).mT
        attended = cast("torch.Tensor", self.attend(attn, tokens, None))
        out = attended.mT.reshape(hidden_states.shape)
        if attn.residual_connection:
            out = out + hidden_states
        return cast("torch.Tensor", out / attn.rescale_output_factor)


class Grouped(Adapter):
    """Modules with fewer heads of keys and values than of queries: a network that was made and trained so.

    Each key and value is copied to all heads of its group, inside what is timed, because methods take q, k
    and v of one shape. Not to be confused with the method `gqa`, which pools the keys and values of a network
    that has one for every head.
    """

    def __call__(self, attn: Any, hidden_states: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 (with kv_heads)
        """Self attention over (batch, tokens, dim)."""
        return cast("torch.Tensor", self.attend(attn, hidden_states, None))

    def _projected(
        self,
        attn: Any,  # noqa: ANN401 (with kv_heads)
        part: str,
        x: torch.Tensor,
        text: torch.Tensor | None,  # noqa: ARG002 (there is none)
    ) -> torch.Tensor:
        return spread(attn, part, x)


def spread(attn: Any, part: str, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 (with kv_heads)
    """One of q, k and v of x (batch, tokens, dim) for all heads: (batch, tokens, heads, head_dim).

    Head h reads keys and values floor(h kv_heads / heads).
    """
    own = torch.unflatten(getattr(attn, f"to_{part}")(x), -1, (-1, attn.head_dim))
    group = attn.heads // own.shape[2]
    return own if group == 1 else own.repeat_interleave(group, dim=2)


class Newer(Adapter):
    """The family of `AttentionModuleMixin`, whose processors call diffusers' dispatch: Flux, LTX."""

    text_first: ClassVar[bool] = True

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 (one of diffusers' classes a model)
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> Output:
        """Self or joint attention. Raises ValueError where a mask would be dropped."""
        if attention_mask is not None:
            raise ValueError("attention was called with a mask, which would be lost")
        return self.attend(attn, hidden_states, encoder_hidden_states, image_rotary_emb)


def _through(out: torch.nn.ModuleList | None, x: torch.Tensor) -> torch.Tensor:
    """The output projection; some modules leave it to their block. The dropout after it is off."""
    return x if out is None else cast("torch.Tensor", out[0](x))
