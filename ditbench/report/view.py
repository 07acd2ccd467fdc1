"""A run as the page shows it: text and small tables; what a template prints and nothing it must compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ditbench.compare import Comparison
from ditbench.report import (
    cells,
    conduct,
    cores,
    counts,
    distances,
    judged,
    largest,
    moved,
    protocol,
    ranking,
    reuse,
    reuse_charts,
    words,
)
from ditbench.report.cells import Absent, Claims
from ditbench.report.changes import Changes, changes
from ditbench.report.charts import Figure, by_count, figures
from ditbench.report.clocks import Beside, Clocks, clocks
from ditbench.report.cores import Crossings
from ditbench.report.distances import Sheet
from ditbench.report.headline import Headline, headline
from ditbench.report.heat import Heat, heat
from ditbench.report.judged import Peers
from ditbench.report.moved import Moved
from ditbench.report.pictures import Gallery, galleries
from ditbench.report.protocol import Card
from ditbench.report.ranking import Ranking
from ditbench.report.tables import Table
from ditbench.report.uncompared import uncompared
from ditbench.store import Run
from ditbench.summary import Summary, only_counted


@dataclass(frozen=True)
class Limits:
    """How much of each part a page holds: rows of tables, bytes of drawings, characters of the suite, lines.

    What is beyond is counted on the page.
    """

    ranking: int
    changes_shown: int
    changes: int
    absent: int
    commands: int
    gates: int
    problems: int = 50
    distances: int = 200
    pictures: int = 600_000
    moved: int = 250_000
    maps: int = 400_000
    suite: int = 60_000
    lines: int = 800

    @property
    def halved(self) -> Limits:
        """Half of everything; cells without a result give way last."""
        halves = {field.name: getattr(self, field.name) // 2 for field in dataclasses.fields(self)}
        return Limits(**(halves if self.ranking < _FEW else halves | {"absent": self.absent}))


_FEW = 20
HTML = Limits(ranking=200, changes_shown=25, changes=300, absent=5000, commands=300, gates=300)
MARKDOWN = Limits(
    ranking=150,
    changes_shown=25,
    changes=100,
    absent=2000,
    commands=0,
    gates=0,
    distances=100,
    pictures=0,
    moved=0,
    maps=150_000,
    lines=24,
)


@dataclass(frozen=True)
class Quality:
    """What was told of the pictures of methods of one protocol. None of it may be held against another's."""

    card: Card
    sheets: tuple[Sheet, ...]
    chart: str


@dataclass(frozen=True)
class Page:
    """Everything on the page, in its order.

    counted: whether counts were all that was asked for. timed: whether any cell has a speed. remembering:
    the charts of methods with memory.
    """

    suite: str
    run: str
    started: str
    problems: tuple[str, ...]
    problems_hidden: int
    headline: Headline
    notes: tuple[str, ...]
    counted: bool
    timed: bool
    rankings: tuple[Ranking, ...]
    rankings_hidden: int
    crossings: tuple[Crossings, ...]
    largest: tuple[Ranking, ...]
    reuse: reuse.Section | None
    remembering: tuple[Figure, ...]
    changes: Changes
    heat: Heat
    uncompared: Table
    compared: bool
    baseline: str
    figures: tuple[Figure, ...]
    claims: Claims
    absent: Absent
    quality: tuple[Quality, ...]
    galleries: tuple[Gallery, ...]
    moved: tuple[Moved, ...]
    conduct: tuple[tuple[str, str], ...]
    gates: Table
    environment: Table
    differences_said: str
    differences: tuple[str, ...]
    commands: Table
    suite_path: str
    suite_text: str

    @property
    def ranked_by(self) -> str:
        """What the main table is, by what it is in the order of."""
        if self.counted:
            return "Methods by count"
        return "Methods by speed" if self.timed or not self.rankings else "Methods"

    @property
    def charts(self) -> tuple[Figure, ...]:
        """The figures that stand in no other section."""
        elsewhere = {one.chart for one in self.crossings} | {one.chart for one in self.quality}
        elsewhere |= {figure.name for figure in self.remembering}
        return tuple(figure for figure in self.figures if figure.name not in elsewhere)


@dataclass(frozen=True)
class Made:
    """What the pages of one run share: its figures, and at which clock each process ran.

    remembering: those of the figures that stand beside the methods with memory.
    """

    figures: tuple[Figure, ...]
    remembering: tuple[Figure, ...]
    clocks: Clocks


def made(run: Run, summary: Summary, beside: Beside) -> Made:
    """The parts that no limit cuts."""
    names = _names(run, summary)
    groups = ranking.groups(summary, names)
    remembering = reuse_charts.figures(groups, names)
    curves = by_count(judged.peers(run, summary, names))
    drawn = (*figures(summary, groups, names), *curves, *remembering)
    return Made(drawn, remembering, clocks(run, beside))


def page(
    run: Run,
    summary: Summary,
    comparison: Comparison,
    limits: Limits = HTML,
    shared: Made | None = None,
) -> Page:
    """The whole page as text. shared: its `made`, where they are there already."""
    shared = shared or made(run, summary, Beside())
    names = _names(run, summary)
    peers = judged.peers(run, summary, names)
    if any(row.cell.op for row in summary.rows):
        rankings, rankings_hidden = cores.tables(summary, names, limits.ranking)
    else:
        rankings, rankings_hidden = ranking.tables(run, summary, names, peers, limits.ranking)
    shown, lost = galleries(run.folder, peers, limits.pictures)
    problems = (*run.problems, *lost)
    return Page(
        suite=run.suite,
        run=run.id,
        started=run.started,
        problems=problems[: limits.problems],
        problems_hidden=max(0, len(problems) - limits.problems),
        headline=headline(run, summary, comparison, names),
        notes=summary.notes,
        counted=only_counted(run),
        timed=ranking.is_timed(summary),
        rankings=rankings,
        rankings_hidden=rankings_hidden,
        crossings=cores.crossings(summary, names),
        largest=largest.tables(summary, names, limits.ranking),
        reuse=reuse.section(summary, names, limits.ranking, limits.maps),
        remembering=shared.remembering,
        changes=changes(comparison, names, shared.clocks, limits.changes_shown, limits.changes),
        heat=heat(comparison, names),
        uncompared=uncompared(run, comparison, names),
        compared=bool(comparison.findings),
        baseline=comparison.baseline,
        figures=shared.figures,
        claims=cells.claims(summary),
        absent=cells.absent(run, summary, names, limits.absent),
        quality=_quality(run, peers, limits.distances),
        galleries=shown,
        moved=moved.moved(run.folder, peers, limits.moved),
        conduct=conduct.sentences(run, summary),
        gates=conduct.gates(run, names, limits.gates),
        environment=conduct.environment(run),
        differences_said=conduct.differences(comparison),
        differences=comparison.differences,
        commands=cells.commands(run, summary, names, limits.commands),
        suite_path=run.suite_path,
        suite_text=run.suite_text[: limits.suite],
    )


def _quality(run: Run, found: Sequence[Peers], limit: int) -> tuple[Quality, ...]:
    """Of every protocol of which anything was asked or told; `limit` rows each."""
    asked = distances.Asked.of(run)
    pairs = ((peers, distances.sheets(peers, asked, limit)) for peers in found)
    return tuple(
        Quality(protocol.card(peers), sheets, counts.chart_of(peers))
        for peers, sheets in pairs
        if sheets
    )


def _names(run: Run, summary: Summary) -> words.Names:
    return words.Names.of(run.planned or (row.cell for row in summary.rows))
