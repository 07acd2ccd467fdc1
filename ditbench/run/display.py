"""A run as people watch it, on stderr: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from types import TracebackType
from typing import Protocol, Self

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ditbench import units
from ditbench.jobs import Job
from ditbench.records import Cell, Record, Stage, Status
from ditbench.run.events import Ended, Event, Phase, Progress, Started
from ditbench.run.order import key_of

_STYLES = {Status.OK: "green", None: "cyan"}
_FRAME = 6  # lines of the terminal that are no rows: title, head, rules, caption, cursor


class Display(Protocol):
    """Something that is told events while it is entered."""

    def __call__(self, event: Event) -> None:
        """Show what happened."""
        ...

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, leaving the terminal as it was."""
        ...


def display_of(jobs: Iterable[Job], console: Console | None = None) -> Display:
    """The live table where stderr is a terminal, plain lines where it is not."""
    jobs = tuple(jobs)
    console = console or Console(stderr=True)
    return LiveTable(jobs, console) if console.is_terminal else PlainLines(jobs, console)


@dataclass
class _Row:
    """One cell, so far. replicates: ended and planned."""

    name: str
    planned: int
    replicates: int = 0
    state: str = "waiting"
    phase: str = ""
    status: Status | None = None
    latencies: list[float] = field(default_factory=list)

    def end(self, record: Record) -> None:
        """Take in one record; a failure stays, a success only says so until the next."""
        self.latencies += record.metrics.get("latency", ())
        self.replicates += record.stage is Stage.TIME
        if self.status in {None, Status.OK}:
            self.status = record.status
        self.state = self.status or ""
        self.phase = record.reason.partition("\n")[0] if record.reason else f"{record.stage} done"

    @property
    def latency(self) -> str:
        """The median of all repeats so far."""
        return units.seconds(median(self.latencies)) if self.latencies else ""

    @property
    def counted(self) -> str:
        """Replicates done, of those planned."""
        return f"{self.replicates}/{self.planned}" if self.planned else ""


@dataclass
class _Board:
    """What both displays know: a row per cell or set of pictures, in the order of the plan."""

    rows: dict[str, _Row]
    pictures: dict[str, str]  # from quality key to the key of the row that shows it
    recent: list[str] = field(default_factory=list)  # keys of rows, the last touched last

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> _Board:
        jobs = tuple(jobs)
        cells = {job.cell.key: job.cell for job in jobs}
        names = short_names(cells)
        timed = Counter(job.cell.key for job in jobs if job.stage is Stage.TIME)
        rows = {key: _Row(names[key], timed[key]) for key in cells}
        return cls(rows, {cell.quality_key: key for key, cell in reversed(cells.items())})

    def row(self, job: Job | Record, key: str) -> _Row:
        """The row of a job or record, which is now the most recent."""
        own = job.cell.key if job.cell.key in self.rows else self.pictures[key]
        self.recent = [*(other for other in self.recent if other != own), own]
        return self.rows[own]

    def counts(self) -> str:
        """How many rows are in each state: 3 ok, 1 timeout, 5 waiting."""
        found = Counter(str(row.status or "waiting") for row in self.rows.values())
        return ", ".join(f"{number} {state}" for state, number in found.items())


class LiveTable:
    """A table that is drawn anew at each event, never higher than the terminal."""

    def __init__(self, jobs: Iterable[Job], console: Console) -> None:
        self._board = _Board.of(jobs)
        self._progress: Progress | None = None
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._console = console

    def __enter__(self) -> Self:
        """Take the terminal."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last table standing."""
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show what happened."""
        if isinstance(event, Phase):
            self._board.row(event.job, key_of(event.job)).phase = event.text
        elif isinstance(event, Started):
            row = self._board.row(event.job, key_of(event.job))
            row.state, row.phase = f"{event.job.stage} …", ""
            self._progress = event.progress
        else:
            self._board.row(event.record, event.record.key).end(event.record)
            self._progress = event.progress
        self._live.update(self.table(), refresh=True)

    def table(self) -> Table:
        """The rows that changed last, in the order of the plan, as many as fit."""
        board = self._board
        table = Table(
            title=self._title(),
            expand=True,
            title_justify="left",
            caption_justify="left",
            box=SIMPLE,
        )
        table.add_column("cell", ratio=3, no_wrap=True, overflow="ellipsis")
        table.add_column("state", no_wrap=True)
        table.add_column("phase", ratio=2, no_wrap=True, overflow="ellipsis")
        table.add_column("latency", justify="right", no_wrap=True)
        table.add_column("done", justify="right", no_wrap=True)
        shown = self._shown()
        for key in shown:
            row = board.rows[key]
            state = Text(row.state, style=_STYLES.get(row.status, "red"))
            table.add_row(Text(row.name), state, Text(row.phase), row.latency, row.counted)
        if hidden := len(board.rows) - len(shown):
            table.caption = f"{hidden} more rows not shown; {board.counts()}"
        return table

    def _shown(self) -> list[str]:
        """Keys of rows: those touched last, then those that come next, put back in order."""
        board = self._board
        room = max(1, self._console.height - _FRAME)
        untouched = [key for key in board.rows if key not in board.recent]
        chosen = set([*reversed(board.recent), *untouched][:room])
        return [key for key in board.rows if key in chosen]

    def _title(self) -> str:
        return _told(self._progress) if self._progress else "starting"


class PlainLines:
    """One line as a job starts and one as it ends: for logs."""

    def __init__(self, jobs: Iterable[Job], console: Console) -> None:
        self._board = _Board.of(jobs)
        self._console = console

    def __enter__(self) -> Self:
        """Nothing to take."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to give back."""

    def __call__(self, event: Event) -> None:
        """Print the end of a job; beginnings and phases would only be noise in a log."""
        if not isinstance(event, Ended):
            return
        record = event.record
        row = self._board.row(record, record.key)
        row.end(record)
        what = record.stage if record.stage is not Stage.TIME else f"time {row.counted}"
        latency = f"  {row.latency}" if "latency" in record.metrics else ""
        reason = f": {record.reason}" if record.reason else ""
        line = f"{_told(event.progress)}  {row.name}  {what}  {record.status}{latency}{reason}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def short_names(cells: Mapping[str, Cell]) -> dict[str, str]:
    """By key, the values of those axes in which the cells differ; the attention always."""
    axes = [cell.axes for cell in cells.values()]
    differ = [
        axis
        for axis in (axes[0] if axes else ())
        if axis == "attention" or len({one[axis] for one in axes}) > 1
    ]
    differ.sort(key=lambda axis: axis != "attention")
    return {key: " ".join(_named(axis, cell) for axis in differ) for key, cell in cells.items()}


def _named(axis: str, cell: Cell) -> str:
    """A value that would be a bare number or switch carries its axis."""
    value = cell.axes[axis]
    return value if axis in {"attention", "model", "dtype", "sampler"} else f"{axis}={value}"


def _rounded(seconds: float) -> str:
    """Whole seconds: an estimate has no more digits than that."""
    return units.seconds(seconds) if seconds >= 120 else f"{max(1, round(seconds))} s"


def _told(progress: Progress) -> str:
    """How far the run is: 3/12 jobs, 40 s left."""
    left = f", {_rounded(progress.eta_s)} left" if progress.eta_s else ""
    return f"{progress.done}/{progress.total} jobs{left}"
