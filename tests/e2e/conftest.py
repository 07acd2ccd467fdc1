"""A command as a person types it, in a folder of its own."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from at_rest import first_in_line

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a command does takes the start of its processes."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


TINY = "{name: dit, hidden: 32, depth: 2, heads: 2, size: 8, channels: 1, out_channels: 1, classes: 10}"
ENVIRON = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


class Warm:
    """A process that runs one command after another (`warm.py`), which saves each the import of torch."""

    def __init__(self, folder: Path) -> None:
        self.outputs = folder / "out", folder / "err"
        self.answers, theirs = os.pipe()
        out, err = (path.open("ab") for path in self.outputs)
        with out, err:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "warm.py"), str(theirs)],
                env=ENVIRON,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                pass_fds=(theirs,),
                text=True,
            )
        os.close(theirs)

    def run(self, folder: Path, arguments: tuple[str, ...], timeout: float) -> Ended:
        self.process.stdin.write(json.dumps([str(folder), arguments]) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.answers], [], [], timeout)
        code = os.read(self.answers, 16) if ready else b""
        out, err = (path.read_text() for path in self.outputs)
        assert code, f"no answer to {arguments}: {err}"
        return Ended(int(code), out, err)

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.answers)


@dataclass(frozen=True)
class Shell:
    """Calling it is one command in a process of its own; `again` is one more in a process that is there."""

    folder: Path
    warm: Warm
    python: str = sys.executable

    def __call__(
        self, *arguments: str, timeout: float = 300, first: bool = False, **environ: str
    ) -> Ended:
        """first: before what else runs here, for a command that judges times."""
        done = subprocess.run(
            [self.python, "-m", "ditbench", *arguments],
            cwd=self.folder,
            env={**ENVIRON, **environ},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            preexec_fn=first_in_line if first else None,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def again(self, *arguments: str, timeout: float = 300) -> Ended:
        return self.warm.run(self.folder, arguments, timeout)

    def suite(self, text: str, name: str = "suite.yaml") -> str:
        (self.folder / name).write_text(text.replace("TINY", TINY))
        return name

    def run_folder(self) -> Path:
        """The newest run's folder."""
        return max(
            self.folder.glob("results/*/*/run.json"), key=lambda path: path.parent.name
        ).parent


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    warm = Warm(tmp_path_factory.mktemp("warm"))
    yield warm
    warm.close()


@pytest.fixture(scope="module")
def shell(tmp_path_factory, warm) -> Shell:
    return Shell(tmp_path_factory.mktemp("home"), warm)
