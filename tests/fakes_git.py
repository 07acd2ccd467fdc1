"""Small repositories, and all that a person would mind if it changed in one of theirs."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

WHO = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *WHO, "-C", str(folder), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(folder: Path, **files: str) -> str:
    """Write files, `a__b_py` for a/b.py, and commit everything; the commit."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a change")
    return git(folder, "rev-parse", "HEAD")


def repository(folder: Path) -> Path:
    """Two commits of a suite, something stashed, a change that is not staged and a file nobody knows."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit(folder, suite_yaml="first", plug_py="WHICH = 'first'")
    (folder / "plug.py").write_text("WHICH = 'stashed'")
    git(folder, "stash")
    commit(folder, suite_yaml="second", plug_py="WHICH = 'second'")
    (folder / "plug.py").write_text("WHICH = 'changed'")
    (folder / "unknown.txt").write_text("mine")
    return folder


def traces(folder: Path) -> dict[str, str]:
    """Digests of the files, of the index, of HEAD, refs, reflogs and settings, and what git says of them."""
    names = ("HEAD", "ORIG_HEAD", "index", "packed-refs", "config", "refs/**/*", "logs/**/*")
    paths = {path for name in names for path in (folder / ".git").glob(name)}
    paths |= {path for path in folder.rglob("*") if ".git" not in path.relative_to(folder).parts}
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
        if path.is_file()
    }
    told = (("status", "--porcelain"), ("stash", "list"), ("worktree", "list", "--porcelain"))
    return found | {" ".join(words): git(folder, "--no-optional-locks", *words) for words in told}
