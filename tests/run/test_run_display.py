"""What people see of a run: rows that fit the terminal, and lines where there is none."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest
from fakes_run import FakeServer, cell, job, suite
from patient import holds_once
from rich.console import Console

from ditbench.jobs import Findings, Quality, Timing
from ditbench.metrics import LARGEST_BATCH
from ditbench.records import LARGEST, Choice, Record, Stage, Status
from ditbench.run.display import LiveTable, PlainLines, display_of, short_names
from ditbench.run.events import Ended, Phase, Progress, Started
from ditbench.run.order import jobs_of, with_canaries
from ditbench.run.scheduler import Session, execute

SUITE = suite(metrics=("latency", "psnr"), timing=Timing(processes=2), quality=Quality(samples=4))


LONG = "is declared exact, but lies 1.02 from softmax in float64 in its first block and in its last"


class Screen(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self):
        return True


def console(*, terminal, height=24, width=80, **environ):
    return Console(
        file=Screen() if terminal else io.StringIO(),
        force_terminal=terminal,
        width=width,
        height=height,
        color_system="standard" if environ else None,
        legacy_windows=False,
        _environ={"TERM": "xterm"} | environ,
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


def test_a_log_with_forced_colours_gets_lines_too():
    forced = Console(file=io.StringIO(), _environ={"FORCE_COLOR": "1", "TERM": "xterm"})
    assert forced.is_terminal
    assert isinstance(display_of((), forced), PlainLines)


def test_a_terminal_that_cannot_move_its_cursor_gets_lines():
    dumb = Console(file=Screen(), force_terminal=True, _environ={"TERM": "dumb"})
    assert isinstance(display_of((), dumb), PlainLines)


def test_the_table_has_one_row_a_cell_with_its_state_latency_and_replicates():
    screen = console(terminal=True)
    crash = Findings(Status.CRASHED, "segmentation fault (SIGSEGV)")
    server = FakeServer({("sdpa", Stage.GATE): crash})
    text = text_of(shown((cell("softmax"), cell("sdpa")), screen, server), screen)
    assert "6/6 jobs" in text
    softmax, sdpa = (
        next(line for line in text.splitlines() if name in line) for name in ("softmax", "sdpa")
    )
    assert "ok" in softmax
    assert "500 ms" in softmax
    assert "3/3" in softmax  # processes and shards
    assert "crashed" in sdpa
    assert "0/3" in sdpa
    assert "last failure: sdpa: crashed, segmentation fault (SIGSEGV)" in text


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("height", [10, 24])
def test_mistake_39_the_table_fits_the_terminal_and_counts_what_it_hides(height, width):
    screen = console(terminal=True, height=height, width=width)
    cells = tuple(cell("softmax", batch_size=size) for size in range(1, 1001))
    text = text_of(shown(cells, screen), screen)
    lines = text.splitlines()
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    names = len(re.findall(r"batch_size=\d", text))
    assert names >= height // 3
    assert f"{1000 - names} more rows not shown; 1000 ok" in " ".join(text.split())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_long_names_are_folded_so_that_no_two_rows_look_alike(width):
    screen = console(terminal=True, width=width)
    long = "nystromformer {rank: 64, iterations: 6, a_setting_with_a_long_name: 0.125}"
    cells = [cell("softmax", batch_size=size) for size in (1, 2)]
    cells = [
        type(one)(one.model, Choice("m", (), long), batch_size=one.batch_size) for one in cells
    ]
    text = text_of(shown(cells, screen), screen)
    for size in (1, 2):
        assert f"batch_size={size}" in text
    assert max(map(len, text.splitlines())) <= width
    assert len(text.splitlines()) < screen.height


def test_the_reason_of_a_failure_is_told_whole_but_never_takes_the_screen():
    screen = console(terminal=True)
    for reason, whole in ((LONG, True), (LONG * 40, False)):
        server = FakeServer({("sdpa", Stage.GATE): Findings(Status.FAILED_GATE, reason)})
        text = text_of(shown((cell("softmax"), cell("sdpa")), screen, server), screen)
        assert (reason in " ".join(text.split())) is whole
        assert len(text.splitlines()) < 12


def test_the_phase_of_the_running_worker_stands_in_its_row():
    screen = console(terminal=True)
    running = job("softmax")
    display = LiveTable([running], screen)
    display(Started(running, Progress(0, 1, None)))
    assert "time …" in text_of(display, screen)
    display(Phase(running, "timing 3"))
    assert "timing 3" in text_of(display, screen)


def test_no_colour_is_written_where_none_is_wanted():
    cells = (cell("softmax"), cell("sdpa"))
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")
    for environ, wanted in ({"NO_COLOR": "1"}, False), ({"LANG": "C"}, True):
        screen = console(terminal=True, **environ)
        shown(cells, screen)
        assert bool(coloured.search(screen.file.getvalue())) is wanted


def drawn(screen):
    """How often the table was drawn."""
    return screen.file.getvalue().count("/1000 jobs")


def test_a_flood_of_events_is_drawn_a_few_times_a_second_and_the_last_is_not_lost():
    screen = console(terminal=True)
    one = job("softmax")
    with LiveTable([one], screen) as display:
        begin = time.monotonic()
        for number in range(1000):
            display(Started(one, Progress(number, 1000, None)))
            display(Phase(one, f"timing {number}"))
            time.sleep(0.001)
        took = time.monotonic() - begin
        assert drawn(screen) <= 2 + 4 * took
        for _ in range(1000):  # the timer makes the drawing that no event makes
            if "timing 999" in screen.file.getvalue():
                break
            time.sleep(0.05)
        assert "timing 999" in screen.file.getvalue()


@pytest.mark.slow
def test_drawing_a_thousand_cells_takes_less_than_two_per_cent_of_one_core():
    screen = console(terminal=True)
    jobs = jobs_of([cell("softmax", batch_size=n) for n in range(1, 1001)], SUITE, "cpu", Path("i"))
    with LiveTable(jobs, screen) as display:
        display(Started(jobs[0], Progress(0, 1000, None)))
        while not drawn(screen):
            time.sleep(0.01)

        def is_cheap():
            begin, busy = time.monotonic(), time.process_time()
            for number in range(120):  # one drawing more or less is little of so long
                display(Phase(jobs[0], f"timing {number}"))
                time.sleep(0.05)
            return time.process_time() - busy < 0.02 * (time.monotonic() - begin)

        assert holds_once(is_cheap)
        assert drawn(screen) > 1


def test_lines_say_progress_cell_stage_status_latency_and_reason():
    screen = console(terminal=False)
    server = FakeServer(
        {("sdpa", Stage.GATE): Findings(Status.FAILED_GATE, "error 0.3 in block [0]")}
    )
    shown((cell("softmax"), cell("sdpa")), screen, server)
    assert screen.file.getvalue().splitlines() == [
        "1/10 jobs, 18 s left  softmax  gate  ok  500 ms",
        "2/6 jobs, 8 s left  sdpa  gate  failed gate: error 0.3 in block [0]",
        "3/6 jobs, 6 s left  softmax  time 1/2  ok  500 ms",
        "4/6 jobs, 4 s left  softmax  time 2/2  ok  500 ms",
        "5/6 jobs, 2 s left  softmax  sample 1/1  ok  500 ms",
        "6/6 jobs  softmax  quality  ok  500 ms",
    ]


def test_the_canary_has_a_line_and_is_counted_among_no_cells():
    screen = console(terminal=False)
    jobs = with_canaries(jobs_of((cell("softmax"),), SUITE, "cpu", Path("images")), ["cpu"])
    display = display_of(jobs, screen)
    with display:
        execute(jobs, FakeServer(), Session(Path("logs"), "", ""), lambda _r: None, display)
    lines = screen.file.getvalue().splitlines()
    assert lines[0] == "1/8 jobs, 14 s left  canary  canary 1/3  ok  500 ms"
    assert lines[1].endswith("softmax  gate  ok  500 ms")
    assert display._board.counts() == "1 ok"


def test_a_cell_is_named_by_what_sets_it_apart():
    cells = [cell("softmax"), cell("sdpa", batch_size=8), cell("sdpa", batch_size=8, compile=True)]
    names = short_names({one.key: one for one in cells})
    assert list(names.values()) == [
        "softmax compile=off batch_size=1",
        "sdpa compile=off batch_size=8",
        "sdpa compile=on batch_size=8",
    ]


def test_a_line_in_a_log_is_one_line_without_control_codes():
    screen = console(terminal=False, width=40)
    hostile = f"\x1b[2J{LONG}\r\nsecond line\x07"
    server = FakeServer({("softmax", Stage.GATE): Findings(Status.FAILED_GATE, hostile)})
    shown((cell("softmax"), cell("sdpa")), screen, server)
    text = screen.file.getvalue()
    assert len(text.splitlines()) == text.count("\n") == 6
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert f"{LONG}  second line" in text


def test_jobs_that_run_at_the_same_time_are_shown_side_by_side():
    screen = console(terminal=True)
    first, second = (job(name, Stage.TIME, device=f"GPU-{name}") for name in ("softmax", "sdpa"))
    display = LiveTable((first, second), screen)
    for event in (
        Started(first, Progress(0, 2, None)),
        Started(second, Progress(0, 2, None)),
        Phase(first, "timing 3/20"),
    ):
        display(event)
    lines = text_of(display, screen).splitlines()
    assert any("softmax" in line and "timing 3/20" in line for line in lines)
    assert any("sdpa" in line and "time …" in line for line in lines)


def test_a_log_says_once_whom_the_run_waits_for():
    class Waits(FakeServer):
        def run_job(self, job, log, hear):
            hear("waiting for cpu, which process 7 (ditbench run a.yaml) holds")
            return super().run_job(job, log, hear)

    screen = console(terminal=False)
    shown((cell("softmax"), cell("sdpa")), screen, Waits())
    lines = screen.file.getvalue().splitlines()
    assert lines[0] == "waiting for cpu, which process 7 (ditbench run a.yaml) holds"
    assert sum(line.startswith("waiting for") for line in lines) == 1


def test_a_thousand_cells_are_a_line_a_job():
    screen = console(terminal=False)
    cells = tuple(cell("softmax", batch_size=size) for size in range(1, 1001))
    shown(cells, screen)
    lines = screen.file.getvalue().splitlines()
    assert len(lines) == 3 * len(cells) + 2  # a gate and two processes each, a shard and its judge
    assert lines[0].startswith("1/3002 jobs")
    assert lines[-1].startswith("3002/3002 jobs")


def test_a_search_shows_its_trial_while_it_runs_and_what_it_found_at_its_end():
    cells = (cell("softmax", batch_size=LARGEST), cell("sdpa"))
    screen = console(terminal=True)
    jobs = jobs_of(cells, SUITE, "cpu", Path("images"))
    display = LiveTable(jobs, screen)
    search = next(job for job in jobs if job.stage is Stage.FIT)
    display(Phase(search, "trying 64, 32 fits"))
    assert "trying 64, 32 fits" in text_of(display, screen)
    record = Record(search.cell, Stage.FIT, Status.OK, metrics={LARGEST_BATCH: (47.0,)})
    display(Ended(record, Progress(3, 4, 1.0)))
    assert "max 47" in text_of(display, screen)


def test_a_line_of_a_search_says_what_it_found():
    screen = console(terminal=False)
    cells = (cell("softmax", batch_size=LARGEST), cell("sdpa"))
    lines = PlainLines(jobs_of(cells, SUITE, "cpu", Path("images")), screen)
    record = Record(cells[0], Stage.FIT, Status.OK, metrics={LARGEST_BATCH: (47.0,)})
    lines(Ended(record, Progress(3, 4, None)))
    expected = "3/4 jobs  softmax batch_size=max  fit  ok  max 47"
    assert screen.file.getvalue().splitlines() == [expected]
