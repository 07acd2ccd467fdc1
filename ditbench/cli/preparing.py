"""From a command line to a plan: a fork server, the devices, the suite with what was set beside it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench import errors
from ditbench.cli import output

if TYPE_CHECKING:
    from ditbench.catalog import Catalog
    from ditbench.devices.device import Device
    from ditbench.plan import Plan
    from ditbench.records import Cell
    from ditbench.run.server import Server


# Axes whose values are plug-ins, in the order in which the catalogue takes those from outside.
_PLUGINS = ("attention", "model", "accelerator")


@dataclass(frozen=True)
class Choices:
    """What the command line adds to a suite."""

    suite: Path
    select: str = ""
    overrides: tuple[str, ...] = ()
    quick: bool = False
    gpu: str | None = None
    lock_clocks: str = ""


@contextmanager
def session_of(choices: Choices) -> Iterator[tuple[Server, tuple[Device, ...]]]:
    """A fork server, and the devices that were asked for; refused where the environment is not fit."""
    from ditbench import environment
    from ditbench.devices import clocks, device, nvml
    from ditbench.run.server import Server

    driver = nvml.load()
    chosen = device.choose_all(choices.gpu, driver, os.environ)
    here = environment.collect(chosen[0].kind, device.facts_of(chosen), os.environ)
    if refusals := environment.refusals(here):
        raise errors.UnfitError("; ".join(refusals))
    with clocks.locked(driver, chosen, choices.lock_clocks) as devices, Server() as server:
        yield server, devices


def catalog(
    methods: Iterable[str] = (),
    models: Iterable[str] = (),
    accelerators: Iterable[str] = (),
    extractors: Iterable[str] = (),
) -> Catalog:
    """What a suite may name, asked of a process that imports torch.

    methods, models, accelerators, extractors: names of which those from outside, `module:Class`, are looked
    up too, also in the working folder.
    """
    from ditbench.run.server import Server

    _find_in(Path.cwd())
    with Server() as server:
        return _catalog(server, methods, models, accelerators, extractors)


def _catalog(server: Server, *named: Iterable[str]) -> Catalog:
    outside = ([name for name in names if ":" in name] for names in named)
    found: Catalog = server.call("ditbench.measure.catalog:catalog", *outside)
    return found


def plan_of(choices: Choices, server: Server, device: Device, *, may_be_idle: bool = False) -> Plan:
    """The plan of a suite for a device.

    Raises SuiteError, and UsageError where nothing would run, unless it may be idle.
    """
    from ditbench import plan as planning
    from ditbench.suite import parse

    text = parse.read(choices.suite)
    _find_in(choices.suite.parent)
    overrides = _overrides(choices.overrides)
    outside = (_outside(text, str(choices.suite), overrides, axis) for axis in _PLUGINS)
    catalog = _catalog(server, *outside)
    suite = parse.parse(text, str(choices.suite), catalog, overrides, quick=choices.quick)
    if choices.quick:
        _check_quick(overrides)
        suite = planning.quick(suite)
    cells = planning.expand(suite)
    inspections = server.call(
        "ditbench.measure.catalog:inspect",
        cells,
        device.kind,
        planning.decoded_by(suite),
        device=device.name,
    )
    planned = planning.assemble(suite, cells, inspections, choices.select)
    if not may_be_idle:
        planning.check_runs(planned)
    return planned


def judged_plan_of(
    choices: Choices, server: Server, device: Device, *, may_be_idle: bool = False
) -> Plan:
    """As `plan_of`, of what will be judged too. Raises SuiteError where a figure cannot be had here.

    A network that is not installed, or a data set that cannot be read, shall not cost a night.
    """
    planned = plan_of(choices, server, device, may_be_idle=may_be_idle)
    suite = planned.suite
    if suite.quality.samples:
        asked = (suite.quality, suite.metrics, planned.runnable)
        lacking: list[str] = server.call("ditbench.measure.networks:lacking", *asked)
        if lacking:
            raise errors.SuiteError([f"{choices.suite}: {problem}" for problem in lacking])
        for told in server.call("ditbench.measure.networks:in_vain", *asked):
            output.warn(f"{choices.suite}: {told}")
    return planned


def _outside(text: str, path: str, overrides: Mapping[str, str], axis: str) -> list[str]:
    """What an axis names as `module:Class`, in the suite and beside it."""
    from ditbench.suite import parse

    told = [text, *([f"{axis}: [{overrides[axis]}\n]"] if axis in overrides else [])]
    return [name for part in told for name in parse.from_outside(part, path, axis)]


def _find_in(folder: Path) -> None:
    """Let `module:Class` name a file of a folder too, as a suite's own, after all that is installed.

    Every child takes this process's path over when it is forked.
    """
    found = str(folder.resolve())
    if found not in sys.path:
        sys.path.append(found)


def folder_of(to: Path | None, kind: Path, cell: Cell) -> Path:
    """The folder that was asked for, or a new one of its kind. Raises UsageError where none can be made."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    folder = to or kind / f"{stamp}-{cell.key}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise errors.UsageError(f"{folder}: cannot be written: {error.strerror}") from error
    return folder


def _overrides(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for axis, equals, _ in pairs:
        if not equals:
            raise errors.UsageError(f"--set {axis}: write --set axis=value or axis=v1,v2")
    axes = [axis.strip() for axis, _, _ in pairs]
    for axis in axes:
        if axes.count(axis) > 1:
            raise errors.UsageError(f"--set {axis} is given twice; write all values in one")
    return {axis: values for axis, (_, _, values) in zip(axes, pairs, strict=True)}


def _check_quick(overrides: Mapping[str, str]) -> None:
    """`--quick` says how often; what says otherwise beside it would be lost in silence."""
    lost = [axis for axis in overrides if axis.startswith("timing.") and axis != "timing.timeout_s"]
    if lost:
        raise errors.UsageError(f"--quick decides {lost[0]} itself: leave out one of the two")
