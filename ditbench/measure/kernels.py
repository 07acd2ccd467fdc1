"""Which kernel really ran: read off the profiler, in eager and in compiled code alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

# Parts of operator names, most telling first; what matches none of them multiplied matrices itself.
_KINDS = (
    ("flash_attention", "flash"),
    ("flash_fwd", "flash"),
    ("flash_attn", "flash"),
    ("cudnn_attention", "cudnn"),
    ("efficient_attention", "efficient"),
    ("fmha", "efficient"),
    ("flex_attention", "flex"),
    ("ditbench::", "triton"),  # operators of our own
)
_PRODUCTS = ("bmm", "softmax")


def kinds_run(forward: Callable[[], object]) -> tuple[str, ...]:
    """The kinds of attention kernel seen while `forward` runs once: flash, cudnn, efficient, triton, math."""
    names = operators_run(forward)
    fused = {kind for part, kind in _KINDS if any(part in name for name in names)}
    explicit = {"math"} if any(part in name for name in names for part in _PRODUCTS) else set()
    return tuple(sorted(fused | explicit))


def operators_run(forward: Callable[[], object]) -> Counter[str]:
    """Every operator that `forward` runs, by name, with its number of calls."""
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as trace:
        forward()
    return Counter({event.key: event.count for event in trace.key_averages()})


def refusal(wanted: frozenset[str], seen: tuple[str, ...], beside: tuple[str, ...] = ()) -> str:
    """Why the kernels that ran are not those that were asked for; empty where they are.

    beside: kinds that run without the method too.
    """
    if not wanted or (wanted & set(seen) and not (set(seen) - wanted - set(beside))):
        return ""
    ran = ", ".join(seen) or "none that is known"
    return f"asked for a {' or '.join(sorted(wanted))} kernel, ran {ran}"
