"""GPU kernels of attention methods, in Triton. A module here is imported when its kernel is first called."""

from __future__ import annotations

import os


def interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, on the CPU: what Triton asks when it is imported."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"
