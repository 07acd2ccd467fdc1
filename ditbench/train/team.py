"""The processes that train one network together: each takes its share of every batch.

Hugging Face's accelerate wraps the network, so that gradients are averaged over the processes while they are
made (Li et al., 2020, arXiv 2006.15704), on GPUs through NCCL and on CPUs through gloo. Processes are started
by torch's own elastic agent, inside the process that trains otherwise: it starts fresh interpreters (a fork
of one that has computed hangs), ends all when one fails, and works for CPUs, which `accelerate launch` and
`notebook_launcher` start one of.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch

from ditbench.devices.processes import die_with_parent
from ditbench.errors import UsageError

_PATIENCE = timedelta(hours=6)  # the others wait while the first judges an epoch


@dataclass(frozen=True)
class Team:
    """A process among those of one training."""

    device: torch.device
    rank: int = 0
    size: int = 1
    accelerator: Any = None

    @property
    def leads(self) -> bool:
        """Whether this one writes, judges and speaks."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """The rows of a batch that are this process's."""
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def wrapped(self, network: Any) -> Any:  # noqa: ANN401 (of the model's class, or torch's wrapper)
        """What is called in the place of the network, so that gradients are everybody's."""
        return self.accelerator.prepare_model(network) if self.accelerator else network

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Of everybody's value."""
        if not self.accelerator:
            return value
        found: torch.Tensor = self.accelerator.reduce(value, reduction="mean")
        return found

    def wait(self) -> None:
        """Until all are here."""
        if self.accelerator:
            self.accelerator.wait_for_everyone()


def is_member() -> bool:
    """Whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join(device: str) -> Team:
    """The place of this process in the team it was started for, or one alone."""
    if not is_member():
        return Team(torch.device(device))
    die_with_parent()
    accelerate = _accelerate()
    # A static graph may leave weights unused, and may compute blocks twice.
    accelerator = accelerate.Accelerator(
        cpu=device == "cpu",
        mixed_precision="no",  # the loop's own: an environment variable must not switch another on
        kwargs_handlers=[
            accelerate.DistributedDataParallelKwargs(static_graph=True),
            accelerate.InitProcessGroupKwargs(timeout=_PATIENCE),
        ],
    )
    return Team(
        accelerator.device, accelerator.process_index, accelerator.num_processes, accelerator
    )


def _accelerate() -> Any:  # noqa: ANN401 (a module)
    try:
        import accelerate  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise UsageError(
            "processes: training in several needs accelerate: pip install 'ditbench[train]'"
        ) from error
    return accelerate


def start(processes: int, arguments: Sequence[str]) -> int:
    """Start so many of `ditbench` with these arguments and wait for them; the first failure's exit code."""
    _accelerate()
    from torch.distributed.elastic.multiprocessing.errors import (  # noqa: PLC0415 (seconds to import)
        ChildFailedError,
    )
    from torch.distributed.launcher.api import (  # noqa: PLC0415 (likewise)
        LaunchConfig,
        elastic_launch,
    )

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "ditbench", *arguments)
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        return next((code for code in codes if code > 0), 1)
    return 0
