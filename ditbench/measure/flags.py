"""Switches of this process that change what every method computes, or how fast: to be left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch._dynamo import config as dynamo
from torch.nn import functional

_CUDA, _CUDNN = torch.backends.cuda, torch.backends.cudnn
# Each by the name under which a person would look for it. Functions are here because some packages tell
# their users to put another one in the place of torch's own.
_FLAGS: Mapping[str, Callable[[], Any]] = {
    "torch.backends.cuda.enable_flash_sdp": _CUDA.flash_sdp_enabled,
    "torch.backends.cuda.enable_mem_efficient_sdp": _CUDA.mem_efficient_sdp_enabled,
    "torch.backends.cuda.enable_math_sdp": _CUDA.math_sdp_enabled,
    "torch.backends.cuda.enable_cudnn_sdp": _CUDA.cudnn_sdp_enabled,
    "torch.backends.cuda.matmul.allow_tf32": lambda: _CUDA.matmul.allow_tf32,
    "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction": lambda: (
        _CUDA.matmul.allow_fp16_reduced_precision_reduction
    ),
    "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction": lambda: (
        _CUDA.matmul.allow_bf16_reduced_precision_reduction
    ),
    "torch.backends.cudnn.allow_tf32": lambda: _CUDNN.allow_tf32,
    "torch.backends.cudnn.benchmark": lambda: _CUDNN.benchmark,
    "torch.backends.cudnn.deterministic": lambda: _CUDNN.deterministic,
    "torch.set_float32_matmul_precision": torch.get_float32_matmul_precision,
    "torch.use_deterministic_algorithms": torch.are_deterministic_algorithms_enabled,
    "torch.set_num_threads": torch.get_num_threads,
    "torch.set_default_dtype": torch.get_default_dtype,
    "torch.set_default_device": torch.get_default_device,
    "torch.set_grad_enabled": torch.is_grad_enabled,
    "torch.set_autocast_enabled": lambda: [torch.is_autocast_enabled(d) for d in ("cpu", "cuda")],
    "torch.set_flush_denormal": lambda: bool(torch.tensor(1e-310, dtype=torch.float64) * 1 == 0),
    "torch._dynamo.config.disable": lambda: dynamo.disable,
    "torch._dynamo.config.suppress_errors": lambda: dynamo.suppress_errors,
    "torch.matmul": lambda: torch.matmul,
    "torch.nn.functional.linear": lambda: functional.linear,
    "torch.nn.functional.softmax": lambda: functional.softmax,
    "torch.nn.functional.scaled_dot_product_attention": lambda: (
        functional.scaled_dot_product_attention
    ),
}


def settle() -> None:
    """Products in float32 are in float32: TF32 would make such cells another thing than their record says."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def read() -> dict[str, Any]:
    """The value of every switch by its name."""
    return {name: value() for name, value in _FLAGS.items()}


def changed(before: Mapping[str, Any]) -> list[str]:
    """Every switch that is not as it was, "torch.set_num_threads: 1 -> 2"."""
    return [
        f"{name}: {_shown(before[name])} -> {_shown(now)}"
        for name, now in read().items()
        if now != before[name]
    ]


def _shown(value: object) -> str:
    return str(getattr(value, "__qualname__", value))
