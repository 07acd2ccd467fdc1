"""Where attention happens in a model, whoever calls it: a probe for the gates, never for the stopwatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode


class Probe(TorchFunctionMode):
    """Counts calls of torch's fused attention while it is entered; all calls of torch take longer then.

    Explicit products of matrices are not seen: those that a model makes of its own are left to `calls` of
    the sites.
    """

    calls = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401 (torch's signature)
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (likewise)
        self.calls += func is scaled_dot_product_attention
        return func(*args, **(kwargs or {}))
