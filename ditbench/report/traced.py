"""The page of a trace: a reuse map a sample, what its letters stand for, and how far reuses are off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from ditbench import units
from ditbench.report import reuse_map
from ditbench.report.render import resource, templates
from ditbench.report.reuse_map import ReuseMap
from ditbench.report.tables import Column, Table, Value
from ditbench.reuse.trace import Line
from ditbench.stats import percentile
from ditbench.store.disk import write_whole

Run = tuple[str, int]  # method and sample

_MAPS = 6  # that differ, at most, on one page
_SHARES = (("a tenth below", 0.1), ("median", 0.5), ("a tenth above", 0.9), ("largest", 1.0))


def render(name: str, lines: Sequence[Line], path: Path) -> Path:
    """Write the page; its path. name: of the suite."""
    found = grouped(of_runs(lines))
    text = (
        templates()
        .get_template("traced.html.jinja")
        .render(
            style=Markup(resource("style.css")),  # noqa: S704 (our own file)
            title=name,
            made=_made(lines),
            maps=[
                (said, one.text, reuse_map.drawn(one, f"map-{number}", said).svg)
                for number, (said, one) in enumerate(found[:_MAPS])
            ],
            hidden=max(0, len(found) - _MAPS),
            legend=reuse_map.legend(_whole(lines)),
            reasons=errors("reason", lines, lambda line: line.reason),
            blocks=errors("block", lines, lambda line: line.block),
            steps=errors("step", lines, lambda line: line.step),
        )
    )
    write_whole(path, text, "trace it again")
    return path


def of_runs(lines: Sequence[Line]) -> dict[Run, ReuseMap]:
    """The map of each sampling run, a letter meaning the same in all of them."""
    known = tuple(dict.fromkeys((words, reused) for _, _, words, reused in _rows(lines)))
    own: dict[Run, list[Line]] = defaultdict(list)
    for line in lines:
        own[line.method, line.sample].append(line)
    return {run: reuse_map.of_rows(_rows(mine), known) for run, mine in own.items()}


def grouped(maps: Mapping[Run, ReuseMap]) -> list[tuple[str, ReuseMap]]:
    """Maps that differ, each once for a method, with that and the samples in words."""
    same: dict[tuple[str, ReuseMap], list[int]] = defaultdict(list)
    for (method, sample), one in maps.items():
        same[method, one].append(sample)
    return [(f"{method}, {_samples(found)}", one) for (method, one), found in same.items()]


def _samples(found: Sequence[int]) -> str:
    return f"sample {found[0]}" if len(found) == 1 else f"samples {', '.join(map(str, found))}"


def _rows(lines: Iterable[Line]) -> list[tuple[str, int, str, bool]]:
    """Each forward once; where its halves were decided apart, with both reasons."""
    told: dict[tuple[str, int, str, int], list[Line]] = defaultdict(list)
    for line in lines:
        told[line.method, line.sample, line.site, line.step].append(line)
    return [
        (
            site,
            step,
            " / ".join(dict.fromkeys(one.reason for one in found)),
            any(one.reused for one in found),
        )
        for (_, _, site, step), found in told.items()
    ]


def _whole(lines: Sequence[Line]) -> ReuseMap:
    return reuse_map.of_rows(_rows(lines))


def errors(what: str, lines: Iterable[Line], key: Callable[[Line], str | int]) -> Table:
    """Of the reuses by reason, block or step: how many, and how far they are off."""
    found: dict[str | int, list[float]] = defaultdict(list)
    for line in lines:
        if line.error is not None:
            found[key(line)].append(line.error)
    columns = (
        Column(what, numeric=what != "reason"),
        Column("reuses", numeric=True),
        *(Column(name, "relative L2", numeric=True) for name, _ in _SHARES),
    )
    return Table(
        columns,
        tuple(
            (Value(str(one), order=one), Value(f"{len(of):,}", order=len(of)), *_quantiles(of))
            for one, of in sorted(found.items())
        ),
    )


def _quantiles(of: Sequence[float]) -> Iterable[Value]:
    for _, share in _SHARES:
        value = percentile(of, share)
        yield Value(units.digits(value), order=value)


def _made(lines: Sequence[Line]) -> tuple[tuple[str, str], ...]:
    one = lines[0]
    samples = sorted({line.sample for line in lines})
    return (
        ("Network", one.model),
        ("Samples", f"{', '.join(map(str, samples))} of seed {one.seed}, each sampled by itself"),
        ("Decisions", _DECIDED),
        ("Errors", _ERRORS),
    )


_DECIDED = (
    "The method decided at every forward as it always does, but what it gave again was measured and thrown "
    "away: the run went on with what computing gave. So no decision suffers from one before it."
)
_ERRORS = (
    "|given again - computed| / |computed| in L2 over a site's whole output, of one forward. How far a run "
    "ends from where it would have ended is another question: latent drift, which a run measures."
)
