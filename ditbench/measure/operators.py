"""What a counter sees of the operators that run: their multiply-adds, and which of them it does not know."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

# Words in the names of operators that multiply matrices; one of them without a formula is told.
_HEAVY = ("mm", "matmul", "dot", "conv", "attention", "einsum", "linear")


def count(work: Callable[[], object], own: Mapping[str, Callable[..., int]] | None = None) -> float:
    """Multiply-adds of what `work` runs. A product with the counter's two operations each.

    own: formulas of a method for operators, by their names.
    """
    mapping = _as_the_counter_wants(own or {})
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        work()
    return macs_of(counter)


def count_inside(
    modules: Iterable[torch.nn.Module], work: Callable[[], object]
) -> tuple[float, float]:
    """Multiply-adds of what `work` runs, and inside these modules, none of which holds another."""
    inside: list[float] = []
    with (
        torch.inference_mode(),
        FlopCounterMode(display=False) as counter,
        contextlib.ExitStack() as hooks,
    ):
        for module in modules:
            hooks.enter_context(each_forward(module, counter, inside.append))
        work()
    return macs_of(counter), sum(inside)


@contextlib.contextmanager
def each_forward(
    module: torch.nn.Module, counter: FlopCounterMode, note: Callable[[float], None]
) -> Iterator[None]:
    """Tell the multiply-adds of every forward of a module that does not hold itself."""
    begun = 0.0

    def enter(*_: object) -> None:
        nonlocal begun
        begun = macs_of(counter)

    def leave(*_: object) -> None:
        note(macs_of(counter) - begun)

    with contextlib.ExitStack() as hooks:
        hooks.callback(module.register_forward_pre_hook(enter).remove)
        hooks.callback(module.register_forward_hook(leave).remove)
        yield


def macs_of(counter: FlopCounterMode) -> float:
    """Multiply-adds of everything that a counter saw so far."""
    return float(counter.get_total_flops()) / 2


def formulas(own: Mapping[str, Callable[..., int]]) -> dict[Any, Callable[..., int]]:
    """For a counter on a real device: a method's own operators, and fused attention on the CPU.

    That has no formula in torch, whose counter gives it nothing.
    """
    return _as_the_counter_wants({_FUSED: _fused, **own})


_FUSED = "aten._scaled_dot_product_flash_attention_for_cpu"


def _fused(q: Any, k: Any, v: Any, *_: object, **_settings: object) -> int:  # noqa: ANN401 (sizes)
    """Scores and weighted values: (batch, heads, tokens, head_dim) each."""
    batch, heads, tokens, width = q
    return int(batch * heads * tokens * k[2] * (width + v[3]))


def _as_the_counter_wants(own: Mapping[str, Callable[..., int]]) -> dict[Any, Callable[..., int]]:
    """Two operations a multiply-add, by torch's operators; those of an absent package are left out."""
    mapping: dict[Any, Callable[..., int]] = {}
    for name, macs in own.items():
        space, _, operator = name.partition(".")
        with contextlib.suppress(AttributeError):
            mapping[getattr(getattr(torch.ops, space), operator)] = _twice(macs)
    return mapping


def _twice(macs: Callable[..., int]) -> Callable[..., int]:
    def flops(*args: object, out_shape: object, **settings: object) -> int:  # noqa: ARG001 (torch gives it)
        return 2 * macs(*args, **settings)

    return flops


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it so
    """Notes the operators that run, and those that multiply matrices and have no formula of torch's."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.run: set[str] = set()
        self.unknown: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 (torch's signature)
        types: Any,  # noqa: ANN401 (likewise)
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (likewise)
        packet = func.overloadpacket
        name = str(packet)
        ours = name.startswith(("aten.", "prims."))
        self.run.add(name)
        if packet not in flop_registry and (not ours or any(word in name for word in _HEAVY)):
            self.unknown.add(name)
        return func(*args, **(kwargs or {}))
