"""What people see of a run: rows that fit the terminal, and lines where there is none."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fakes_run import FakeServer, cell, suite
from rich.console import Console

from ditbench.jobs import Findings, Quality, Timing
from ditbench.records import Stage, Status
from ditbench.run.display import LiveTable, PlainLines, display_of, short_names
from ditbench.run.order import jobs_of
from ditbench.run.scheduler import Session, execute

SUITE = suite(metrics=("latency", "psnr"), timing=Timing(processes=2), quality=Quality(samples=4))


def console(*, terminal, height=24):
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=80,
        height=height,
        color_system=None,
        legacy_windows=False,
    )


def shown(cells, screen, server=None):
    """The display after a whole run."""
    jobs = jobs_of(cells, SUITE, "cpu", Path("images"))
    display = display_of(jobs, screen)
    with display:
        execute(
            jobs, server or FakeServer(), Session(Path("logs"), "", ""), lambda _r: None, display
        )
    return display


def text_of(display, screen):
    with screen.capture() as capture:
        screen.print(display.table())
    return capture.get()


def test_a_terminal_gets_the_table_and_a_pipe_gets_lines():
    assert isinstance(display_of((), console(terminal=True)), LiveTable)
    assert isinstance(display_of((), console(terminal=False)), PlainLines)


def test_the_table_has_one_row_a_cell_with_its_state_latency_and_replicates():
    screen = console(terminal=True)
    crash = Findings(Status.CRASHED, "segmentation fault (SIGSEGV)")
    server = FakeServer({("sdpa", Stage.GATE): crash})
    text = text_of(shown((cell("softmax"), cell("sdpa")), screen, server), screen)
    assert "5/5 jobs" in text
    softmax, sdpa = (
        next(line for line in text.splitlines() if name in line) for name in ("softmax", "sdpa")
    )
    assert "ok" in softmax
    assert "500 ms" in softmax
    assert "2/2" in softmax
    assert "crashed" in sdpa
    assert "segmentation" in sdpa
    assert "0/2" in sdpa


@pytest.mark.parametrize("height", [10, 24])
def test_mistake_39_the_table_fits_the_terminal_and_counts_what_it_hides(height):
    screen = console(terminal=True, height=height)
    cells = tuple(cell("softmax", batch_size=size) for size in range(1, 41))
    lines = text_of(shown(cells, screen), screen).splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= 80
    assert f"{40 - (height - 6)} more rows not shown; 40 ok" in " ".join(lines)


def test_lines_say_progress_cell_stage_status_latency_and_reason():
    screen = console(terminal=False)
    server = FakeServer(
        {("sdpa", Stage.GATE): Findings(Status.FAILED_GATE, "error 0.3 in block [0]")}
    )
    shown((cell("softmax"), cell("sdpa")), screen, server)
    assert screen.file.getvalue().splitlines() == [
        "1/8 jobs, 14 s left  softmax  gate  ok  500 ms",
        "2/5 jobs, 6 s left  sdpa  gate  failed gate: error 0.3 in block [0]",
        "3/5 jobs, 4 s left  softmax  time 1/2  ok  500 ms",
        "4/5 jobs, 2 s left  softmax  time 2/2  ok  500 ms",
        "5/5 jobs  softmax  quality  ok  500 ms",
    ]


def test_a_cell_is_named_by_what_sets_it_apart():
    cells = [cell("softmax"), cell("sdpa", batch_size=8), cell("sdpa", batch_size=8, compile=True)]
    names = short_names({one.key: one for one in cells})
    assert list(names.values()) == [
        "softmax compile=off batch_size=1",
        "sdpa compile=off batch_size=8",
        "sdpa compile=on batch_size=8",
    ]
