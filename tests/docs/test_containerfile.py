"""The image cannot be built here; what can be read off its recipe is."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import ditbench

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGE = (ROOT / "docs/container.md").read_text()


def instructions():
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


RECIPE = instructions()


def given(name):
    return [rest for word, rest in RECIPE if word == name]


def settings(name):
    return dict(re.findall(r'([\w.]+)="?([^"\s]+)"?', " ".join(given(name))))


def is_sent(path):
    """Whether .dockerignore lets a path at the root through: the last rule that fits decides."""
    sent = True
    for rule in (ROOT / ".dockerignore").read_text().split("\n"):
        pattern = rule.removeprefix("!")
        if rule and not rule.startswith("#") and fnmatch(path, pattern):
            sent = rule.startswith("!")
    return sent


def test_every_word_is_an_instruction():
    known = {
        "FROM",
        "LABEL",
        "RUN",
        "WORKDIR",
        "COPY",
        "ENV",
        "VOLUME",
        "USER",
        "ENTRYPOINT",
        "CMD",
    }
    assert {word for word, _ in RECIPE} == known


@pytest.mark.parametrize("line", given("COPY"))
def test_what_it_copies_is_there_and_is_sent_to_the_builder(line):
    *sources, _ = line.split()
    for source in sources:
        assert (ROOT / source).exists()
        assert is_sent(source)


def test_what_is_built_or_measured_here_is_not_sent():
    assert not any(map(is_sent, (".git", ".venv", "results", "site", "tests", "docs")))


def test_the_package_has_what_its_build_reads():
    copied = " ".join(given("COPY")).split()
    assert {"pyproject.toml", PROJECT["readme"], "LICENSE", "constraints.txt"} <= set(copied)


def test_it_installs_the_pinned_set():
    (line,) = [line for line in given("RUN") if "pip install" in line]
    assert line.endswith("--constraint constraints.txt .")
    pinned = {
        pin.name.lower().replace("_", "-"): str(pin.specifier).removeprefix("==")
        for pin in map(
            Requirement, re.findall(r"^\w.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
        )
    }
    for needed in map(Requirement, PROJECT["dependencies"]):
        assert pinned[needed.name.lower().replace("_", "-")] in needed.specifier


def test_versions_agree():
    assert settings("LABEL")["org.opencontainers.image.version"] == ditbench.__version__
    assert settings("LABEL")["org.opencontainers.image.licenses"] == PROJECT["license"]
    python = re.fullmatch(r"docker\.io/library/python:([\d.]+)-slim", given("FROM")[0])[1]
    assert python in SpecifierSet(PROJECT["requires-python"])
    assert f'"{python}"' in (ROOT / ".github/workflows/ci.yml").read_text()


def test_it_runs_our_command_and_not_as_root():
    assert json.loads(given("ENTRYPOINT")[0]) == ["ditbench"]
    assert "ditbench" in PROJECT["scripts"]
    assert given("USER") == ["1000"]
    words = [word for word, _ in RECIPE]
    assert words.index("USER") > max(n for n, word in enumerate(words) if word in {"RUN", "COPY"})


def test_the_driver_brings_nvml():
    assert settings("ENV")["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"


def test_volumes_are_folders_that_any_user_may_write_to_and_are_on_the_page():
    (made,) = [line for line in given("RUN") if "install --directory --mode 1777" in line]
    for volume in json.loads(given("VOLUME")[0]):
        assert volume in made.split()
        assert volume in PAGE
    assert settings("ENV")["HF_HOME"] in json.loads(given("VOLUME")[0])


@pytest.mark.parametrize(
    "option", ["--gpus all", "--pid=host", "--ipc=host", "--user", "--file Containerfile"]
)
def test_the_page_says_why_each_option_is_there(option):
    assert option in PAGE
