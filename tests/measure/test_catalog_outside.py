"""What another package's model does wrong is told of it in one line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from ditbench.measure.catalog import catalog

PAGE = Path(__file__).parents[2] / "docs" / "add-a-model.md"
(TINY,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
PRESETS = "    @classmethod\n    def presets(cls):\n        return {}[0]\n\n"


@pytest.fixture
def found(tmp_path, monkeypatch):
    """What is known of a model in a module of this text, named by its place."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def found(text, name="outside_tiny:Tiny"):
        (tmp_path / "outside_tiny.py").write_text(text)
        return catalog(outside_models=[name])

    yield found
    sys.modules.pop("outside_tiny", None)


def test_the_model_of_the_page_is_known_by_its_place(found):
    model = found(TINY).models["outside_tiny:Tiny"]
    assert model.broken == ""
    assert [setting.name for setting in model.settings] == ["depth", "width", "size"]
    assert model.attention == "2 self (64 tokens)"


@pytest.mark.parametrize(
    ("now", "then", "told"),
    [
        (
            "import torch\n",
            "import nothing_of_that_name\n",
            "No module named 'nothing_of_that_name'",
        ),
        ("    depth: int", "    blocks: int", "has no setting `depth`, its number of blocks"),
        ("def null(self, conditions)", "def null(self)", "null() must be null(conditions)"),
        ('paper: ClassVar[str] = "none"', 'paper: ClassVar[str] = ""', "says no paper"),
        ("range(self.depth)\n", "range(1 // 0)\n", "ZeroDivisionError"),
        ("size: int = setting(8, least=2)", "size: list = ()", "setting 'size' is neither int"),
        ("    def problems(self):", f"{PRESETS}    def problems(self):", "KeyError: 0"),
    ],
    ids=["import", "depth", "signature", "paper", "sites", "setting", "presets"],
)
def test_a_broken_model_is_one_line(found, now, then, told):
    assert now in TINY
    model = found(TINY.replace(now, then)).models["outside_tiny:Tiny"]
    assert told in model.broken
    assert "outside_tiny:Tiny" in model.broken
    assert "\n" not in model.broken
    assert model.settings == ()


def test_a_slip_in_its_place_is_told(found):
    nowhere = found(TINY, "outside_tiny:Tny").nowhere
    (told,) = nowhere.values()
    assert told.endswith("there is no 'Tny' in outside_tiny (did you mean 'Tiny'?)")
