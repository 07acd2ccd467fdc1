"""The documentation says what the code does, and its links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import tomllib
import unicodedata
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from ditbench import errors, machine
from ditbench.cli import app
from ditbench.cli.tree import tree

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TEXTS = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("reports/*.md")])
OURS = [path for path in TEXTS if DOCS in path.parents]
ROOT_VERBS = tree(app).commands
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(path):
    return path.relative_to(ROOT).as_posix()


every_text = pytest.mark.parametrize("path", TEXTS, ids=name)


def prose(text):
    """Without code: what looks like a link there is none."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path):
    """The ids that MkDocs gives to the headings of a page."""
    found = set()
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6} (.+?)\s*#*$", text, flags=re.MULTILINE):
        plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
        slug = re.sub(r"[^\w\s-]", "", plain).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", slug))
    return found


def problem(source, link):
    """Why a link leads nowhere, or nothing."""
    parts = urlsplit(link)
    if parts.scheme:
        good = parts.scheme == "mailto" or (parts.scheme in {"http", "https"} and parts.hostname)
        return "" if good else "no address"
    target = (source.parent / parts.path).resolve() if parts.path else source
    if not target.exists():
        return "no such file"
    if DOCS in source.parents and DOCS not in target.parents:
        return "leads out of docs/, which MkDocs cannot follow"
    if parts.fragment and parts.fragment not in anchors(target):
        return f"no heading #{parts.fragment}"
    return ""


@every_text
def test_every_link_leads_somewhere(path):
    links = LINK.findall(prose(path.read_text()))
    told = {link: problem(path, link) for link in links}
    assert {link: why for link, why in told.items() if why} == {}


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("glossary.md", ""),
        ("https://example.org/x", ""),
        ("adr/0007-a-list-is-an-axis.md", ""),
        ("verbs.md#ditbench-run", ""),
        ("verbs.md#ditbench-fly", "no heading #ditbench-fly"),
        ("nothing.md", "no such file"),
        ("../README.md", "leads out of docs/, which MkDocs cannot follow"),
        ("https://", "no address"),
        ("hppt://example.org", "no address"),
    ],
)
def test_a_broken_link_would_be_seen(link, why):
    assert problem(DOCS / "index.md", link) == why


def made_by():
    spec = importlib.util.spec_from_file_location("pages", DOCS / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = made_by()


@pytest.mark.parametrize(("page", "made"), PAGES.PAGES.items(), ids=PAGES.PAGES)
def test_a_page_that_is_made_from_the_code_is_up_to_date(page, made):
    assert (DOCS / page).read_text() == made(), "run: python docs/pages.py"


def test_how_a_verb_is_used_is_written_without_braces():
    used = [line for line in PAGES.verbs().splitlines() if line.startswith("    ditbench")]
    assert "    ditbench merge RUN... [OPTIONS]" in used
    assert not [line for line in used if "{" in line or "}" in line]


def cells(row):
    return len(re.findall(r"(?<!\\)\|", row)) - 1


def broken_rows(text):
    """Rows of tables that a line too early ends, or that have another number of cells than their head."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    tables = re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE)
    rows = [(table.splitlines()[0], row) for table in tables for row in table.splitlines()]
    return [row for head, row in rows if not row.endswith("|") or cells(row) != cells(head)]


@every_text
def test_every_row_of_a_table_is_whole(path):
    assert broken_rows(path.read_text()) == []


def test_a_broken_row_would_be_seen():
    head = "| a | b |\n| --- | --- |\n"
    assert broken_rows(f"{head}| 1 | `2\\|3` |\n") == []
    assert broken_rows(f"{head}| 1 | a line.\n\nAnd more. |\n") == ["| 1 | a line."]
    assert broken_rows(f"{head}| 1 | 2 | 3 |\n") == ["| 1 | 2 | 3 |"]


def test_every_page_is_in_the_navigation():
    def leaves(entry):
        if isinstance(entry, str):
            return [entry]
        inner = entry.values() if isinstance(entry, dict) else entry
        return [leaf for one in inner for leaf in leaves(one)]

    config = PAGES.on_config(yaml.safe_load((ROOT / "mkdocs.yml").read_text()))
    assert sorted(leaves(config["nav"])) == sorted(
        path.relative_to(DOCS).as_posix() for path in OURS
    )


def test_the_floors_of_the_house_are_those_that_the_linter_holds():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (floors,) = [one["layers"] for one in contracts["contracts"] if one["type"] == "layers"]
    rows = re.findall(
        r"^\| \d+ \| ([^|]+) \|", (DOCS / "architecture.md").read_text(), re.MULTILINE
    )
    drawn = [re.findall(r"`(\w+)`", row) for row in rows]
    assert drawn == [re.findall(r"ditbench\.(\w+)", floor) for floor in floors]


@every_text
def test_every_verb_that_is_named_exists(path):
    if path.name == "CHANGELOG.md":  # it tells of the past too
        return
    text = path.read_text()
    named = set(re.findall(r"(?:`|^ {4}|bin/)ditbench ([a-z]+)\b", text, flags=re.MULTILINE))
    assert named - set(ROOT_VERBS) == set()


@every_text
def test_examples_in_yaml_are_yaml(path):
    for language, text in FENCE.findall(path.read_text()):
        if language == "yaml":
            assert yaml.safe_load(text)


def test_every_exit_code_is_explained():
    rows = re.findall(r"^\| (\d+) \|", (DOCS / "exit-codes.md").read_text(), flags=re.MULTILINE)
    known = [
        value for key, value in vars(errors).items() if key.isupper() and isinstance(value, int)
    ]
    assert sorted(map(int, rows)) == sorted(known)


def test_the_order_of_exit_codes_is_the_one_that_holds():
    order = ", ".join(map(str, errors.PRECEDENCE))
    assert f"{order}." in (DOCS / "exit-codes.md").read_text()


def measured_so():
    """The page on one line, so that a sentence may go over its end."""
    return " ".join((DOCS / "how-it-is-measured.md").read_text().split())


@pytest.mark.parametrize(("kind", "where"), [("cpu", "on the CPU"), ("cuda", "on a GPU")])
def test_the_canary_on_the_page_is_the_one_that_runs(kind, where):
    from ditbench.measure.canary import _LOADS

    load = _LOADS[kind]
    number = str(load.dtype).removeprefix("torch.")
    told = (
        f"{where} {load.repetitions} times each, of {load.side} x {load.side} in {number} and "
        f"{load.copied // 2**20} MiB"
    )
    assert told in measured_so()


def test_when_the_canary_speaks_is_as_the_page_says():
    from ditbench.summary import canary

    floor = f"differ by more than {100 * canary._LEAST:g} % and three times"
    assert measured_so().count(floor) == 2
    assert canary._SPREADS == 3
    assert "the best over fifths of their own repetitions" in measured_so()
    assert machine._PARTS == 5


def test_what_makes_a_machine_unfit_is_as_the_page_says():
    from ditbench.devices.device import IDLE_MEMORY
    from ditbench.run import telemetry

    text = measured_so()
    assert (
        f"Over {100 * machine._SLOWED:g} % slowed, over {100 * machine._FOREIGN:g} % beside another "
        f"program, or over {IDLE_MEMORY // 2**30} GiB of memory"
    ) in text
    assert "more than a fifth of one processor taken by others is a doubt" in text
    assert "More than half of one explains a time that moved" in text
    assert (machine._OTHERS, machine._CROWDED) == (1 / 5, 1 / 2)
    clocks = [allowed for _, allowed in machine._CLOCKS.values()]
    assert (
        "by more than {:g} % (GPU) or {:g} % (CPU)".format(*(100 * one for one in clocks)) in text
    )
    assert (
        "ten times a second, at who computes on it once a second, and at the processors twice"
        in text
    )
    assert (telemetry._GPU_PERIOD_S, telemetry._CPU_PERIOD_S) == (1 / 10, 1 / 2)
    assert telemetry._GPU_PERIOD_S * telemetry._LOOKS_PER_CENSUS == 1


def test_the_method_on_the_page_is_a_method():
    import sys
    from types import ModuleType

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ditbench.attention.base import Shape, problems
    from ditbench.registry import settings_of

    blocks = FENCE.findall((DOCS / "add-a-method.md").read_text())
    (code,) = [text for language, text in blocks if language == "python"]
    module = ModuleType("pooled")
    sys.modules["pooled"] = module  # dataclasses look their module up
    exec(compile(code, "add-a-method.md", "exec"), module.__dict__)  # noqa: S102 (our own page)
    assert problems(module.Pooled) == []
    assert module.Pooled.formula in " ".join(module.__doc__.split())
    method = module.Pooled(group=2)
    q, k, v = torch.randn(3, 2, 4, 8, 16).unbind()
    with FlopCounterMode(display=False) as counter:
        out = method.attend(q, k, v)
    assert out.shape == q.shape
    assert counter.get_total_flops() == 2 * method.macs(Shape(2, 4, 8, 16))
    assert method.unsupported(Shape(1, 1, 7, 4), "float32", "cpu")
    assert [setting.name for setting in settings_of(module.Pooled)] == ["group"]
    torch.testing.assert_close(
        module.Pooled(group=1).attend(q, k, v),
        torch.nn.functional.scaled_dot_product_attention(q, k, v),
    )
