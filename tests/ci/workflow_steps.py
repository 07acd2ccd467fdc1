"""Steps of workflows and of actions, run as GitHub's runner does: bash, files for outputs, a context."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
ACTION = GITHUB / "actions" / "ditbench"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


def load(path: Path) -> dict[str, Any]:
    """All scalars as text, so that `on` is a key and a version no number."""
    return yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # noqa: S506 (makes text alone)


def jobs_of(plain: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Whatever has steps: the jobs of a workflow, or what an action runs."""
    return [plain["runs"]] if "runs" in plain else list(plain["jobs"].values())


def steps_of(plain: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [step for job in jobs_of(plain) for step in job["steps"]]


def filled(text: str, context: Mapping[str, str]) -> str:
    """Expressions as the context has them, each by its very words; a KeyError for any other."""
    return _EXPRESSION.sub(lambda found: context[found[1]], text)


@dataclass
class Runner:
    """A machine: a workspace, a folder of programs that come first, and what is in the environment."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place in (self.workspace, self.programs, self.folder / "temp"):
            place.mkdir(parents=True)

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    @property
    def summary(self) -> str:
        path = self.folder / "summary.md"
        return path.read_text() if path.exists() else ""

    def program(self, name: str, text: str) -> Path:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def start(self, step: Mapping[str, Any], context: Mapping[str, str]) -> subprocess.Popen[str]:
        """The step's `run:` begun; outputs.txt is its own."""
        script, outputs = self.folder / "step.sh", self.folder / "outputs.txt"
        script.write_text(filled(step["run"], context))
        outputs.write_text("")
        variables = {name: filled(value, context) for name, value in step.get("env", {}).items()}
        return subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.workspace,
            env={
                "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(self.folder),
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTION_PATH": str(ACTION),
                "GITHUB_OUTPUT": str(outputs),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
                "GITHUB_WORKSPACE": str(self.workspace),
                "RUNNER_TEMP": str(self.folder / "temp"),
                **self.environ,
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, step: Mapping[str, Any], context: Mapping[str, str]) -> tuple[int, str]:
        """Exit code and log of one step."""
        process = self.start(step, context)
        told, _ = process.communicate(timeout=600)
        return process.returncode, told

    def outputs(self) -> dict[str, str]:
        """What the last step said with `name=value`."""
        lines = (self.folder / "outputs.txt").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@dataclass(frozen=True)
class Ended:
    """A composite action after its last step."""

    code: int
    log: str
    outputs: dict[str, str]
    used: tuple[dict[str, str], ...]


def act(runner: Runner, given: Mapping[str, str]) -> Ended:
    """The action from its first step to its last, with these inputs; another's action is only noted."""
    plain = load(ACTION / "action.yml")
    inputs = {name: one.get("default", "") for name, one in plain["inputs"].items()} | dict(given)
    context = {f"inputs.{name}": value for name, value in inputs.items()}
    code, log, used = 0, [], []
    for step in plain["runs"]["steps"]:
        if code and step.get("if") != "${{ always() }}":
            continue
        if "uses" in step:
            used.append({name: filled(value, context) for name, value in step["with"].items()})
            continue
        ended, told = runner.run(step, context)
        code, log = code or ended, [*log, told]
        names = ("exit-code", "run", "report", "verdict") if step.get("id") else ()
        said = runner.outputs()
        context |= {f"steps.{step['id']}.outputs.{name}": said.get(name, "") for name in names}
    outputs = {name: filled(one["value"], context) for name, one in plain["outputs"].items()}
    return Ended(code, "".join(log), outputs, tuple(used))
