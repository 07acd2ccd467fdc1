"""Multiply-adds and parameters of cells that nothing runs: from shapes alone, with the cost gate's check."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ditbench.attention.base import AttentionMethod, Shape
from ditbench.jobs import Findings
from ditbench.measure import foreseen, op
from ditbench.measure.bench import make, places_of
from ditbench.measure.cost import Cost, core_cost, cost, spec_of
from ditbench.measure.evidence import GateError
from ditbench.measure.gates import check_cost
from ditbench.records import Cell, Status

Refuses = Callable[[Shape], list[str]]
# What an attention core by itself costs.
OF_AN_OP = ("macs", "core_macs")


def count(cells: Iterable[Cell], device: str) -> list[Findings]:
    """What each cell costs. device: "cpu" or "cuda"; a method may refuse the shape there."""
    return [_count(cell, device) for cell in cells]


def _count(cell: Cell, device: str) -> Findings:
    try:
        return _counted(cell, device)
    except GateError as refusal:
        return Findings(refusal.status, str(refusal))
    except Exception as error:  # noqa: BLE001 (a method may raise anything, and it is that cell's result)
        told = next(iter(str(error).splitlines()), "")
        return Findings(Status.CRASHED, f"{type(error).__name__}: {told}".removesuffix(": "))


def _counted(cell: Cell, device: str) -> Findings:
    method = make(cell.attention)

    def refuses(shape: Shape) -> list[str]:
        return method.unsupported(shape, cell.sampling.dtype, device)

    taken = frozenset() if cell.op else _taken(cell, refuses)
    price = _price_of_op(cell, method, refuses) if cell.op else cost(cell, taken)
    check_cost(price)
    known = OF_AN_OP if cell.op else price.metrics.keys()
    metrics = {name: price.metrics[name] for name in known} | foreseen.reuse(cell, taken)
    return Findings(
        metrics=metrics, facts=price.facts | {"exact": method.is_exact and not cell.is_accelerated}
    )


def _price_of_op(cell: Cell, method: AttentionMethod, refuses: Refuses) -> Cost:
    shape = op.shape_of(cell)
    _check_supported(refuses(shape))
    return core_cost(method, shape)


def _taken(cell: Cell, refuses: Refuses) -> frozenset[str]:
    """The sites where the method goes."""
    model = spec_of(cell.model)
    _check_supported(model.problems())
    found = places_of(model, cell, refuses)
    _check_supported(() if found.taken else found.reasons)
    return found.taken


def _check_supported(reasons: Iterable[str]) -> None:
    if told := "; ".join(reasons):
        raise GateError(told, Status.UNSUPPORTED)
