"""`run --confirm`: what moved beyond its gate, and only that, is measured side by side with its baseline.

Arm A is the code that the baseline was measured with: its commits of ditbench and of the suite's repository,
and its versions of packages. Arm B is what lies here. Where A is not to be had nothing is measured, and why
stands with every finding that moved.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench import arms, environment, errors
from ditbench.cli import output
from ditbench.cli.apart import Asked, Source, apart
from ditbench.cli.concluding import CONFIRMATION, given_for, judged
from ditbench.cli.pairing import AS_IT_IS
from ditbench.run.interrupts import InterruptedRunError

if TYPE_CHECKING:
    from ditbench.cli.preparing import Choices
    from ditbench.records import Cell
    from ditbench.store import Against, Run

MOST = 10


@dataclass(frozen=True)
class Confirmation:
    """What --confirm was told. most: so many cells, those that moved most. out, baselines: folders."""

    choices: Choices
    out: Path
    baselines: Path
    most: int = MOST


class _NotToBeHadError(Exception):
    """Why the code of a baseline cannot be measured again."""


def confirm_moved(asked: Confirmation, run: Run, against: Run | None, chosen: Against) -> None:
    """Measure the cells that moved into a session in the run's folder; what hinders that is kept there too.

    Raises StoreError, and InterruptedRunError, after which the session holds the turns that had ended.
    """
    from ditbench import compare as comparing
    from ditbench import store

    if against is None:
        output.warn("--confirm: there is nothing to compare with, and so nothing to confirm")
        return
    (run.folder / CONFIRMATION).unlink(missing_ok=True)  # of an earlier end of the same run
    (run.folder / store.CONFIRM).unlink(missing_ok=True)
    given = given_for(run, chosen, asked.out, asked.baselines)
    moved = comparing.flagged(judged(run, against, chosen, given))
    if not moved:
        output.warn(
            "--confirm: no time that a session measures moved beyond its gate: nothing is measured again"
        )
        return
    if why := _measured(asked, run, against, chosen, moved):
        output.warn(f"--confirm: {why}")
        store.write_hindrance(run.folder, chosen, why)


def _measured(
    asked: Confirmation, run: Run, against: Run, chosen: Against, moved: tuple[Cell, ...]
) -> str:
    """Why not every cell that moved was measured; empty where each was."""
    suite = asked.choices.suite
    try:
        cells = moved[: asked.most]
        base = base_of(run, against, chosen, suite, cells)
        output.warn(f"--confirm: {_counted(len(cells))} measured side by side with {chosen.whole}")
        if not (base.commits or base.packages):
            output.warn(
                "both arms are the same code and packages: what moved is the machine, or something that "
                "is not recorded, and no session tells which"
            )
        apart(
            Asked(
                asked.choices,
                base,
                Source(AS_IT_IS),
                run.folder / CONFIRMATION,
                tuple(cell.id for cell in cells),
            )
        )
    except _NotToBeHadError as error:
        return str(error)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted; run {run.id} is whole, and what moved in it is not confirmed"
        ) from None
    except errors.DitbenchError as error:
        return errors.one_line(str(error))
    left = len(moved) - len(cells)
    return (
        f"{_counted(left)} beyond the {asked.most} that moved most (--confirm-most)" if left else ""
    )


def _counted(cells: int) -> str:
    return "1 cell is" if cells == 1 else f"{cells} cells are"


def base_of(run: Run, against: Run, chosen: Against, suite: Path, cells: Iterable[Cell]) -> Source:
    """The baseline's code and packages as an arm of these cells. Raises _NotToBeHadError with the reason."""
    if environment.code_identity(suite) != dict(run.code):
        raise _NotToBeHadError("the code has changed since this run began: run it again")
    here = arms.Repository.of(Path(environment.__file__))
    mine = arms.Repository.of(suite)
    if stranger := _stranger(cells, mine):
        raise _NotToBeHadError(
            f"{stranger} lies in no repository of the suite, so that what it was then is not to be had"
        )
    then = dict(against.code)
    if here and mine and here.root == mine.root:  # a baseline of before the suite's commit was kept
        then.setdefault("suite_commit", then.get("commit"))
        then.setdefault("suite_dirty", then.get("dirty"))
    commits = _commit(here, then, run.code, "") | _commit(mine, then, run.code, "suite_")
    for root, commit in commits.items():
        _check(arms.Repository(root), commit, suite.resolve())
    before, now = (environment.packages(one.environment) for one in (against, run))
    other = [f"{name}=={version}" for name, version in before.items() if now.get(name) != version]
    return Source(chosen.whole, commits, tuple(other))


def _stranger(cells: Iterable[Cell], repository: arms.Repository | None) -> str:
    """The first `module:Class` among plug-ins of cells of which no commit tells; empty for none."""
    named = (one.name for cell in cells for one in (cell.model, cell.attention, cell.accelerator))
    return next((name for name in named if ":" in name and not _is_of(repository, name)), "")


def _is_of(repository: arms.Repository | None, name: str) -> bool:
    """Whether its module lies in a checkout, and is not just installed below it, as into .venv."""
    spec = importlib.util.find_spec(name.partition(":")[0].partition(".")[0])
    if repository is None or spec is None:
        return False
    places = (spec.origin, *(spec.submodule_search_locations or ()))
    paths = [Path(place).resolve() for place in places if place]
    return any(
        path.is_relative_to(repository.root) and not path.is_relative_to(sys.prefix)
        for path in paths
    )


def _commit(
    repository: arms.Repository | None,
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    prefix: str,
) -> dict[Path, str]:
    """The baseline's commit of a repository, by its checkout; nothing where what lies here is the same.

    prefix: of the names of its facts in a run's code.
    """
    whose = "the suite and its plug-ins" if prefix else "ditbench"
    before, after = (str(code.get(f"{prefix}commit") or "") for code in (then, now))
    if then.get(f"{prefix}dirty"):
        raise _NotToBeHadError(
            f"the baseline was measured with changes of {whose} that no commit has; set one of a commit"
        )
    if before == after and not now.get(f"{prefix}dirty"):
        same = prefix or before or then.get("version") == now.get("version")
        if same:
            return {}
        raise _NotToBeHadError(
            f"the baseline was measured by ditbench {then.get('version')}, which is not the one here and "
            "no checkout of it"
        )
    if not before:
        raise _NotToBeHadError(
            f"the baseline does not say which commit of {whose} it was; set it anew"
        )
    if repository is None or not after:
        raise _NotToBeHadError(
            f"the baseline is of commit {before[:12]} of {whose}, which lie in no repository here"
        )
    return {repository.root: before}


def _check(repository: arms.Repository, commit: str, suite: Path) -> None:
    """Whether a commit can be written out, with the suite where that is a file of it."""
    if not repository.has(commit):
        raise _NotToBeHadError(
            f"the baseline's commit {commit[:12]} is not in {repository.root}; "
            "`git fetch --unshallow`, or a fetch of its branch, brings it"
        )
    if suite.is_relative_to(repository.root):
        path = suite.relative_to(repository.root)
        if not repository.holds(commit, path):
            raise _NotToBeHadError(f"the baseline's commit {commit[:12]} has no {path}")
