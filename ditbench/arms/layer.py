"""The environment of an arm: all that this process can import, below what is the arm's own.

A virtual environment without packages, and one `.pth` file: first the folders of the arm's commits, then
every folder that this process imports from, but for those inside of a checkout that the arm has another
commit of. Those stand there as their counterparts, so that an editable install of the person's repository is
of the arm's commit too, and nothing of theirs is installed, moved or removed. What pip installs into it comes
before all of them.
"""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse

from ditbench.errors import UsageError, one_line

_PTH = "arm.pth"
# Between two requirements, and neither inside of `numpy>=2,<3` nor of `package[one,other]`.
_COMMA = re.compile(r",(?![^\[]*\])(?=\s*[^\s<>=!~])")
_UNREACHABLE = ("NewConnectionError", "ConnectTimeout", "ReadTimeout", "NameResolutionError")
_INSTALL_S = 3600.0


@dataclass(frozen=True)
class Layer:
    """An arm's interpreter. packages: what was installed for it alone, versions by name."""

    python: Path
    packages: Mapping[str, str]


def layer(folder: Path, trees: Mapping[Path, Path], wanted: Iterable[str] = ()) -> Layer:
    """An environment in a folder that is not there yet.

    trees: worktrees by the checkout that each is another commit of. wanted: requirements as pip reads them.
    Raises UsageError where they cannot be had.
    """
    venv.create(folder, symlinks=True)
    base = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", base))
    python = Path(sysconfig.get_path("scripts", "venv", base)) / "python"
    lines = [*_paths(trees), *_imports(trees)]
    (packages / _PTH).write_text("\n".join(dict.fromkeys(lines)) + "\n", encoding="utf-8")
    if asked := list(wanted):
        _install(python, asked)
    installed = metadata.distributions(path=[str(packages)])
    return Layer(python, {one.name: one.version for one in installed})


def requirements(text: str) -> tuple[str, ...]:
    """What `pip:` was given, one by one. Raises UsageError for what is no requirement but an option."""
    found = tuple(part.strip() for part in _COMMA.split(text))
    for one in found:
        if not one or one.startswith("-"):
            raise UsageError(f"pip:{text}: write requirements as pip:torch==2.12.0,numpy>=2")
    return found


def lacking(tree: Path, checkout: Path) -> tuple[str, ...]:
    """What a commit asks for otherwise than the checkout does, and this environment does not have.

    Dependencies of pyproject.toml, and pins of constraints.txt of what is installed here.
    """
    asked = _dependencies(tree) - _dependencies(checkout)
    pins = _lines(tree / "constraints.txt") - _lines(checkout / "constraints.txt")
    unmet = [one for one in sorted(asked) if not _met(one, absent=False)]
    moved = [one for one in sorted(pins) if not _met(one, absent=True)]
    return (*unmet, *moved)


def counterpart(path: Path, trees: Mapping[Path, Path]) -> Path | None:
    """The place in an arm's folders of a place in a checkout; None for a place in no such checkout."""
    for checkout, tree in trees.items():
        if path.is_relative_to(checkout):
            return tree / path.relative_to(checkout)
    return None


def environ() -> dict[str, str]:
    """The environment variables of an arm's process: these, but that its folders are those of its layer."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _paths(trees: Mapping[Path, Path]) -> Iterator[str]:
    """Folders to import from, the arm's own first."""
    own: list[Path] = []
    others: list[Path] = []
    for tree in trees.values():
        own += [tree, tree / "src"]
    for path in (Path(name).resolve() for name in sys.path):
        if path in _standard():
            continue
        # An environment that lies in a checkout, as .venv does, is no part of what git knows.
        there = None if path.is_relative_to(sys.prefix) else counterpart(path, trees)
        (own if there else others).append(there or path)
    for project, _ in _editable(trees):
        there = counterpart(project, trees)
        own += [there, there / "src"] if there else []
    return (str(path) for path in (*own, *others))


def _standard() -> set[Path]:
    """Where Python's own modules are: every interpreter has them by itself."""
    names = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    zipped = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    folders = {Path(name).resolve() for name in names}
    return (
        folders
        | {one / "lib-dynload" for one in folders}
        | {one.parent / zipped for one in folders}
    )


def _imports(trees: Mapping[Path, Path]) -> Iterator[str]:
    """What `.pth` files here do beside naming folders, but for those of what the arm has itself."""
    replaced = {name for _, names in _editable(trees) for name in names}
    for folder in (*site.getsitepackages(), *_of_the_user()):
        for file in sorted(Path(folder).glob("*.pth")):
            if file.name not in replaced:
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
                yield from (line for line in lines if line.startswith(("import ", "import\t")))


def _of_the_user() -> list[str]:
    return [site.getusersitepackages()] if site.ENABLE_USER_SITE else []


def _editable(trees: Mapping[Path, Path]) -> Iterator[tuple[Path, list[str]]]:
    """Projects in these checkouts that are installed from where they lie, and their `.pth` files."""
    for one in metadata.distributions():
        told = json.loads(one.read_text("direct_url.json") or "{}")
        place = Path(unquote(urlparse(told.get("url", "")).path)).resolve()
        if told.get("dir_info", {}).get("editable") and counterpart(place, trees):
            yield place, [file.name for file in one.files or () if file.suffix == ".pth"]


def _install(python: Path, wanted: Sequence[str]) -> None:
    """Raises UsageError with what pip says."""
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input", "--retries", "2")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *quiet, *wanted]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_INSTALL_S,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"pip:{','.join(wanted)}: not installed within an hour") from None
    if done.returncode:
        raise UsageError(f"pip:{','.join(wanted)}: {_why(done.stderr)}")


def _why(told: str) -> str:
    """The line of pip's that says why."""
    if "No module named pip" in told:
        return "this environment has no pip to install it with: `python -m ensurepip` brings it"
    if any(name in told for name in _UNREACHABLE):
        return "the package index cannot be reached: give the file of a wheel, or PIP_INDEX_URL"
    lines = [line for line in told.splitlines() if line.startswith("ERROR: ")] or ["ERROR: nothing"]
    return f"pip says: {one_line(lines[-1].removeprefix('ERROR: '))}"


def _dependencies(folder: Path) -> set[str]:
    """What a project says that it needs; nothing where it is none, or cannot be read."""
    try:
        plain = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        return set(map(str, plain["project"]["dependencies"]))
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _lines(file: Path) -> set[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return set()
    told = (line.partition("#")[0].strip() for line in text.splitlines())
    return {line for line in told if line and not line.startswith("-")}


def _met(text: str, *, absent: bool) -> bool:
    """Whether what is installed here meets a requirement. absent: whether what is not installed does."""
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 (seldom needed)

    try:
        asked = Requirement(text)
    except InvalidRequirement:
        return True  # pip's to judge, and nobody's to guess
    if asked.marker and not asked.marker.evaluate():
        return True
    try:
        return asked.specifier.contains(metadata.version(asked.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return absent
