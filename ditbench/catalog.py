"""What a suite may name: plug-ins and their settings, as plain data.

The plug-ins themselves import torch, so a process apart opens them and hands this to the parent, which
checks suites, plans and reports without torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ditbench.records import Scalar


@dataclass(frozen=True)
class Setting:
    """One value that YAML may give to a plug-in. kind: int, float, bool or str.

    file: the name of one. reader: of its bytes, as `module:function`; see `registry.setting`.
    method: the name of an attention method.
    """

    name: str
    kind: str
    default: Scalar
    least: float | None = None
    choices: tuple[str, ...] = ()
    file: bool = False
    reader: str = ""
    method: bool = False
    most: float | None = None

    @property
    def takes(self) -> str:
        """Its values in words: "a whole number, at least 2 and at most 8"."""
        if self.choices:
            *most, last = self.choices
            return f"{', '.join(most)} or {last}" if most else last
        if self.file:
            return "a file"
        if self.method:
            return "an attention method"
        return f"{_KINDS[self.kind]}{self.bounds}"

    @property
    def bounds(self) -> str:
        """Of a number, with a comma before them: ", at least 2 and at most 8"; empty where there are none."""
        ends = {"at least": self.least, "at most": self.most}
        told = " and ".join(f"{word} {end:g}" for word, end in ends.items() if end is not None)
        return told and f", {told}"


_KINDS = {"int": "a whole number", "float": "a number", "bool": "on or off", "str": "text"}


@dataclass(frozen=True)
class Method:
    """An attention method as its page describes it.

    exact: whatever its settings; exact_by_default: with none given. needs: package and hardware anywhere;
    unavailable: what is missing on this machine. operators: those that torch's counter does not know and the
    method has a formula for. place: the class as `module:Class`. page: all that its file says in words.
    broken: why another package's cannot be used; its name is all that is known of it then.
    """

    name: str
    settings: tuple[Setting, ...] = ()
    exact: bool = False
    summary: str = ""
    paper: str = ""
    formula: str = ""
    cost: str = ""
    needs: str = ""
    unavailable: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    exact_by_default: bool = False
    place: str = ""
    page: str = ""
    broken: str = ""

    @property
    def exactness(self) -> str:
        """In a word."""
        return "yes" if self.exact else "by default" if self.exact_by_default else "no"


@dataclass(frozen=True)
class Accelerator:
    """An accelerator as its page describes it.

    skips: what of a network it leaves out, and by what rule. The others as of a method.
    """

    name: str
    settings: tuple[Setting, ...] = ()
    summary: str = ""
    paper: str = ""
    skips: str = ""
    needs: str = ""
    unavailable: tuple[str, ...] = ()
    place: str = ""
    page: str = ""
    broken: str = ""


@dataclass(frozen=True)
class Model:
    """A model: a registered name with its architecture fixed, or one whose settings are free, such as `dit`.

    architecture: every architecture value by name, as resolved (for those, the defaults). attention: its
    sites in a line. told: what a suite may say that its samples show, `classes`, `prompts` or nothing.
    broken: why another package's cannot be used; its name is all that is known of it then.
    """

    name: str
    settings: tuple[Setting, ...] = ()
    architecture: tuple[tuple[str, Scalar], ...] = ()
    embedded: bool = False
    hub: str = ""
    summary: str = ""
    paper: str = ""
    predicts: str = ""
    attention: str = ""
    told: str = ""
    broken: str = ""


@dataclass(frozen=True)
class Extractor:
    """A network that turns pictures into features, or compares pairs of them.

    dim: width of the features, 0 of one for pairs. spatial: width of those for sFID, 0 without. headless: why
    there are no logits, and so no Inception Score; empty where there are. needs: where the weights come from;
    unavailable: what is missing on this machine, each with the way to it. Others as of a method.
    """

    name: str
    settings: tuple[Setting, ...] = ()
    dim: int = 0
    spatial: int = 0
    headless: str = ""
    pairs: bool = False
    summary: str = ""
    paper: str = ""
    needs: str = ""
    unavailable: tuple[str, ...] = ()
    place: str = ""
    page: str = ""
    broken: str = ""


@dataclass(frozen=True)
class Catalog:
    """All methods, models, extractors and accelerators by name, and the words that sampling understands.

    nowhere: why a `module:Class` that was asked for names nothing, by that name.
    """

    methods: dict[str, Method]
    models: dict[str, Model]
    extractors: dict[str, Extractor] = field(default_factory=dict)
    nowhere: dict[str, str] = field(default_factory=dict)
    samplers: tuple[str, ...] = (
        "ddim",
        "ddpm",
        "dpmsolver++",
        "flow-euler",
        "ddim-leading",
    )
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float16")
    accelerators: dict[str, Accelerator] = field(default_factory=dict)


@dataclass(frozen=True)
class Inspection:
    """What a cell would cost and why it may not run, found without running it.

    values: numbers in the latents of one picture. decoded: in the picture that an autoencoder would make of
    them, about; 0 where they are a picture. widest: numbers in the tokens of one picture, where a
    block is widest. notes: what to know of a cell that can run. broken: what its method did wrong when it
    was asked.
    """

    key: str
    reasons: tuple[str, ...] = ()
    macs: float = 0.0
    core_macs: float = 0.0
    parameters: int = 0
    broken: str = ""
    values: int = 0
    decoded: int = 0
    widest: int = 0
    notes: tuple[str, ...] = ()
