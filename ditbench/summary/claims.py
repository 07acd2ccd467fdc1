"""Published numbers beside the measured ones, each with a verdict or the reason why it has none.

A claim that follows from shapes alone names one cell, which every run counts: neither `--quick` nor `-k` nor
the size of the matrix changes what it is held against. Any other claim is answered by the cells that ran.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ditbench import scores, units
from ditbench.metrics import ONCE, SPEEDUP, known
from ditbench.records import Cell, Record, Stage, Status
from ditbench.store import Run
from ditbench.suite.spec import holds
from ditbench.summary.evidence import counted
from ditbench.summary.rows import Answered, ClaimResult, Row
from ditbench.summary.speed import YARDSTICKS

_COUNTED = "counted, not run"
_COUNTS = frozenset({"MAC", "FLOP"})
# What a figure is of: a step of a batch, a run of all its steps, or an image; by unit, and where a metric is
# of something else by its name. What happens once is of none.
_BASES = {"MAC": "step", "FLOP": "step", "s": "run", "J": "image"} | {
    "trajectory_macs": "run",
    "step_latency": "step",
    **dict.fromkeys(ONCE, ""),
}


@dataclass(frozen=True)
class Known:
    """What a run can answer with: its rows, and what it counted, by the cell's key.

    facts: of the environment, because a time is published for one machine. quick: the axes that `--quick`
    replaced. selected: the expression of `-k`.
    """

    rows: tuple[Row, ...]
    counts: Mapping[str, Record]
    facts: Mapping[str, Any]
    quick: frozenset[str] = frozenset()
    selected: str = ""

    @classmethod
    def of(cls, run: Run, rows: tuple[Row, ...]) -> Known:
        """Of a run and the rows that were made of it."""
        counts = {one.key: one for one in run.records if one.stage is Stage.COUNT}
        replaced = (str(path).rpartition(".")[2] for path in run.effort.get("quick", ()))
        return cls(rows, counts, run.environment.facts, frozenset(replaced), run.selected)

    def ran(self, cell: Cell) -> bool:
        """Whether the network of this cell ran in its model and passed its gates."""
        return any(row.cell.key == cell.key and row.kernels for row in self.rows)


def answer(claim: Mapping[str, Any], found: Known) -> list[ClaimResult]:
    """One result for every cell that the claim is about, or one without a cell where there is none.

    A published speed-up that is beyond what leaving attention out would give is told so.
    """
    results = _answer(claim, found)
    if claim["metric"] != SPEEDUP or not (beyond := _beyond(claim, found)):
        return results
    return [
        dataclasses.replace(one, why="; ".join(filter(None, (one.why, beyond)))) for one in results
    ]


def _beyond(claim: Mapping[str, Any], found: Known) -> str:
    """What of this run or of its counts a published speed-up exceeds, for the model that it speaks of."""
    published, where = float(claim["value"]), _whatever_method(claim["where"])
    bounds = [
        (value, row.cell.method)
        for row in found.rows
        if row.cell.family in YARDSTICKS and holds(where, row.cell)
        if (value := _value(claim, row, found.rows)) is not None
    ]
    ceilings = [
        ceiling.value
        for one in found.counts.values()
        if holds({k: v for k, v in where.items() if k == "model"}, one.cell)
        if (ceiling := counted(one).get("attention_ceiling"))
    ]
    told = []
    if bounds and published > (bound := max(bounds))[0]:
        told.append(f"the {units.digits(bound[0])} measured with {bound[1]}, which has no core,")
    if ceilings and published > max(ceilings):
        told.append(f"the MAC ceiling of {units.digits(max(ceilings))} for a module that is free")
    return f"{units.digits(published)} is more than {' and '.join(told)}" if told else ""


def _whatever_method(where: Mapping[str, Any]) -> dict[str, Any]:
    return {axis: value for axis, value in where.items() if axis.partition(".")[0] != "attention"}


def _answer(claim: Mapping[str, Any], found: Known) -> list[ClaimResult]:
    if claim.get("needs"):
        return [_result(claim, None, None, Answered.NOT_MEASURED, f"needs {claim['needs']}")]
    if claim.get("cell"):
        by_count = _by_count(claim, found)
        if by_count.verdict is not Answered.NOT_MEASURED or not _ran(claim, found):
            return [by_count]
    answers = [row for row in found.rows if holds(claim["where"], row.cell)]
    values = [(row, _value(claim, row, found.rows)) for row in answers]
    measured = [(row, value) for row, value in values if value is not None]
    if measured:
        elsewhere = _elsewhere(claim, found.facts)
        return [
            _compared(claim, row.cell, value, elsewhere or _unfit(claim, row))
            for row, value in measured
        ]
    cell = answers[0].cell if answers else None
    return [_result(claim, cell, None, Answered.NOT_MEASURED, _missing(claim, answers, found))]


def _ran(claim: Mapping[str, Any], found: Known) -> bool:
    """Whether the claim's own cell ran, so that what does not follow from shapes was measured."""
    rows = (row for row in found.rows if row.cell.key == claim["cell"])
    return any(claim["metric"] in row.estimates for row in rows)


def _by_count(claim: Mapping[str, Any], found: Known) -> ClaimResult:
    """By the counted cell that the claim names, and the one that it is a ratio to."""
    keys = [key for key in (claim["cell"], claim.get("other")) if key]
    records = [found.counts[key] for key in keys if key in found.counts]
    if len(records) < len(keys):
        why = "the run ended before it was counted"
        return _result(claim, None, None, Answered.NOT_MEASURED, why)
    cell = records[0].cell
    if failed := next((one for one in records if one.status is not Status.OK), None):
        why = f"{failed.status}: {failed.reason}"
        return _result(claim, cell, None, Answered.NOT_MEASURED, why)
    figures = [counted(one).get(claim["metric"]) for one in records]
    values = [
        _in_its_unit(claim, figure.value, record.cell)
        for figure, record in zip(figures, records, strict=True)
        if figure
    ]
    if len(values) < len(records) or not all(values[1:]):
        why = f"{_said(claim['metric'])} does not follow from these shapes"
        return _result(claim, cell, None, Answered.NOT_MEASURED, why)
    measured = values[0] / values[1] if values[1:] else values[0]
    return _compared(claim, cell, measured, how="" if found.ran(cell) else _COUNTED)


def _value(claim: Mapping[str, Any], row: Row, rows: Iterable[Row]) -> float | None:
    """What a row says of a claim, as a ratio where the claim is one; None where it says nothing."""
    against = claim.get("against")
    if claim["metric"] == SPEEDUP and not against:
        return row.speedup.value if row.speedup else None
    name = "latency" if claim["metric"] == SPEEDUP else claim["metric"]
    own = row.estimates.get(scores.canonical(name))
    if own is None:
        return None
    value = _in_its_unit(claim, own.value, row.cell)
    if not against:
        return value
    for other in _counterparts(against, row, rows):
        if name in other.estimates:
            theirs = _in_its_unit(claim, other.estimates[name].value, other.cell)
            above, below = (theirs, value) if claim["metric"] == SPEEDUP else (value, theirs)
            return above / below if below else None
    return None


def _counterparts(against: Mapping[str, Any], row: Row, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows that differ from this one in what `against` says, and in nothing else."""
    free = {name.partition(".")[0] for name in against}
    free |= {"blocks"} if "attention" in free else set()
    free |= {"guidance_scale"} if "guidance" in free else set()

    def rest(cell: Cell) -> dict[str, str]:
        return {axis: value for axis, value in cell.axes.items() if axis not in free}

    return (one for one in rows if holds(against, one.cell) and rest(one.cell) == rest(row.cell))


def _compared(
    claim: Mapping[str, Any], cell: Cell, measured: float, hindrance: str = "", how: str = ""
) -> ClaimResult:
    if hindrance:
        return _result(claim, cell, measured, Answered.NOT_COMPARABLE, hindrance)
    published = float(claim["value"])
    near = abs(measured - published) <= float(claim["tolerance"]) * abs(published)
    near |= bool(claim.get("at_least")) and measured >= published
    verdict = Answered.REPRODUCED if near else Answered.CONTRADICTED
    return dataclasses.replace(_result(claim, cell, measured, verdict), how=how)


def _in_its_unit(claim: Mapping[str, Any], value: float, cell: Cell) -> float:
    """The figure of one step of a batch, of one whole image, or of one block's step, as the claim has it."""
    name, per = claim["metric"], claim["per"]
    of = known(name)
    unit = of.unit if of else ""
    if unit in _COUNTS and per == "block":
        return value / int(dict(cell.model.settings).get("depth", 1))
    basis = _BASES.get(name, _BASES.get(unit, ""))
    steps, batch = cell.steps, cell.batch_size
    if per == "image":
        return value * {"step": steps / batch, "run": 1 / batch}.get(basis, 1.0)
    return value * {"run": 1 / steps, "image": batch / steps}.get(basis, 1.0)


def _elsewhere(claim: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Why a figure of this machine is none for that one; empty where the machine does not matter."""
    machine = claim.get("on", "")
    here = str(facts.get("gpu") or facts.get("cpu") or "an unknown machine")
    # A word and no part of one: L4 is no L40, T4 no T400.
    named = re.search(rf"(?<!\w){re.escape(machine)}(?!\w)", here)
    if not machine or not _is_timed(claim) or named:
        return ""
    return f"published for {machine}, measured on {here}"


def _unfit(claim: Mapping[str, Any], row: Row) -> str:
    """Why a time of this cell refutes nothing; empty where it may be used."""
    return f"the machine was not fit: {row.unfit}" if row.unfit and _is_timed(claim) else ""


def _is_timed(claim: Mapping[str, Any]) -> bool:
    of = known(claim["metric"])
    return claim["metric"] == SPEEDUP or (of is not None and of.stage is Stage.TIME)


def _missing(claim: Mapping[str, Any], answers: list[Row], found: Known) -> str:
    """Why no cell answers a claim."""
    if not answers:
        return _left_out(claim, found) or "no cell of this run is of that kind"
    failed = [row for row in answers if row.reason]
    if failed:
        return f"{failed[0].status}: {failed[0].reason}"
    if claim.get("against"):
        return "the run did not measure both sides of the ratio"
    return f"the run did not measure {_said(claim['metric'])}"


def _left_out(claim: Mapping[str, Any], found: Known) -> str:
    """Which of the claim's conditions `--quick` left without a cell, or that `-k` may have."""
    for axis in claim["where"]:
        part = axis.partition(".")[0]
        cells = [row.cell for row in found.rows]
        if part in found.quick and not any(holds({axis: claim["where"][axis]}, c) for c in cells):
            ran = ", ".join(dict.fromkeys(cell.axes[part] for cell in cells if part in cell.axes))
            return f"--quick ran {'' if part == 'model' else f'{_said(part)} '}{ran} in its place"
    if found.selected:
        return f"-k {found.selected} leaves no cell of that kind"
    return ""


def _said(name: str) -> str:
    return name.replace("_", " ")


def _result(
    claim: Mapping[str, Any],
    cell: Cell | None,
    measured: float | None,
    verdict: Answered,
    why: str = "",
) -> ClaimResult:
    return ClaimResult(
        metric=claim["metric"],
        per=claim["per"],
        source=claim["source"],
        published=float(claim["value"]),
        tolerance=float(claim["tolerance"]),
        at_least=bool(claim.get("at_least")),
        cell=cell,
        measured=measured,
        verdict=verdict,
        why=why,
        against=_conditions(claim.get("against") or {}),
        about=_conditions(claim["where"]),
    )


def _conditions(told: Mapping[str, Any]) -> str:
    """`softmax, guidance on`; settings stand in brackets as in a label."""
    settings = ",".join(
        f"{axis.removeprefix('attention.')}={value}"
        for axis, value in told.items()
        if axis.startswith("attention.")
    )
    said = [
        f"{value}[{settings}]" if settings else str(value)
        for axis, value in told.items()
        if axis == "attention"
    ]
    switch = {True: "on", False: "off"}
    said += [
        f"{'' if axis == 'model' else f'{_said(axis)} '}{switch[value] if isinstance(value, bool) else value}"
        for axis, value in told.items()
        if axis != "attention" and not axis.startswith("attention.")
    ]
    return ", ".join(said)
