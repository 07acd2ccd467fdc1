"""No accelerator: every block of every step is computed.

    skips nothing, costs nothing

The value of the axis where it is not given, so that a suite can name it beside the others. A cell that has it
is the same cell as one of before there were accelerators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ditbench.accelerators.base import Accelerator, Handle, Host, register
from ditbench.records import UNACCELERATED

if TYPE_CHECKING:
    from ditbench.attention.base import Moment
    from ditbench.attention.memory import Decision


@dataclass(frozen=True)
class Idle:
    """Does nothing."""

    def at(self, now: Moment) -> None:
        """Nothing depends on it."""

    def decisions(self) -> Mapping[str, Sequence[Decision]]:
        """There is nothing to decide."""
        return {}

    @property
    def cache_bytes(self) -> int:
        """Nothing is kept."""
        return 0

    def uninstall(self) -> None:
        """Nothing was changed."""


@register
@dataclass(frozen=True)
class Nothing(Accelerator):
    """The network as it is."""

    name: ClassVar[str] = UNACCELERATED.name
    paper: ClassVar[str] = "none: the network as it is"
    skips: ClassVar[str] = "nothing"
    compiles: ClassVar[bool] = True
    composes: ClassVar[bool] = True

    def install(self, host: Host) -> Handle:  # noqa: ARG002 (it stays as it is)
        """The network stays as it is."""
        return Idle()
