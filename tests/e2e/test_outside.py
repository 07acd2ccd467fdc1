"""Methods and models of other packages: the pages are followed, and the broken ones get one line each."""

from __future__ import annotations

import dataclasses
import json
import re
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
GOOD = '''
"""Softmax by another name."""
from dataclasses import dataclass
from typing import ClassVar
from ditbench.attention.softmax import Softmax

@dataclass(frozen=True)
class Good(Softmax):
    """Softmax by another name."""
    name: ClassVar[str] = "good"
'''


def another(name, more=""):
    """Softmax by one more name, with a mistake in it."""
    return GOOD.replace("Good", name.title()).replace('"good"', f'"{name}"') + more


# By module: the text, and what is said of it before anything runs; those without run into a gate.
BROKEN = {
    "unimportable": (
        "import nothing_of_that_name\n",
        "ModuleNotFoundError: No module named 'nothing_of_that_name'",
    ),
    "leaving": ("import sys\nsys.exit(7)\n", "SystemExit: 7"),
    "stranger": (
        "class Stranger: name = 'stranger'\n",
        "is no subclass of ditbench.attention.base.AttentionMethod",
    ),
    "keyless": (
        another("keyless", "    def attend(self, q, kv): return q\n"),
        "attend(q, kv) must be attend(q, k, v)",
    ),
    "misnamed": (
        another("other").replace("Other", "Misnamed"),
        "calls itself 'other', its entry point 'misnamed'",
    ),
    "raising": (
        another("raising", "    def unsupported(self, *_): return [][0]\n"),
        "unsupported raises IndexError: list index out of range",
    ),
    "priceless": (
        another("priceless", "    def macs(self, shape): return 1 // 0\n"),
        "macs raises ZeroDivisionError: integer division or modulo by zero",
    ),
    "closed": (another("closed", "    def open(self, site): raise OSError('shut')\n"), ""),
    "cheap": (another("cheap", "    def macs(self, shape): return 0\n"), ""),
    "half": (
        another(
            "half", "    def attend(self, q, k, v): return Softmax.attend(self, q, k, v).half()\n"
        ),
        "",
    ),
}
# A plug-in may print, and only a process made for it may import it: the command itself has no torch.
LOUD = 'import sys\nprint("loud and clear")\nassert "ditbench.cli" not in sys.modules\n'
LISTED = ("unimportable", "leaving", "stranger", "keyless", "misnamed")
RIVALS = """
[project]
name = "rivals"
version = "1.0"

[tool.setuptools]
packages = ["rivals"]

[project.entry-points."ditbench.attention"]
softmax = "rivals.good:Good"
"""


def project(folder, pyproject, package, modules):
    (folder / package).mkdir(parents=True)
    (folder / "pyproject.toml").write_text(pyproject)
    (folder / package / "__init__.py").touch()
    for name, text in modules.items():
        (folder / package / f"{name}.py").write_text(text)
    return str(folder)


def blocks(page):
    """The code on a page, by its language."""
    text = (DOCS / f"{page}.md").read_text()
    return dict(re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


METHOD, MODEL = blocks("add-a-method"), blocks("add-a-model")


@pytest.fixture(scope="module")
def outside(shell, tmp_path_factory):
    """A shell in an environment of its own that has all that this one has, and two packages more."""
    folder = tmp_path_factory.mktemp("outside")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    here = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    (packages / "here.pth").write_text("\n".join(here))
    points = "".join(f'{name} = "rivals.{name}:{name.title()}"\n' for name in BROKEN)
    texts = {"good": LOUD + another("softmax").replace("class Softmax", "class Good")}
    texts |= {name: text for name, (text, _) in BROKEN.items()}
    projects = (
        project(
            folder / "mine",
            METHOD["toml"] + MODEL["toml"],
            "my_package",
            {"pooled": METHOD["python"], "tiny": MODEL["python"]},
        ),
        project(folder / "rivals", RIVALS + points, "rivals", texts),
    )
    told = [
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--disable-pip-version-check",
    ]
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *told, *projects]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return dataclasses.replace(shell, python=str(python))


@pytest.fixture(scope="module")
def methods(outside):
    ended = outside("methods", "--json")
    assert ended.code == 0, ended.err
    return {method["name"]: method for method in json.loads(ended.out)}


def test_the_method_of_the_page_stands_beside_ours(methods):
    pooled = methods["pooled"]
    assert pooled["place"] == "my_package.pooled:Pooled"
    assert pooled["settings"][0]["name"] == "group"
    assert (pooled["broken"], pooled["unavailable"]) == ("", [])
    assert methods["softmax"]["place"] == "ditbench.attention.softmax:Softmax"


@pytest.mark.parametrize("name", LISTED)
def test_a_broken_one_is_listed_with_its_reason_and_stops_no_other(methods, name):
    told = f"rivals.{name}:{name.title()} of rivals cannot be used: {BROKEN[name][1]}"
    assert methods[name]["broken"] == told


def test_no_name_of_ours_can_be_taken(methods):
    assert "'softmax' is taken already" in methods["rivals.good:Good"]["broken"]


@pytest.fixture(scope="module")
def ran(outside):
    """The suite of one page on the model of the other, with every rival in it."""
    rivals = "".join(f"  - {name}\n" for name in (*BROKEN, "pooled", "rivals.good:Good"))
    text = METHOD["yaml"].replace("model: fashion-dit\nweights: embedded\n", "model: tiny\n")
    text = text.replace("steps: 4\n", f"{rivals}steps: 1\n")
    timing = "timing: {warmup: 0, warmup_cap_s: 0, repeats: 1, processes: 1}\n"
    ended = outside("run", outside.suite(text + timing))
    assert ended.code == 3, ended.err
    lines = (outside.run_folder() / "records.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_sound_ones_are_measured_beside_the_broken(ran):
    timed = {one["cell"]["attention"]["label"] for one in ran if one["stage"] == "time"}
    place = "my_package.pooled:Pooled"
    assert timed == {"softmax", "sdpa", "pooled", "rivals.good:Good", f"{place}[group=2]", place}
    assert {one["status"] for one in ran if one["stage"] == "time"} == {"ok"}


@pytest.mark.parametrize("name", [name for name, (_, told) in BROKEN.items() if told])
def test_what_can_be_told_before_is_one_line_of_the_plan(ran, name):
    (found,) = [one for one in ran if one["cell"]["attention"]["name"] == name]
    assert (found["stage"], found["status"]) == ("plan", "crashed")
    assert BROKEN[name][1] in found["reason"]
    assert "\n" not in found["reason"]


def test_what_only_shows_when_it_runs_is_refused_by_a_gate(ran):
    gates = {one["cell"]["attention"]["name"]: one for one in ran if one["stage"] == "gate"}
    assert "float16" in gates["half"]["reason"]
    assert "declares 0 multiply-adds" in gates["cheap"]["reason"]
    assert "OSError" in gates["closed"]["reason"]
    assert "shut" in gates["closed"]["reason"]
