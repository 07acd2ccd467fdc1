"""A commit of a repository as a folder of its own. The checkout it came from is only ever read.

What git itself remembers of such a folder is one entry among its worktrees; that goes with the folder. An
entry whose session was killed goes when the next session begins, and no other is ever touched: `git worktree
prune` would forget those of people whose disk happens not to be mounted.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ditbench.arms.den import PREFIX, dead
from ditbench.errors import UsageError, one_line

# Set by git for its hooks: with them git would work on the checkout that a hook belongs to.
_OF_A_HOOK = (
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
)
_SLOW_S, _QUICK_S = 600.0, 60.0


@dataclass(frozen=True)
class Repository:
    """A checkout. root: its top folder, resolved."""

    root: Path

    @classmethod
    def of(cls, place: Path) -> Repository | None:
        """The repository that holds a file or folder; None where none does, or git is missing."""
        found = place.resolve()
        folder = found if found.is_dir() else found.parent
        answer = _git(folder, "rev-parse", "--show-toplevel")
        if answer.returncode == 0:
            return cls(Path(answer.stdout.strip()).resolve())
        if "not a git repository" in answer.stderr or not answer.stderr:
            return None
        raise UsageError(f"{folder}: git says: {_last(answer.stderr)}")

    def commit(self, revision: str) -> str:
        """The whole name of a commit. Raises UsageError where there is no such one here."""
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        answer = self._ask(*asked)
        if answer.returncode == 0:
            return answer.stdout.strip()
        raise UsageError(
            f"git:{revision}: no commit of that name in {self.root}{self._shallow()}; "
            "`git branch --all` and `git log` name them"
        )

    def has(self, commit: str) -> bool:
        """Whether a commit is here, with its files."""
        return self._ask("cat-file", "-e", f"{commit}^{{tree}}").returncode == 0

    def holds(self, commit: str, path: Path) -> bool:
        """Whether a commit has a file. path: relative to the root."""
        return self._ask("cat-file", "-e", f"{commit}:{path.as_posix()}").returncode == 0

    def text(self, commit: str, path: str) -> str:
        """A file as the commit has it, empty where it has none."""
        answer = self._ask("show", f"{commit}:{path}")
        return answer.stdout if answer.returncode == 0 else ""

    @property
    def changed(self) -> int:
        """How many files git knows that no commit has as they are."""
        answer = self._ask("status", "--porcelain", "--untracked-files=no")
        return len(answer.stdout.splitlines())

    def _shallow(self) -> str:
        answer = self._ask("rev-parse", "--is-shallow-repository")
        if answer.stdout.strip() != "true":
            return ""
        return ", a clone without its whole history (`git fetch --unshallow` brings it)"

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return _git(self.root, *words)

    def add(self, commit: str, folder: Path) -> None:
        """Write a commit's files into a folder that is not there yet. Raises UsageError."""
        because = f"ditbench ab on {platform.node()}"
        words = ("worktree", "add", "--detach", "--force", "--lock", "--reason", because)
        answer = _git(self.root, *words, str(folder), commit, seconds=_SLOW_S)
        if answer.returncode:
            raise UsageError(
                f"git:{commit[:12]}: git cannot write it out of {self.root}: {_last(answer.stderr)}"
            )

    def forget(self, folder: Path) -> None:
        """Remove a worktree that `add` made or began to make."""
        shutil.rmtree(folder, ignore_errors=True)  # of one that is torn git would say so, and stop
        self._ask("worktree", "remove", "--force", "--force", str(folder))

    def clear(self) -> None:
        """Forget the worktrees of sessions that were killed."""
        ours = self._made_here()
        for den in dead([folder.parent for folder in ours]):
            for folder in ours:
                if folder.parent == den:
                    self.forget(folder)
        for folder in ours:
            if not folder.parent.exists():
                self.forget(folder)

    def _made_here(self) -> list[Path]:
        """Worktrees that a session on this machine made: another's folders are not to be seen from here."""
        found = []
        listed = self._ask("worktree", "list", "--porcelain").stdout
        for entry in listed.split("\n\n"):
            facts = dict(line.partition(" ")[::2] for line in entry.splitlines())
            folder = Path(facts.get("worktree", ""))
            mine = facts.get("locked") == f"ditbench ab on {platform.node()}"
            if mine and folder.parent.name.startswith(PREFIX):
                found.append(folder)
        return found


@contextlib.contextmanager
def worktree(repository: Repository, commit: str, folder: Path) -> Iterator[Path]:
    """The commit's files in a folder until the end."""
    try:
        repository.add(commit, folder)
        yield folder
    finally:
        repository.forget(folder)


def _git(folder: Path, *words: str, seconds: float = _QUICK_S) -> subprocess.CompletedProcess[str]:
    """What git answers in a folder; no hook of the person's runs, and no file of theirs is refreshed."""
    environ = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    command = [
        "git",
        "--no-optional-locks",
        "-c",
        f"core.hooksPath={os.devnull}",
        "-C",
        str(folder),
    ]
    try:
        return subprocess.run(
            [*command, *words],
            env=environ | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:  # no git: nothing is a repository
        return subprocess.CompletedProcess(command, 127, "", "")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {seconds:g} s")


def _last(text: str) -> str:
    """The line of git's that says why: the last that is a fatal one, else the last."""
    lines = [line for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return one_line((fatal or lines or ["nothing"])[-1])
