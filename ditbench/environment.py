"""Where numbers were taken: facts of the machine, and which of them must agree before two runs compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Environment:
    """Facts by name, scalars all (device name and UUID, driver, torch, threads, environment variables ...)."""

    facts: Mapping[str, Any]
