"""An arm's environment: all that is installed here, below what is the arm's own."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ditbench import arms
from ditbench.errors import UsageError


def imported(layer: arms.Layer, *modules: str, cwd: Path) -> list[str]:
    """Where an arm's interpreter finds modules."""
    names = ", ".join(modules)
    code = f"import json, {names}\nprint(json.dumps([one.__file__ for one in ({names},)]))"
    done = subprocess.run(
        [str(layer.python), "-c", code],
        env=arms.environ(),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A person's checkout, from which this process imports, in a `src` too; `leftover` is new since."""
    folder = tmp_path / "checkout"
    for place, name in ((folder, "plug"), (folder / "src", "inner"), (folder, "leftover")):
        place.mkdir(exist_ok=True)
        (place / f"{name}.py").touch()
    monkeypatch.setattr(sys, "path", [str(folder), str(folder / "src"), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def tree(tmp_path) -> Path:
    folder = tmp_path / "tree"
    (folder / "src").mkdir(parents=True)
    (folder / "plug.py").touch()
    (folder / "src" / "inner.py").touch()
    return folder


def test_what_lies_in_the_checkout_is_the_commits_and_all_else_is_shared(checkout, tree, tmp_path):
    layer = arms.layer(tmp_path / "env", {checkout: tree})
    found = imported(layer, "plug", "inner", "yaml", cwd=tmp_path)
    import yaml

    assert found == [str(tree / "plug.py"), str(tree / "src" / "inner.py"), yaml.__file__]
    assert layer.packages == {}


def test_nothing_of_the_checkout_shows_through(checkout, tree, tmp_path):
    layer = arms.layer(tmp_path / "env", {checkout: tree})
    code = "import leftover"
    done = subprocess.run(
        [str(layer.python), "-c", code], env=arms.environ(), cwd=tmp_path, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert "No module named 'leftover'" in done.stderr


def test_an_environment_inside_of_the_checkout_is_no_part_of_it(tree, tmp_path):
    layer = arms.layer(tmp_path / "env", {Path(sys.prefix).parent.resolve(): tree})
    import yaml

    assert imported(layer, "yaml", cwd=tmp_path) == [yaml.__file__]


def wheel(folder: Path, name: str, version: str) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", f"VERSION = {version!r}")
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return path


def test_what_is_installed_for_an_arm_is_the_arms_alone(tmp_path):
    made = wheel(tmp_path, "yaml", "99.0")  # of the name of something that is here already
    layer = arms.layer(tmp_path / "env", {}, [str(made)])
    assert layer.packages == {"yaml": "99.0"}
    (found,) = imported(layer, "yaml", cwd=tmp_path)
    assert Path(found).is_relative_to(tmp_path / "env")
    import yaml

    assert yaml.__file__ != found


def test_no_network_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(UsageError, match=r"^pip:no-such-thing==1: the package index cannot be"):
        arms.layer(tmp_path / "env", {}, ["no-such-thing==1"])


def test_what_cannot_be_installed_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"^pip:.*no-such.whl: pip says: .*no-such.whl"):
        arms.layer(tmp_path / "env", {}, [str(tmp_path / "no-such.whl")])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("torch==2.12.0", ("torch==2.12.0",)),
        ("torch==2.12.0, numpy", ("torch==2.12.0", "numpy")),
        ("numpy>=2,<3,scipy", ("numpy>=2,<3", "scipy")),
        ("thing[one,other]==1,./a.whl", ("thing[one,other]==1", "./a.whl")),
    ],
)
def test_requirements_are_told_apart(text, parts):
    assert arms.requirements(text) == parts


@pytest.mark.parametrize("text", ["", "--index-url=x", "numpy,,scipy", "numpy,-e."])
def test_what_is_no_requirement_is_one_line(text):
    with pytest.raises(UsageError, match="write requirements as"):
        arms.requirements(text)


PROJECT = "[project]\nname = 'plug'\ndependencies = [{}]\n"


def test_only_what_a_commit_asks_for_otherwise_and_is_not_here_is_lacking(tmp_path):
    import yaml

    here, tree = tmp_path / "here", tmp_path / "tree"
    for folder in (here, tree):
        folder.mkdir()
    (here / "pyproject.toml").write_text(PROJECT.format("'pyyaml'"))
    asked = "'pyyaml>=5', 'numpy>999', 'no-such-thing', 'other; python_version < \"3\"'"
    (tree / "pyproject.toml").write_text(PROJECT.format(asked))
    (here / "constraints.txt").write_text("pyyaml==6\nscipy==1\n")
    (tree / "constraints.txt").write_text(
        f"pyyaml=={yaml.__version__}\nscipy==1\nnumpy==1.0  # older\nnobody-has-it==1\n"
    )
    assert arms.lacking(tree, here) == ("no-such-thing", "numpy>999", "numpy==1.0")
    assert arms.lacking(tree, tree) == ()
