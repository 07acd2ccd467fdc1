"""Traces of a method with memory: at every forward what it would have given, beside what computing gives.

The method decides as it always does, on what it is given; but what it gives again is measured and thrown
away, and the run goes on with what was computed. So every decision is made on the trajectory of the model
itself, whatever the decisions before it were, and its error is its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Layer, Moment, Site
from ditbench.attention.memory import Decision, Sparing
from ditbench.jobs import Job
from ditbench.measure import calibration
from ditbench.measure.bench import Bench, make, set_up
from ditbench.reuse.trace import Line

if TYPE_CHECKING:
    from ditbench.attention.base import Finish, Output, Project


def trace(job: Job, samples: Sequence[int]) -> tuple[Line, ...]:
    """Of every decision of the job's cell on these samples, each sampled by itself. job.pictures: a folder.

    Empty where the cell's method has no memory, and so decides nothing.
    """
    cell = dataclasses.replace(job.cell, batch_size=1, compile=False)
    method = make(cell.attention)
    if not isinstance(method, Sparing):
        return ()
    bench, exact = set_up(cell, job.device), method.spared
    bench = calibration.ready(dataclasses.replace(job, cell=cell), bench, lambda _phase: None)
    return tuple(line for sample in samples for line in _traced(bench, exact, sample))


def _traced(bench: Bench, exact: AttentionMethod, sample: int) -> list[Line]:
    """Of one sampling run. exact: what computes where the method would have reused."""
    lines: list[Line] = []
    layers, taken = bench.layers, {site.name for site in bench.sites}

    def watched(site: Site) -> Layer | None:
        layer = layers(site)
        if layer is None or site.name not in taken:
            return layer
        return _Watched(layer, exact.open(site), _blank(bench, sample, site), lines)

    bench.denoiser.install(watched)
    bench.sample(bench.inputs([sample]))
    return lines


@dataclass
class _Watched:
    """A layer with memory whose reuses are noted and not passed on.

    exact: computes at every call. blank: a line without its decision. lines: where they are noted.
    """

    stateless: ClassVar[bool] = False

    layer: Any
    exact: Layer
    blank: Line
    lines: list[Line]

    def __call__(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:
        """What computing gives."""
        known = len(self.layer.decisions)
        given = self.layer(x, project, finish, now)
        made: Sequence[Decision] = self.layer.decisions[known:]
        reuses = any(one.reused for one in made)
        computed = self.exact(x, project, finish, now) if reuses else given
        for one, rows, branch in _apart(made, len(x), guided=now.guided):
            error = distance(given, computed, rows) if one.reused else None
            self.lines.append(_filled(self.blank, one, branch, error))
        return computed


def _apart(
    made: Sequence[Decision], number: int, *, guided: bool
) -> Iterator[tuple[Decision, slice, str]]:
    """Each decision of a forward with its rows, which lie one after the other, and what these are."""
    begin = 0.0
    for one in made:
        end = begin + one.of
        rows = slice(round(begin * number), round(end * number))
        branch = "conditional" if not guided or end <= 0.5 else "unconditional"
        yield one, rows, "both" if guided and one.of > 0.5 else branch
        begin = end


def distance(given: Output, computed: Output, rows: slice) -> float:
    """|given - computed| / |computed| in L2 over these rows; at a joint site, of picture and text at once."""
    off, size = 0.0, 0.0
    for mine, exact in zip(_parts(given), _parts(computed), strict=True):
        wanted = exact[rows].double()
        off += float((mine[rows].double() - wanted).square().sum())
        size += float(wanted.square().sum())
    if size == 0:
        return 0.0 if off == 0 else float("inf")
    return float((off / size) ** 0.5)


def _parts(output: Output) -> tuple[torch.Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)


def _blank(bench: Bench, sample: int, site: Site) -> Line:
    """What all lines of a site share."""
    cell = bench.cell
    return Line(
        model=said(bench),
        method=cell.attention.label,
        seed=cell.sampling.seed,
        sample=sample,
        site=site.name,
        block=site.block,
        step=0,
        steps=cell.steps,
        branch="both",
        reused=False,
        reason="",
        seen={},
    )


def _filled(blank: Line, one: Decision, branch: str, error: float | None) -> Line:
    return dataclasses.replace(
        blank,
        step=one.step,
        branch=branch,
        reused=one.reused,
        reason=one.reason,
        seen={name: float(value) for name, value in one.seen.items()},
        error=error,
    )


def said(bench: Bench) -> str:
    """The network and how it is sampled: what the errors of two traces must share to be compared."""
    cell, protocol = bench.cell, bench.cell.sampling
    return (
        f"{cell.model.label}, weights {bench.weights}, {protocol.sampler} {cell.steps} steps, guidance "
        f"{protocol.guidance_scale:g}, {protocol.dtype}"
    )
