"""Methods of other packages: found by entry point, refused one by one, each with one line."""

from __future__ import annotations

import json

import pytest

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
CHEAP = (
    GOOD.replace("Good", "Cheap").replace('"good"', '"cheap"')
    + """
    def macs(self, shape):
        return 0
"""
)
HALF = (
    GOOD.replace("Good", "Half").replace('"good"', '"half"')
    + """
    def attend(self, q, k, v):
        return super().attend(q, k, v).half()
"""
)
SIGNATURE = (
    GOOD.replace("Good", "Keyless").replace('"good"', '"keyless"')
    + """
    def attend(self, q, kv):
        return q
"""
)
PAPERLESS = """
from dataclasses import dataclass
from typing import ClassVar
from ditbench.attention.base import AttentionMethod

@dataclass
class Paperless(AttentionMethod):
    name: ClassVar[str] = "paperless"
    cost: ClassVar[str] = "0"

    def attend(self, q, k, v):
        return v
"""
IMPOSTOR = GOOD.replace("Good", "Impostor").replace('"good"', '"softmax"')
MODULES = {
    "good": GOOD,
    "cheap": CHEAP,
    "half": HALF,
    "keyless": SIGNATURE,
    "paperless": PAPERLESS,
    "stranger": "class Stranger: name = 'stranger'\n",
    "broken": "import nothing_of_that_name\n",
}  # fmt: skip
REASONS = {
    "keyless": "attend(q, kv) must be attend(q, k, v)",
    "paperless": "says no paper; says no formula; does not define macs; is no frozen dataclass",
    "stranger": "is no subclass of ditbench.attention.base.AttentionMethod",
    "broken": "ModuleNotFoundError: No module named 'nothing_of_that_name'",
}
SUITE = """
name: outside
model: TINY
attention: [softmax, METHODS]
steps: 2
timing: {warmup: 0, warmup_cap_s: 0, repeats: 1, processes: 1}
metrics: [latency, macs]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder as pip leaves it: the package, and what it says of itself."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "rivals").mkdir()
    (folder / "rivals" / "__init__.py").touch()
    for name, text in MODULES.items():
        (folder / "rivals" / f"{name}.py").write_text(text)
    (folder / "rivals" / "impostor.py").write_text(IMPOSTOR)
    about = folder / "rivals-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rivals\nVersion: 1.0\n")
    points = "".join(f"{name} = rivals.{name}:{name.title()}\n" for name in MODULES)
    # One that takes a name of ours is a name it may not have.
    (about / "entry_points.txt").write_text(
        f"[ditbench.attention]\n{points}softmax = rivals.impostor:Impostor\n"
    )
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def methods(shell, installed):
    ended = shell("methods", "--json", **installed)
    assert ended.code == 0, ended.err
    return {method["name"]: method for method in json.loads(ended.out)}


def test_a_sound_one_stands_beside_ours_and_takes_no_name_that_is_taken(methods):
    assert methods["good"]["unavailable"] == []
    assert methods["softmax"]["unavailable"] == []
    (reason,) = methods["rivals.impostor:Impostor"]["unavailable"]
    assert "'softmax' is taken already" in reason


@pytest.mark.parametrize("name", REASONS)
def test_a_broken_one_is_listed_with_its_reason_and_stops_no_other(methods, name):
    (reason,) = methods[name]["unavailable"]
    assert REASONS[name] in reason
    assert f"rivals.{name}:{name.title()} of rivals cannot be used" in reason


@pytest.mark.parametrize("name", ["broken", "rivals.keyless:Keyless"])
def test_a_suite_that_names_a_broken_one_is_told_in_one_line(shell, installed, name):
    ended = shell("plan", shell.suite(SUITE.replace("METHODS", name)), **installed)
    assert ended.code == 2
    assert name in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_what_only_shows_when_it_runs_is_refused_by_a_gate(shell, installed):
    (shell.folder / "seeds").mkdir()
    (shell.folder / "seeds" / "beside.py").write_text(GOOD)  # a file in the suite's own folder
    text = SUITE.replace("METHODS", "good, cheap, half, 'beside:Good'")
    ended = shell("run", shell.suite(text, "seeds/suite.yaml"), **installed)
    assert ended.code == 3, ended.err
    lines = (shell.run_folder() / "records.jsonl").read_text().splitlines()
    gates = {
        record["cell"]["attention"]["name"]: (record["status"], record["reason"])
        for record in map(json.loads, lines)
        if record["stage"] == "gate"
    }
    assert {name for name, (status, _) in gates.items() if status == "ok"} == {
        "softmax",
        "good",
        "beside:Good",
    }
    assert "float16" in gates["half"][1]
    assert "declares 0" in gates["cheap"][1] or "0 multiply-adds" in gates["cheap"][1]
