"""The contract of a model, the seeded inputs that its pictures are conditioned on, and the registry.

A new model is one new file: the paper in the first line, the sizes, then a frozen dataclass whose fields are
its settings, `depth` among them: the number of transformer blocks, by which suites select. Everything else
that the harness must know of an architecture it asks here.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch

from ditbench.attention.base import Site
from ditbench.errors import PluginError
from ditbench.models.adapters import Adapter
from ditbench.registry import Registry, asked, lacks, misfit

Conditions = tuple[torch.Tensor, ...]


class Model(ABC):
    """One architecture and the process that it was made to undo.

    name: as suites say it, with settings. paper: one line for people. network: diffusers' class, or another
    that is built from `config`. adapter: what stands in an attention module for diffusers' own processor.
    depth: transformer blocks, numbered from 0. prediction: `epsilon`, `v_prediction`, or `flow` (noise minus
    data). betas: of the first two, the name of diffusers' noise schedule. shift: of a flow, how far its
    steps crowd towards noise, 1 for evenly. pixels: whether latents are pictures, of one or three channels.
    null_class: whether a condition can say nothing in particular, without which there is no guidance. told:
    what a suite may say that its samples show: `classes`, `prompts`, or nothing.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    network: ClassVar[type[Any]]
    adapter: ClassVar[type[Adapter]]
    told: ClassVar[str] = ""

    depth: int
    prediction: str = "epsilon"
    betas: str = "linear"
    shift: float = 1.0
    null_class: bool = True

    @property
    def pixels(self) -> bool:
        """Whether latents are pictures; no decoder is loaded for others."""
        return False

    @property
    def canvas_sizes(self) -> tuple[int, int, int] | None:
        """Channels, height and width of latents as an autoencoder of pictures takes them; of a video None."""
        sizes = self.latent
        return (sizes[0], sizes[1], sizes[2]) if len(sizes) == 3 else None

    def canvas(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents (n, *latent) as that autoencoder takes them, (n, *canvas_sizes)."""
        return latents

    @property
    def learned_variance(self) -> bool:
        """Whether the network predicts a variance too, as Nichol & Dhariwal's (arXiv 2102.09672) does.

        Its output has twice the channels of the latents then: first the prediction, then v in [-1, 1] between
        the least and the greatest variance that a step may have.
        """
        return False

    @property
    @abstractmethod
    def latent(self) -> tuple[int, ...]:
        """Sizes of one picture's latents, as the network takes them."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What `network` is built from, as its configuration file would say it."""

    @abstractmethod
    def sites(self) -> tuple[Site, ...]:
        """Every place where attention happens, in order; `name` is that of the module in the network."""

    @abstractmethod
    def inputs(
        self, latents: torch.Tensor, times: torch.Tensor, conditions: Conditions
    ) -> Mapping[str, Any]:
        """What `network` is called with, by its parameters' names, for latents (rows, ...) at times (rows,).

        Times go from 999 down to 0; those of a flow from 1000: they are a thousand times the share of noise,
        and no whole numbers. The network gets `return_dict=False` too; its first output is the prediction.
        """

    @abstractmethod
    def conditions(self, seed: int, indices: Sequence[int]) -> Conditions:
        """What these samples are to show, one tensor (len(indices), ...) for each input, on the CPU."""

    @abstractmethod
    def null(self, conditions: Conditions) -> Conditions:
        """As many samples that are to show nothing in particular, for guidance."""

    def prompt(self, indices: Sequence[int]) -> float:  # noqa: ARG002 (a class is the same for all)
        """Words of these samples' texts in the mean, for `Moment`; 1 of a class."""
        return 1.0

    def of_classes(self, numbers: Sequence[int]) -> Conditions:
        """Conditions of given classes, for a model that is `told` them."""
        raise NotImplementedError  # whoever says `told` defines it; others are refused in the plan

    def of_texts(self, embeddings: torch.Tensor, mask: torch.Tensor) -> Conditions:
        """Conditions of given texts, (rows, words, width) and (rows, words), for one that is `told` them."""
        raise NotImplementedError  # likewise: only of a model that is `told` texts

    def problems(self) -> list[str]:
        """What makes this architecture impossible, each as a clause; empty means it can be built."""
        return []

    def remarks(self) -> list[str]:
        """What a reader must know of this network before it is compared with another, each as a clause."""
        return []

    def unguided(self, guidance_scale: float) -> list[str]:
        """Why pictures cannot be guided, as a clause; empty where they can, or are not to be."""
        if guidance_scale <= 1 or self.null_class:
            return []
        guided = f"{{name: {self.name}, null_class: true}}"
        way_out = f"write model: {guided}, or guidance_scale: 1 under sampling"
        return [f"{self.name} has no null class to be guided away from: {way_out}"]

    def build(self) -> Any:  # noqa: ANN401 (of the class `network`)
        """The network on the current default device and dtype, in eval mode, weights as initialised."""
        return self.network(**self.config()).eval()

    def open_gates(self, network: Any) -> None:  # noqa: ANN401, B027 (of the class `network`; not all have gates)
        """Give random weights gates of about one, so that attention shows in the output."""

    def close_gates(self, network: Any) -> None:  # noqa: ANN401, B027 (likewise)
        """Set the gates of fresh weights as training begins, where that is not as the network is built."""

    def repeats(self, network: Any, rows: int) -> None:  # noqa: ANN401, B027 (likewise; most do not)
        """Run what the network evaluates beyond what its paper's needs, so that it can be counted."""

    def repeated(self, network: Any) -> int:  # noqa: ANN401, ARG002 (likewise)
        """Parameters that the network holds beyond those of its paper's."""
        return 0

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """Registered names of this architecture with its settings fixed."""
        return {}


@dataclass(frozen=True)
class Preset:
    """A registered name. hub: the repository with trained weights, or empty. embedded: ours ship."""

    model: Model
    summary: str
    hub: str = ""
    embedded: bool = False


def drawn(seed: int, indices: Sequence[int], shape: Sequence[int], stream: int = 0) -> torch.Tensor:
    """Standard normal numbers (len(indices), *shape), float32 on the CPU.

    One generator for each sample, so that what is drawn for it depends on neither batch, shard nor device.
    stream: tells apart what is drawn for one sample. torch's CPU generator takes 32 bits of its seed, so
    seeds are spread over those by an odd constant (2^32 over the golden ratio): a shift would leave even
    seeds alike.
    """
    own = generators(seed, indices, stream)
    return torch.stack([torch.randn(tuple(shape), generator=one) for one in own])


def generators(seed: int, indices: Sequence[int], stream: int) -> list[torch.Generator]:
    """One for each sample, on the CPU, as `drawn` has them."""
    seeds = [(seed * 0x9E3779B1 + stream * 0x85EBCA6B + index) % 2**32 for index in indices]
    return [torch.Generator().manual_seed(one) for one in seeds]


def one_a_block(
    depth: int, heads: int, head_dim: int, grid: tuple[int, int], name: str
) -> tuple[Site, ...]:
    """A self-attention over all of the grid in every block. name: of its module, {} being the block."""
    return tuple(
        Site(block, depth, heads, head_dim, grid, name=name.format(block)) for block in range(depth)
    )


def open_every_third(linear: torch.nn.Linear) -> None:
    """Of what adaLN makes, in chunks as wide as its input, the third of every three is a gate: make it 1."""
    for chunk in torch.split(linear.bias, linear.in_features)[2::3]:
        chunk.fill_(1.0)


def shared_out(hidden: int, heads: int) -> list[str]:
    """Why a width cannot be shared out among heads; empty where it can."""
    return [f"hidden {hidden} is not a multiple of heads {heads}"] if hidden % heads else []


def cut(size: int, patch: int) -> list[str]:
    """Why a latent cannot be cut into patches; empty where it can."""
    return [f"size {size} is not a multiple of patch {patch}"] if size % patch else []


@functools.cache
def sites(model: Model) -> tuple[Site, ...]:
    """The sites of a model, made once."""
    return model.sites()


def attention(model: Model) -> str:
    """The sites of a model in a line, "28 self (256 tokens), 28 cross (256 to 120 tokens, masked)"."""
    kinds = Counter(_kind(site) for site in sites(model))
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())


def _kind(site: Site) -> str:
    about = [
        f"{site.tokens} to {site.keys} tokens" if site.keys else f"{site.tokens} tokens",
        *(["masked"] if site.masked else []),
        *(["rotary"] if site.rotary else []),
        *([] if site.native == "softmax" else [site.native]),
    ]
    return f"{site.kind} ({', '.join(about)})"


def problems(plugin: object) -> list[str]:
    """Why a class cannot be a model, each as a clause; empty where it can."""
    told = lacks(plugin, Model, ("name", "paper", "network", "adapter"))
    if not (inspect.isclass(plugin) and issubclass(plugin, Model)):
        return told
    if not dataclasses.is_dataclass(plugin):
        return told
    if "depth" not in {field.name for field in dataclasses.fields(plugin)}:
        told.append("has no setting `depth`, its number of blocks")
    for name in ("inputs", "conditions", "null"):
        told += misfit(plugin, name, _parameters(Model, name))
    if not told:
        plugin.presets()  # one that raises is no model either
    return told


def _parameters(plugin: type[Model], function: str) -> list[str]:
    return list(inspect.signature(getattr(plugin, function)).parameters)[1:]


MODELS: Registry[type[Model]] = Registry("model", "ditbench.models", "ditbench.models", problems)
register = MODELS.register


@functools.cache
def presets() -> dict[str, Preset]:
    """Every registered name whose architecture is fixed; ours come first."""
    found: dict[str, Preset] = {}
    for plugin in sorted(MODELS.discover().values(), key=_is_of_others):
        try:
            own: Mapping[str, Preset] = asked(plugin.presets, "presets raises ")
        except PluginError as error:
            MODELS.broken[f"presets of {plugin.name}"] = str(error)
            continue
        for name, preset in own.items():
            if found.setdefault(name, preset) is not preset:
                MODELS.broken[f"{name} of {plugin.name}"] = f"the name {name!r} is taken already"
    return found


def _is_of_others(plugin: type[Model]) -> bool:
    return not plugin.__module__.startswith("ditbench.")


def architecture(name: str) -> type[Model]:
    """The class behind a name of a suite's model. Raises UsageError with the nearest name."""
    preset = presets().get(name)
    return type(preset.model) if preset else MODELS.get(name)


def made(name: str, settings: Mapping[str, Any]) -> Model:
    """The model of a suite, its settings all given."""
    return architecture(name)(**cast("dict[str, Any]", settings))
