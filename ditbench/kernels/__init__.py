"""GPU kernels of attention methods, in Triton. A module here is imported when its kernel is first called."""

from __future__ import annotations

import os

# Blocks of which one program of monarch's kernel takes all normalisers: a tile of so many rows is still held
# in registers. Beyond it the logits across blocks are computed twice, which the method's price must know.
MOST_BLOCKS = 128


def interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, on the CPU: what Triton asks when it is imported."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"
