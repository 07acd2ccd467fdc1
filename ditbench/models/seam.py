"""The seam where an attention method goes into a model, and comes out again without a trace.

diffusers has no one setter that reaches all its models (`set_attention_backend` on DiT is a silent no-op), so
an adapter is put on each attention module by its name. Where no method can stand, the model's own stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ditbench.accelerators.base import Accelerator, Handle, Host
from ditbench.accelerators.none import Idle, Nothing
from ditbench.attention.base import AttentionMethod, Layer, Moment, Site
from ditbench.models.adapters import Adapter, Clock
from ditbench.models.base import Model, sites

Placement = Callable[[Site], Layer | None]


@dataclass
class Denoiser:
    """A network whose attention can be swapped. Calling it is one forward of all rows.

    accelerated: the handle of what is installed around the attention, of one that does nothing where none is.
    """

    network: Any
    spec: Model
    clock: Clock = field(default_factory=Clock)
    accelerated: Handle = field(default_factory=Idle)

    def __post_init__(self) -> None:
        self._native = [attn.processor for attn in self._modules()]
        self._forward: Callable[..., Any] = self.network

    def __call__(
        self, latents: torch.Tensor, times: torch.Tensor, *conditions: torch.Tensor
    ) -> torch.Tensor:
        """The prediction for latents (rows, ...) at times (rows,) under conditions (rows, ...)."""
        inputs = self.spec.inputs(latents, times, conditions)
        prediction: torch.Tensor = self._forward(**inputs, return_dict=False)[0]
        return prediction

    def sites(self) -> tuple[Site, ...]:
        """Every place where attention happens, from block 0, as this network has it on its device."""
        first = next(self.network.parameters())
        device, dtype = str(first.device), str(first.dtype).removeprefix("torch.")
        return tuple(replace(site, device=device, dtype=dtype) for site in sites(self.spec))

    def _modules(self) -> list[Any]:
        return [self.network.get_submodule(site.name) for site in sites(self.spec)]

    def blocks(self) -> dict[int, Any]:
        """Each block's module by its number: what its attention is a part of, or else that by itself.

        A list of attentions is nobody's block: nothing calls it.
        """
        names = {site.block: site.name for site in sites(self.spec)}
        return {n: self.network.get_submodule(self._around(name)) for n, name in names.items()}

    def _around(self, name: str) -> str:
        """The name of the block of an attention module."""
        around = name.rpartition(".")[0]
        listed = isinstance(self.network.get_submodule(around), torch.nn.ModuleList)
        return name if listed else around

    def install(self, layer_of: Placement) -> None:
        """Open a layer at every site that has one; the others get their own attention back.

        Around them goes the accelerator of the placement, if it has one. Opening anew is how a sampling run
        begins without memory.
        """
        self.accelerated.uninstall()
        self.clock.now = Moment()
        for attn, site, native in zip(self._modules(), self.sites(), self._native, strict=True):
            layer, present = layer_of(site), attn.processor
            if layer is None:
                attn.set_processor(native)
            elif layer.stateless and isinstance(present, Adapter) and present.layer == layer:
                # The same stateless layer: a new object would make compiled code compile again.
                present.calls = 0
            else:
                attn.set_processor(self.spec.adapter(layer, self.clock))
        around = layer_of.accelerator if isinstance(layer_of, Placed) else Nothing()
        self.accelerated = around.install(self.host())

    def uninstall(self) -> None:
        """Give every site the processor back that it came with, and the network every forward."""
        self.accelerated.uninstall()
        self.accelerated = Idle()
        for attn, native in zip(self._modules(), self._native, strict=True):
            attn.set_processor(native)

    def calls(self) -> dict[str, int]:
        """Eager calls seen by each site, by its name, since a layer was opened there."""
        return {
            site.name: attn.processor.calls
            for site, attn in zip(sites(self.spec), self._modules(), strict=True)
            if isinstance(attn.processor, Adapter)
        }

    def layers(self) -> dict[str, Layer]:
        """The layers that are open, by the names of their sites."""
        return {
            site.name: attn.processor.layer
            for site, attn in zip(sites(self.spec), self._modules(), strict=True)
            if isinstance(attn.processor, Adapter)
        }

    def compile(self, *, on: bool = True) -> None:
        """Compile the forward whole, or go back to eager.

        A graph break is an error: no part may fall back to eager unseen.
        """
        self._forward = (
            torch.compile(self.network, fullgraph=True, dynamic=False) if on else self.network
        )

    def at(self, now: Moment) -> None:
        """For the sampling loop's `on_step`."""
        self.clock.now = now
        self.accelerated.at(now)

    def host(self) -> Host:
        """The network as an accelerator is given it."""
        blocks = {site.block: site.name for site in sites(self.spec)}.values()
        around = {self._around(name): None for name in blocks}
        modules = {name: self.network.get_submodule(name) for name in around}
        return Host(self.network, self.sites(), modules, lambda: self.clock.now)


@dataclass(frozen=True)
class Places:
    """Where a method goes: names of sites. left: those in its blocks that it cannot serve, with reasons."""

    taken: frozenset[str]
    left: tuple[tuple[Site, tuple[str, ...]], ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why sites are left, each reason once."""
        return tuple(dict.fromkeys(why for _, reasons in self.left for why in reasons))


def places(
    model: Model, blocks: Collection[int], refuses: Callable[[Site], list[str]] = lambda _: []
) -> Places:
    """The sites in these blocks where a method can stand. refuses: every reason of its own against a site."""
    chosen = frozenset(blocks)
    told = [
        (site, (site.refusal,) if site.refusal else tuple(refuses(site)))
        for site in sites(model)
        if site.block in chosen
    ]
    return Places(
        frozenset(site.name for site, why in told if not why),
        tuple((site, why) for site, why in told if why),
    )


def notes(model: Model, found: Places) -> tuple[str, ...]:
    """What is not as on a model of self-attention by softmax alone, or as it should be, a clause each."""
    number = len(found.taken) + len(found.left)
    own = Counter("; ".join(reasons) for _, reasons in found.left)
    kept = [
        f"{count} of {number} sites in these blocks keep the model's own attention: {why}"
        for why, count in own.items()
    ]
    taken = (site.native for site in sites(model) if site.name in found.taken)
    replaced = [
        f"{count} of {number} sites in these blocks were made for {native}, which the method replaces"
        for native, count in Counter(taken).items()
        if native != "softmax"
    ]
    return (*model.remarks(), *kept, *replaced)


@dataclass(frozen=True)
class Placed:
    """The layer of each site: `method` where it goes, else `rest`, where the model's own is softmax too.

    accelerator: what goes around them. dressed: what becomes of every layer before it is put in.
    """

    method: AttentionMethod
    rest: AttentionMethod
    taken: Collection[str]
    accelerator: Accelerator = field(default_factory=Nothing)
    dressed: Callable[[Layer], Layer] = field(default=lambda layer: layer)

    def __call__(self, site: Site) -> Layer | None:
        """Opened anew; None where the model keeps its own."""
        if site.name in self.taken:
            return self.dressed(self.method.open(site))
        own = site.refusal or site.native != "softmax"
        return None if own else self.dressed(self.rest.open(site))
