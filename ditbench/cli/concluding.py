"""What a run is compared with, its pages and its verdict: when it ends, and when it is shown again."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench import errors

if TYPE_CHECKING:
    from ditbench.compare import Comparison, Given
    from ditbench.store import Against, Noise, Run, Session
    from ditbench.summary import Summary

# The session in a run's folder that its flagged cells are confirmed by.
CONFIRMATION = "confirm.session.jsonl"


def conclude(
    run: Run, against: Run | None, chosen: Against, given: Given, folder: Path
) -> tuple[Summary, Comparison, Path]:
    """Summarise, compare, write the pages into a folder, and the verdict where that is the run's own."""
    from ditbench import compare as comparing
    from ditbench import store, summary
    from ditbench.report.clocks import Beside
    from ditbench.report.render import render

    summed = summary.summarise(run)
    comparison = judged(run, against, chosen, given)
    page = render(run, summed, comparison, folder, Beside(against, given.session))
    if folder == run.folder:
        findings = comparing.findings_to_json(comparison)
        store.write_verdict(folder, findings, comparison.exit_codes, chosen)
    return summed, comparison, page


def judged(run: Run, against: Run | None, chosen: Against, given: Given) -> Comparison:
    """The comparison with all that is known beside the two."""
    from ditbench import compare as comparing

    return comparing.compare(run, against, chosen.called, required=chosen.required, given=given)


def given_for(run: Run, chosen: Against, out: Path, baselines: Path) -> Given:
    """What is known beside a run and its baseline: earlier nights, floors of noise, its own session.

    A session or floors that cannot be read are told on stderr, and the run is judged without them: a night
    is not lost for it.
    """
    from ditbench import compare as comparing
    from ditbench.summary import history

    nights = history.history(out, run)
    if nights.problems:
        left, first = len(nights.problems), nights.problems[0]
        _tell(f"earlier runs that cannot be read and are left out: {left}; the first, {first}")
    return comparing.Given(
        history=nights,
        noise=_noise(run, chosen, baselines),
        session=_session(run.folder / CONFIRMATION, chosen),
        hindrance=_hindrance(run.folder, chosen),
    )


def _noise(run: Run, chosen: Against, baselines: Path) -> Noise | None:
    """The floors beside the baseline, else those of the suite; none where they cannot be read."""
    from ditbench import store

    names = (Path(chosen.name).name.removesuffix(".jsonl"), store.slug(run.suite))
    try:
        found = store.noise_beside(filter(None, names), baselines, run.environment)
    except errors.StoreError as error:
        _tell(f"judged without measured floors of noise: {error}")
        return None
    return found[1] if found else None


def _session(path: Path, chosen: Against) -> Session | None:
    """The run's own session of two arms, finished or not, where arm A is what the run is compared with."""
    from ditbench import store

    if not path.is_file():
        return None
    try:
        found = store.session_read(path)
    except errors.StoreError as error:
        _tell(f"judged without the session that confirms: {error}")
        return None
    return found if found.arms[0].said == chosen.whole else None


def _hindrance(folder: Path, chosen: Against) -> str:
    """Why there is no such session, where one was wanted."""
    from ditbench import store

    try:
        return store.hindrance(folder, chosen)
    except errors.StoreError as error:
        _tell(str(error))
        return ""


def either(
    text: str, out: Path, baselines: Path, *, of: str = "", required: bool = False
) -> tuple[Run, Against]:
    """The baseline or the run of that name, and what to call it from now on.

    A run is called by its whole id, "latest" will be another one tomorrow; one that does not lie in `out`
    by its folder. of: the id of the run to compare. Raises UsageError where the run of that name is itself.
    """
    from ditbench import store
    from ditbench.registry import did_you_mean

    if (baselines / f"{text}.jsonl").exists() or text.endswith(".jsonl"):
        baseline = store.baseline_read(text, baselines)
        return baseline, store.Against(text, baseline.id, required)
    try:
        folder = store.find(out, text)
    except errors.StoreError as error:
        known = [path.stem for path in sorted(baselines.glob("*.jsonl"))]
        hint = did_you_mean(text, known) or (f" ({', '.join(known[:5])})" if known else "")
        raise errors.StoreError(
            f"{error}; nor a baseline of that name in {baselines}{hint}"
        ) from error
    run = store.read(folder)
    if run.id == of:
        raise errors.UsageError(
            f"{text}: is run {of} itself, which differs from itself in nothing; name another"
        )
    place = folder.resolve()
    listed = place.name == run.id and place.parent.parent == out.resolve()
    return run, store.Against(run.id if listed else str(place), run.id, required)


def asked_or_kept(run: Run, asked: str, out: Path, baselines: Path) -> tuple[Run | None, Against]:
    """What a report compares with: what is asked for, else what the run was concluded with."""
    from ditbench import store

    if asked == "none":
        return None, store.Against()
    if asked:
        against, chosen = either(asked, out, baselines, of=run.id)
        return against, dataclasses.replace(chosen, required=_required(run, chosen.name))
    kept = store.concluded_against(run.folder)
    if kept is None:
        return _guessed(run, out)
    if not kept.name:
        _tell(f"run {run.id} was compared with nothing; --baseline names something")
        return None, kept
    try:
        against, _ = either(kept.name, out, baselines)
    except errors.StoreError as error:
        raise errors.StoreError(
            f"run {run.id} was compared with {kept.called}, which is not to be had any more ({error}): "
            "name something else with --baseline, or --baseline none"
        ) from error
    if against.id != kept.run:
        _tell(f"{kept.called} was of run {kept.run} then, and is of run {against.id} now")
    return against, kept


def previous(run: Run, out: Path) -> Run | None:
    """The newest finished run before this one of the same suite and effort that planned at least its cells.

    Runs timed with another effort, such as --quick, differ by that alone.
    """
    from ditbench import store
    from ditbench.summary.history import effort

    for entry in store.runs(out):
        before = entry.suite == run.suite and entry.finished and entry.id < run.id
        if before and not entry.problem:
            earlier = store.read_head(entry.folder)
            planned = {cell.key for cell in earlier.planned}
            if effort(run) == effort(earlier) and planned >= {cell.key for cell in run.planned}:
                return store.read(entry.folder)
    return None


def _required(run: Run, name: str) -> bool:
    """Whether the run was told to compare with just this; a verdict that cannot be read says nothing."""
    from ditbench import store

    with contextlib.suppress(errors.StoreError):
        kept = store.concluded_against(run.folder)
        return kept is not None and kept.required and kept.name == name
    return False


def _guessed(run: Run, out: Path) -> tuple[Run | None, Against]:
    """A run that was cut off, or is of schema 1, does not say what it was compared with."""
    from ditbench import store

    against = previous(run, out)
    name = against.id if against else ""
    told = f"run {name}, the one before it" if name else "nothing, for there is none before it"
    _tell(f"run {run.id} does not say what it was compared with: compared with {told}")
    return against, store.Against(name, name)


def _tell(text: str) -> None:
    print(f"ditbench: {text}", file=sys.stderr)
