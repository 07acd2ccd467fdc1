"""How much of what a device gives an attention core by itself takes: of its multiply-adds, of its bandwidth.

A ceiling is the best rate that any gate of the run measured on that device, in that dtype: of a large matrix
product, and of a large copy, bytes read and written. A core's own rates are its declared multiply-adds, and
the bytes of q, k, v and the output, each once, over its latency. A kernel that moves more bytes than these
has a smaller share than the memory is busy; one whose inputs are in the cache may have more than all of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ditbench.records import Cell
from ditbench.summary.evidence import Evidence
from ditbench.summary.rows import Shares

# q, k, v and the output.
_TENSORS = 4
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Ceilings:
    """Best multiply-adds a second by device and dtype, best bytes a second by device."""

    matrix: Mapping[tuple[str, str], float]
    bandwidth: Mapping[str, float]

    @classmethod
    def of(cls, cells: Iterable[Evidence]) -> Ceilings:
        """What the gates of these cells measured."""
        matrix: dict[tuple[str, str], float] = defaultdict(float)
        bandwidth: dict[str, float] = defaultdict(float)
        for one in cells:
            if not one.cell.op or not one.gate:
                continue
            device, facts = _device(one.gate.facts), one.gate.facts
            key = device, one.cell.sampling.dtype
            matrix[key] = max(matrix[key], *facts.get("matrix_rates", ()), 0.0)
            bandwidth[device] = max(bandwidth[device], *facts.get("bandwidths", ()), 0.0)
        return cls(matrix, bandwidth)

    def shares(self, of: Evidence) -> Shares | None:
        """A core's shares; None for what is no op, was not timed, or ran where nothing was measured."""
        latency, macs = (of.estimates.get(name) for name in ("latency", "macs"))
        if not of.times or latency is None or macs is None or latency.value <= 0:
            return None
        device = _device(of.times[0].facts)
        matrix = self.matrix.get((device, of.cell.sampling.dtype))
        bandwidth = self.bandwidth.get(device)
        if not matrix or not bandwidth:
            return None
        return Shares(
            matrix=macs.value / latency.value / matrix,
            bandwidth=least_bytes(of.cell) / latency.value / bandwidth,
            matrix_rate=matrix,
            bandwidth_rate=bandwidth,
        )


def least_bytes(cell: Cell) -> float:
    """Bytes that any kernel of an op must read and write: q, k, v and the output, each once; else 0."""
    if cell.op is None:
        return 0.0
    numbers = cell.rows * cell.op.heads * cell.op.tokens * cell.op.head_dim
    return float(_TENSORS * numbers * _BYTES.get(cell.sampling.dtype, 0))


def _device(facts: Mapping[str, object]) -> str:
    return str(facts.get("gpu_uuid", "cpu"))
