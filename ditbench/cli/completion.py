"""What a shell may put in where Tab is pressed: found by looking at names on disk, without torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import typer

RESULTS = Path("results")
BASELINES = Path("baselines")
# What `ditbench.export` writes; that the two agree is tested, for its import takes a while.
FORMATS = ("gha", "gha-bigger", "csv", "parquet", "junit", "json")


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of runs, newest first, and `latest`."""
    folder = Path(ctx.params.get("out") or RESULTS)
    found = sorted((path.parent.name for path in _glob(folder, "*/*/run.json")), reverse=True)
    return _beginning([*found, "latest"], incomplete)


def baselines(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of stored baselines."""
    folder = Path(ctx.params.get("baselines") or BASELINES)
    return _beginning(sorted(path.stem for path in _glob(folder, "*.jsonl")), incomplete)


def baselines_and_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Either, as the verbs that compare take."""
    return baselines(ctx, incomplete) + runs(ctx, incomplete)


def yaml_files(incomplete: str) -> list[str]:
    """Suites below the folder that is written so far; a folder ends with a slash."""
    written = Path(incomplete)
    folder = written if incomplete.endswith("/") else written.parent
    folders = [str(path) + "/" for path in _glob(folder, "[!.]*/")]
    files = [
        str(path) for pattern in ("[!.]*.yaml", "[!.]*.yml") for path in _glob(folder, pattern)
    ]
    return _beginning([*files, *folders], incomplete)


def methods(incomplete: str) -> list[str]:
    """The last name of a list with commas."""
    names = {name.replace("_", "-") for name in _plugins("attention")}
    listed, comma, last = incomplete.rpartition(",")
    return [f"{listed}{comma}{name}" for name in _beginning(sorted(names), last)]


def accelerators(incomplete: str) -> list[str]:
    """Caches around the attention."""
    names = {name.replace("_", "-") for name in _plugins("accelerators")}
    return _beginning(sorted(names), incomplete)


def extractors(incomplete: str) -> list[str]:
    """Networks that judge pictures."""
    return _beginning(sorted(_plugins("extractors")), incomplete)


def _plugins(folder: str) -> set[str]:
    """Our files, which are called as their plug-ins are, and the names that other packages tell."""
    from importlib.metadata import entry_points

    files = (Path(__file__).parents[1] / folder).glob("[!_]*.py")
    ours = {path.stem for path in files if "\n@register" in path.read_text()}
    return ours | {point.name for point in entry_points(group=f"ditbench.{folder}")}


def formats(incomplete: str) -> list[str]:
    """What a run may be exported as."""
    return _beginning(FORMATS, incomplete)


def axes(incomplete: str) -> list[str]:
    """What `--set` may replace, with the sign of equality."""
    from ditbench.catalog import Catalog
    from ditbench.suite.parse import settable_axes

    language = Catalog(methods={}, models={})
    return _beginning([f"{axis}=" for axis in settable_axes(language)], incomplete)


def _glob(folder: Path, pattern: str) -> list[Path]:
    """What is there, in order; nothing where nobody may look."""
    try:
        return sorted(folder.glob(pattern))
    except (OSError, ValueError):
        return []


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
