"""The contract of an accelerator: what skips parts of a network, and tells what it skipped.

A step cache looks at whole blocks, or at attention modules with their projections, and is therefore no
attention method. It is installed into a network, whatever attention stands there, and taken out again:

    install(host) -> handle      with at, decisions, cache_bytes, uninstall

Every sampling run installs anew, so nothing is ever reset by hand, and `uninstall` leaves the network as it
was, bit for bit. What a handle says that it skipped is seen and not believed: see `ledger`.

A new accelerator is one new file: the paper in the first line, what it skips and by what rule, then a frozen
dataclass whose fields are its settings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ditbench.attention.base import Calibrates
from ditbench.registry import Registry, unlike

if TYPE_CHECKING:
    from torch import nn

    from ditbench.attention.base import Moment, Site
    from ditbench.attention.memory import Decision


@dataclass(frozen=True)
class Host:
    """A network that an accelerator goes into.

    sites: every place where attention happens, from block 0. blocks: the modules around them, by name, in the
    order of the sites. now: where the sampling run stands.
    """

    network: Any
    sites: tuple[Site, ...]
    blocks: Mapping[str, nn.Module]
    now: Callable[[], Moment]

    @property
    def attentions(self) -> dict[str, nn.Module]:
        """The attention modules, by name."""
        return {site.name: self.network.get_submodule(site.name) for site in self.sites}


class Handle(Protocol):
    """An installed accelerator, for one sampling run."""

    def at(self, now: Moment) -> None:
        """Told before each step where the run stands."""
        ...

    def decisions(self) -> Mapping[str, Sequence[Decision]]:
        """By module (a block or an attention), what became of it in each forward of the network."""
        ...

    @property
    def cache_bytes(self) -> int:
        """What is held now for later steps."""
        ...

    def uninstall(self) -> None:
        """Leave the network as it was."""
        ...


class Accelerator(Calibrates, ABC):
    """One way to skip parts of a network.

    name: as suites say it. paper, skips: one line each for people. needs: the package, with the command that
    installs it; empty where diffusers will do. compiles: whether a network with it can be compiled whole.
    composes: whether attention methods with a memory of their own stay right when it skips their forwards.
    simulated: a clause on why its times are none of what it stands for, so that no speed-up is told; empty
    where they are.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    skips: ClassVar[str]
    needs: ClassVar[str] = ""
    compiles: ClassVar[bool] = False
    composes: ClassVar[bool] = False
    simulated: ClassVar[str] = ""

    @abstractmethod
    def install(self, host: Host) -> Handle:
        """Put it into the network, remembering nothing."""

    def unsupported(self, host: Host, first: Moment) -> list[str]:  # noqa: ARG002 (many go anywhere)
        """Why it would skip nothing there, or the wrong thing, every reason; empty means it can run.

        host: with a network on `meta`, of shapes alone. first: the moment of the run's first step.
        """
        return []

    @classmethod
    def unavailable(cls) -> list[str]:
        """What is missing on this machine, each with the command that installs it."""
        return []


_SIGNATURES = {"install": ("host",), "unsupported": ("host", "first")}


def problems(plugin: object) -> list[str]:
    """Why a class cannot be an accelerator, each as a clause; empty where it can."""
    return unlike(plugin, Accelerator, ("name", "paper", "skips"), _SIGNATURES)


ACCELERATORS: Registry[type[Accelerator]] = Registry(
    "accelerator", "ditbench.accelerators", "ditbench.accelerators", problems
)
register = ACCELERATORS.register
