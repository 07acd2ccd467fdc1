# ruff: noqa: E501 (one table of records)
"""What is fuzzed: each target takes one input the whole way and lets nothing through but our own errors."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fakes_runs import PROVISIONAL, cell, fake_run, gate, quality, record, searched, timed
from fence import fence
from suite.catalogs import CATALOG

from ditbench import compare, plan, store, summary
from ditbench.catalog import Inspection
from ditbench.cli import output
from ditbench.errors import UNPRINTABLE, DitbenchError
from ditbench.records import Stage, Status
from ditbench.report import render, view
from ditbench.store import reading, writing
from ditbench.store.seal import sealed
from ditbench.suite import parse

# Cells that one input may expand to: a large matrix is slow for an honest reason, and has its own test.
MOST_CELLS = 2000
_SUM = re.compile(rb'\{"sum": "[^"]*",')
# Of so many inputs one has its charts laid out.
_CHARTS_OF = 10

# What outside a worker and inside it is told beside the values.
_TOLD = {
    "phase_s": {"loading": 1.0, "timing": 2.0},
    "warmup": {"stable": False, "unmet": "drifts by 3 %", "cap_s": 60.0},
    "stopping": {"by": "most_repeats", "precision": 0.01, "unmet": None},
    "gpu_uuid": "GPU-1",
    "energy": {"joules": 3.0, "source": "counter", "disagreement": 0.2, "images": 4},
    "telemetry": {
        "device": "GPU-1", "samples": 9, "window_s": 1.0, "sm_clock": [1e9, 1.5e9, 1.6e9], "power": [80.0, 90.0, 99.0],
        "slowed": {"its power cap": 0.5}, "slowed_share": 0.5, "power_capped": 0.1, "foreign": ["python (7)"],
        "foreign_share": 0.1, "memory_of_others": 5, "others": 0.5, "throttled": 1,
    },
}  # fmt: skip
_EFFORT = {
    "timing": {"processes": 2, "repeats": 3},
    "quality": {"samples": 48},
    "metrics": ["latency", "macs", "psnr"],
}

GOOD = fake_run(
    gate(cell(), exact=True),
    gate(cell("monarch"), core=20e6, weights="5f2d"),
    *(
        replace(one, facts={**one.facts, **_TOLD})
        for one in timed(cell(), (0.11, 0.1, 0.1), (0.1, 0.1, 0.12))
    ),
    *timed(cell("monarch"), (0.05, 0.06, 0.05), (0.05, 0.05, 0.05)),
    *searched("sdpa"),
    quality(cell(), 0.0),
    quality(cell("monarch"), 0.1),
    record(
        cell("oom"),
        Stage.TIME,
        status=Status.OUT_OF_MEMORY,
        reason="out of memory",
        facts={"replicates_skipped": 2},
    ),
    record(cell("xformers"), Stage.PLAN, status=Status.UNSUPPORTED, reason="needs an NVIDIA GPU"),
    effort=_EFFORT,
)
HEAD = sealed(reading.head_to_json(GOOD)).encode()
with tempfile.TemporaryDirectory() as _root:
    store.baseline_set(GOOD, "one", Path(_root), PROVISIONAL)
    BASELINE = tuple((Path(_root) / "one.jsonl").read_bytes().splitlines())
LINES = tuple(sealed(writing.to_plain(one)).encode() for one in GOOD.records)


def suite(
    text: str, folder: Path, override: tuple[str, str] = ("steps", "1"), select: str = ""
) -> str:
    """Read, check, expand and plan a suite; what it came to."""
    path = folder / "suite.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with fence(folder), _only_our_errors() as told:
        read = parse.read(path)
        parse.from_outside(read, "suite.yaml", "attention")
        parse.from_outside(read, "suite.yaml", "model")
        made = parse.parse(read, "suite.yaml", CATALOG, dict([override]) if override[0] else {})
        cells = plan.expand(made)
        if len(cells) > MOST_CELLS:
            return "large"
        planned = plan.assemble(
            made, cells, [Inspection(one.key, (), 10.0, 5.0, 3) for one in cells], select
        )
        guess = plan.estimate(planned, {}, plan.Machine(1e9, 2**34))
        strict(plan.to_json(planned))
        _silently(lambda: output.show_plan(planned, guess))
    return told[0] if told else "a plan"


def records(data: bytes, folder: Path, head: bytes = HEAD) -> str:
    """Read a run with these bytes as records, judge it, show it, lay out its page, go on with it."""
    run = folder / "results" / "suite" / "20261121-100000-1f2e"
    _fresh(run)
    (run / reading.HEAD).write_bytes(head)
    (run / reading.RECORDS).write_bytes(data)
    with fence(folder), _only_our_errors() as told:
        strict(store.entries_to_json(store.runs(folder / "results")))
        found = store.read(store.find(folder / "results", "latest"))
        _judge(found, draw=zlib.crc32(data) % _CHARTS_OF == 0)
        with contextlib.suppress(DitbenchError):
            store.baseline_set(found, "fuzzed", folder / "baselines", PROVISIONAL)
        writing.RunWriter.resume(run).close()
    return told[0] if told else f"{len(found.records)} records"


def baseline(data: bytes, folder: Path) -> str:
    """Read a baseline of these bytes, list it, and compare a healthy run with it, both ways."""
    root = folder / "baselines"
    _fresh(root)
    (root / "one.jsonl").write_bytes(data)
    with fence(folder), _only_our_errors() as told:
        strict([one.problem for one in store.baseline_list(root)])
        found = store.baseline_read("one", root)
        _judge(found, draw=zlib.crc32(data) % _CHARTS_OF == 0)
    return told[0] if told else f"{len(found.records)} records"


def records_of_any_sum(data: bytes, folder: Path) -> str:
    """`records`, with the checksums made anew: bytes that are tried at random never have the right one."""
    return records(b"\n".join(map(_summed, data.split(b"\n"))), folder)


def baseline_of_any_sum(data: bytes, folder: Path) -> str:
    """`baseline`, likewise."""
    return baseline(b"\n".join(map(_summed, data.split(b"\n"))), folder)


def _summed(line: bytes) -> bytes:
    """A line that begins as ours do, with the sum of what follows."""
    if not (begin := _SUM.match(line)):
        return line
    rest = line[begin.end() :]
    return b'{"sum": "%08x",%b' % (zlib.crc32(rest, zlib.crc32(b"{")), rest)


def report(data: bytes, folder: Path) -> str:
    """Write the whole report of a run with these bytes as records, drawings included."""
    run = folder / "results" / "suite" / "20261121-100000-1f2e"
    _fresh(run)
    (run / reading.HEAD).write_bytes(HEAD)
    (run / reading.RECORDS).write_bytes(data)
    with fence(folder, 30), _only_our_errors() as told:
        found = store.read(run)
        render.render(found, summary.summarise(found), compare.compare(found, GOOD, "x"), run)
    return told[0] if told else "a report"


def strict(objects: object) -> None:
    """What `--json` prints is JSON by the letter: no NaN, no infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        output.as_json(objects)
    out.getvalue().encode()
    json.loads(out.getvalue(), parse_constant=refuse)


def _judge(found: store.Run, *, draw: bool) -> None:
    """Everything that reads a run: figures, verdicts both ways, the table and the page."""
    summed = summary.summarise(found)
    strict(summary.rows_to_json(summed))
    strict(summary.claims_to_json(summed))
    for run, against in ((GOOD, found), (found, GOOD)):
        judged = compare.compare(run, against, "x", required=True)
        strict(compare.findings_to_json(judged))
    _silently(lambda: output.show_summary(found, summed, judged))
    _silently(lambda: output.show_findings(judged))
    with contextlib.nullcontext() if draw else _no_charts():
        view.page(found, summed, judged)


@contextlib.contextmanager
def _no_charts() -> Iterator[None]:
    """Altair takes five times as long as all the rest."""
    before = view.figures
    view.figures = lambda *_: ()
    try:
        yield
    finally:
        view.figures = before


@contextlib.contextmanager
def _only_our_errors() -> Iterator[list[str]]:
    told: list[str] = []
    try:
        yield told
    except DitbenchError as error:
        lines = str(error).splitlines()
        if not lines or not all(map(str.strip, lines)) or any(map(UNPRINTABLE.search, lines)):
            raise AssertionError(f"a person is told {str(error)!r}") from error
        told.append(lines[0])


def _silently(show) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        show()
    out.getvalue().encode()


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
