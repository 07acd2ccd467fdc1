"""A run as people watch it, on stderr: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ditbench import units
from ditbench.devices import lock
from ditbench.jobs import Job
from ditbench.metrics import LARGEST_BATCH
from ditbench.records import CANARY, METHOD_AXES, Cell, Record, Stage, Status
from ditbench.run.events import Ended, Event, Phase, Progress
from ditbench.run.order import key_of

_STYLES = {Status.OK: "green", None: "cyan"}
# Widths of the columns beside the cell's name, and the space between columns.
_STATE, _LATENCY, _DONE, _GAP = 20, 9, 5, 2
_LEAST_NAME = 16
# Stages of which a cell has several jobs: processes and shards.
_COUNTED = frozenset({Stage.TIME, Stage.SAMPLE, Stage.CANARY})
# The share of one core that drawing may take from what is measured, and seconds between two drawings.
_DRAWING, _INTERVAL_S = 0.01, 0.25


class Display(Protocol):
    """Something that is told events while it is entered."""

    def __call__(self, event: Event) -> None:
        """Show what happened."""
        ...

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, *_exception: object) -> None:
        """End, leaving the terminal as it was."""
        ...


def display_of(jobs: Iterable[Job], console: Console | None = None) -> Display:
    """The live table where stderr is a terminal that can move its cursor, plain lines where it is not.

    The file itself is asked, because CI sets FORCE_COLOR, which makes rich believe in a terminal.
    """
    jobs = tuple(jobs)
    console = console or Console(stderr=True)
    live = console.is_interactive and console.file.isatty()
    return LiveTable(jobs, console) if live else PlainLines(jobs, console)


@dataclass
class _Row:
    """One cell, so far. planned, ended: its processes and shards. phase: of the worker that is at it."""

    name: str
    planned: Counter[Stage]
    ended: Counter[Stage] = field(default_factory=Counter)
    phase: str = ""
    status: Status | None = None
    latencies: list[float] = field(default_factory=list)
    found: str = ""

    def end(self, record: Record) -> None:
        """Take in one record; a failure stays, a success only says so until the next."""
        self.latencies += record.metrics.get("latency", ())
        self.found = self.found or _found_batch(record)
        self.ended[record.stage] += record.stage in _COUNTED
        if self.status in {None, Status.OK}:
            self.status = record.status
        self.phase = ""

    @property
    def state(self) -> str:
        """What it is doing, or how it stands."""
        return self.phase or str(self.status or "waiting")

    @property
    def latency(self) -> str:
        """The median of all repeats so far; of a search, what it found."""
        return units.seconds(median(self.latencies)) if self.latencies else self.found

    @property
    def counted(self) -> str:
        """Processes and shards done, of those planned."""
        return _of(self.ended.total(), self.planned.total())

    def counted_in(self, stage: Stage) -> str:
        """Those of one stage; empty where it has no such parts."""
        return _of(self.ended[stage], self.planned[stage])


@dataclass
class _Board:
    """What both displays know: a row per cell or set of pictures, in the order of the plan."""

    rows: dict[str, _Row]
    pictures: dict[str, str]  # from quality key to the key of the row that shows it
    recent: dict[str, None] = field(default_factory=dict)  # keys of rows, the last touched last
    failure: str = ""  # the last one, with its reason

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> _Board:
        jobs = tuple(jobs)
        cells = {job.cell.key: job.cell for job in jobs}
        names = short_names({key: one for key, one in cells.items() if one != CANARY})
        names[CANARY.key] = str(Stage.CANARY)
        planned: dict[str, Counter[Stage]] = {key: Counter() for key in cells}
        for job in jobs:
            planned[job.cell.key][job.stage] += job.stage in _COUNTED
        rows = {key: _Row(names[key], planned[key]) for key in cells}
        return cls(rows, {cell.quality_key: key for key, cell in reversed(cells.items())})

    def row(self, job: Job | Record, key: str) -> _Row:
        """The row of a job or record, which is now the most recent."""
        own = job.cell.key if job.cell.key in self.rows else self.pictures[key]
        self.recent.pop(own, None)
        self.recent[own] = None
        return self.rows[own]

    def hear(self, event: Event) -> _Row:
        """Take in one event; the row that it is about."""
        if isinstance(event, Ended):
            row = self.row(event.record, event.record.key)
            row.end(event.record)
            if event.record.reason:
                self.failure = one_line(f"{row.name}: {event.record.status}, {event.record.reason}")
            return row
        row = self.row(event.job, key_of(event.job))
        row.phase = one_line(event.text) if isinstance(event, Phase) else f"{event.job.stage} …"
        return row

    def counts(self) -> str:
        """How many rows are in each state: 3 ok, 1 timeout, 5 waiting."""
        found = Counter(
            str(row.status or "waiting") for key, row in self.rows.items() if key != CANARY.key
        )
        return ", ".join(f"{number} {state}" for state, number in found.items())


class LiveTable:
    """A table that follows the events, never higher than the terminal, drawn too seldom to be felt.

    What comes between two drawings waits for the second, which a timer makes where no event does.
    """

    def __init__(self, jobs: Iterable[Job], console: Console) -> None:
        self._board = _Board.of(jobs)
        self._progress: Progress | None = None
        self._console = console
        self._live = Live(console=console, auto_refresh=False, get_renderable=self.table)
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._next = 0.0  # when the next drawing may be, by the monotonic clock

    def __enter__(self) -> Self:
        """Take the terminal."""
        self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Leave the last table standing."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show what happened, at once or soon."""
        with self._lock:
            self._board.hear(event)
            if not isinstance(event, Phase):
                self._progress = event.progress
            wait = self._next - time.monotonic()
            if self._timer is None:
                self._timer = threading.Timer(max(0.0, wait), self._draw)
                self._timer.daemon = True
                self._timer.start()

    def _draw(self) -> None:
        """Draw, and let as much time go by as keeps drawing a small share of it."""
        with self._lock, contextlib.suppress(OSError):  # a terminal that has gone stops no run
            if self._timer is not threading.current_thread():
                return  # this came too late: the table is left as it stands
            self._timer = None
            begin = time.thread_time()
            self._live.refresh()
            cost = time.thread_time() - begin
            self._next = time.monotonic() + max(_INTERVAL_S, cost / _DRAWING)

    def table(self) -> Group:
        """How far the run is, the rows that changed last in the order of the plan, and what is hidden."""
        board, wide = self._board, self._console.width
        title = Text(_told(self._progress) if self._progress else "starting")
        failure = [Text(f"last failure: {board.failure}", style="red")] if board.failure else []
        for text in failure:
            text.truncate(3 * wide - 3, overflow="ellipsis")
        told = [title, *failure, Text(self._hidden(len(board.rows)))]  # the widest that it can be
        lines = sum(len(text.wrap(self._console, wide)) for text in told)
        shown = self._fitting(self._console.height - lines - 2)  # the table's head, the cursor
        hidden = len(board.rows) - len(shown)
        return Group(
            title,
            self._rows(shown),
            *failure,
            *([Text(self._hidden(hidden))] if hidden else []),
        )

    def _rows(self, shown: Iterable[str]) -> Table:
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
        table.add_column("cell", width=self._name_width(), overflow="fold")
        table.add_column("state", width=_STATE, no_wrap=True, overflow="ellipsis")
        if self._wide:
            table.add_column("latency", width=_LATENCY, justify="right", no_wrap=True)
            table.add_column("done", width=_DONE, justify="right", no_wrap=True)
        for key in shown:
            row = self._board.rows[key]
            style = "cyan" if row.phase else _STYLES.get(row.status, "red")
            figures = (row.latency, row.counted) if self._wide else ()
            table.add_row(Text(row.name), Text(row.state, style=style), *figures)
        return table

    def _fitting(self, room: int) -> list[str]:
        """Keys of rows: those touched last, then those that come next, put back in order."""
        board, wide = self._board, self._name_width()
        untouched = (key for key in board.rows if key not in board.recent)
        chosen: set[str] = set()
        for key in itertools.chain(reversed(board.recent), untouched):
            room -= len(Text(board.rows[key].name).wrap(self._console, wide))
            if room < 0 and chosen:
                break
            chosen.add(key)
        return [key for key in board.rows if key in chosen]

    def _name_width(self) -> int:
        """What the other columns leave."""
        others = _STATE + _GAP + (_LATENCY + _DONE + 2 * _GAP if self._wide else 0)
        return max(_LEAST_NAME, self._console.width - others)

    @property
    def _wide(self) -> bool:
        """Whether there is room for figures beside names and states."""
        return self._console.width >= _LEAST_NAME + _STATE + _LATENCY + _DONE + 3 * _GAP

    def _hidden(self, number: int) -> str:
        return f"{number} more rows not shown; {self._board.counts()}"


class PlainLines:
    """One line as a job ends: for logs."""

    def __init__(self, jobs: Iterable[Job], console: Console) -> None:
        self._board = _Board.of(jobs)
        self._console = console
        self._wait = ""

    def __enter__(self) -> Self:
        """Nothing to take."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Nothing to give back."""

    def __call__(self, event: Event) -> None:
        """Print the end of a job, and for whom one waits; all else would only be noise in a log."""
        row = self._board.hear(event)
        if isinstance(event, Phase) and lock.is_wait(event.text) and event.text != self._wait:
            self._wait = event.text  # once, not for every job
            self._say(event.text)
        if not isinstance(event, Ended):
            return
        record = event.record
        what = f"{record.stage} {row.counted_in(record.stage)}".strip()
        told = record.metrics.keys() & {"latency", LARGEST_BATCH}
        latency = f"  {row.latency}" if told else ""
        reason = f": {record.reason}" if record.reason else ""
        line = f"{_told(event.progress)}  {row.name}  {what}  {record.status}{latency}{reason}"
        self._say(line)

    def _say(self, line: str) -> None:
        self._console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)


def _found_batch(record: Record) -> str:
    """What a search came to; empty of any other record."""
    return "".join(f"max {value:.0f}" for value in record.metrics.get(LARGEST_BATCH, ()))


def _of(done: int, planned: int) -> str:
    return f"{done}/{planned}" if planned else ""


def one_line(text: str) -> str:
    """Text without line breaks and without what would steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def short_names(cells: Mapping[str, Cell]) -> dict[str, str]:
    """By key, method and accelerator, and the values of those other axes in which the cells differ."""
    axes = [cell.axes for cell in cells.values()]
    every = dict.fromkeys(axis for one in axes for axis in one if axis not in METHOD_AXES)
    differ = [axis for axis in every if len({one.get(axis) for one in axes}) > 1]
    return {
        key: " ".join([cell.method, *(_named(axis, cell) for axis in differ if axis in cell.axes)])
        for key, cell in cells.items()
    }


def _named(axis: str, cell: Cell) -> str:
    """A value that would be a bare number or switch carries its axis."""
    value = cell.axes[axis]
    return value if axis in {"model", "dtype", "sampler"} else f"{axis}={value}"


def _rounded(seconds: float) -> str:
    """Whole seconds: an estimate has no more digits than that."""
    return units.seconds(seconds) if seconds >= 120 else f"{max(1, round(seconds))} s"


def _told(progress: Progress) -> str:
    """How far the run is: 3/12 jobs, 40 s left."""
    left = f", {_rounded(progress.eta_s)} left" if progress.eta_s else ""
    return f"{progress.done}/{progress.total} jobs{left}"
