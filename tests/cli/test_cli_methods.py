"""What `methods` shows, without a process that imports torch."""

from __future__ import annotations

import json
import re

import pytest

from ditbench.catalog import Catalog, Extractor, Method, Setting
from ditbench.cli import main, offering, preparing

MONARCH = Method(
    "monarch",
    settings=(
        Setting("block_size", "int", 16, least=1),
        Setting("pad", "str", "pre", choices=("pre", "post")),
    ),
    summary="Few products.",
    paper="Yaras et al. 2025, arXiv 2505.18698",
    formula="out = A v, A[(l, j), (k, i)] = L[j, k, l] R[k, j, i], sum_k L = 1, sum_i R = 1, and so on",
    cost="(T-1) 2 N' d (b + M) + N' d (3 b + 2 M), N' = M b",
    operators=("ditbench.monarch",),
    place="ditbench.attention.monarch:Monarch",
    page="Monarch.\n\n    softmax(S) = argmax\n    out = A v\n\n"
    + "A paragraph that is long. " * 9,
)
FLASH = Method(
    "flash",
    exact=True,
    paper="Dao 2024",
    formula="out = softmax(q k^T / sqrt(d)) v",
    cost="2 N^2 d",
    needs="flash-attn (pip install flash-attn --no-build-isolation); CUDA; half precision",
    unavailable=("no flash-attn release 2 (pip install flash-attn --no-build-isolation)",),
)


INCEPTION = Extractor(
    "inception",
    settings=(Setting("resize", "str", "legacy", choices=("legacy", "clean")),),
    dim=2048,
    spatial=2023,
    headless="its file ends before the classes",
    paper="Szegedy et al. 2016",
    needs="its weights (pip install x)",
    unavailable=("no weights (pip install x)",),
    place="ditbench.extractors.inception:InceptionFeatures",
    page="The network of FID.",
)
PAIRS = Extractor("lpips_alex", pairs=True, headless="it compares pairs", paper="Zhang et al. 2018")


@pytest.fixture(autouse=True)
def known(monkeypatch):
    methods = {one.name: one for one in (FLASH, MONARCH)}
    found = Catalog(methods, {}, {one.name: one for one in (INCEPTION, PAIRS)})
    monkeypatch.setattr(preparing, "catalog", lambda _names=(), **_others: found)


@pytest.fixture(params=[80, 120])
def terminal(monkeypatch, request):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's word for: this is a terminal
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def read(capsys):
    return re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize("arguments", [(), ("monarch",)], ids=["all", "one"])
def test_a_terminal_shows_every_word_within_its_width(terminal, arguments, capsys):
    assert main(["methods", *arguments]) == 0
    shown = read(capsys)
    assert max(map(len, shown.splitlines())) <= terminal
    for text in (MONARCH.formula, MONARCH.cost, MONARCH.paper):
        assert text in words(shown)
    assert (FLASH.needs in words(shown)) is (not arguments)
    assert (f"no: {FLASH.unavailable[0]}" in words(shown)) is (not arguments)


def test_a_method_may_be_exact_with_no_settings_only():
    told = [Method("one", exact=a, exact_by_default=b).exactness for a, b in EXACT]
    assert told == ["yes", "by default", "no"]


EXACT = ((True, True), (False, True), (False, False))


def test_elsewhere_each_is_one_line(capsys):
    assert main(["methods"]) == 0
    _title, head, flash, monarch = read(capsys).splitlines()
    assert head.split("  ")[0] == "name"
    assert flash.startswith("flash    yes")
    assert all(
        text in monarch for text in (MONARCH.formula, MONARCH.cost, "block_size=16, pad=pre")
    )


def test_one_method_tells_its_settings_in_words_and_shows_its_page(capsys):
    offering.show_one(MONARCH)
    shown = read(capsys)
    assert "block_size  a whole number, at least 1; 16 if not given" in shown
    assert "pad         pre or post; pre if not given" in shown
    assert "own formula   counts ditbench.monarch" in shown
    assert "ditbench.attention.monarch:Monarch" in shown
    assert "\n    softmax(S) = argmax\n    out = A v\n" in shown


def test_json_has_all_of_it(capsys):
    assert main(["methods", "monarch", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["formula"] == MONARCH.formula
    assert found["page"] == MONARCH.page
    block_size = {
        "name": "block_size",
        "kind": "int",
        "default": 16,
        "least": 1,
        "choices": [],
        "file": False,
        "reader": "",
        "method": False,
        "most": None,
    }
    assert found["settings"][0] == block_size


def test_a_wrong_name_is_told_with_the_right_one(capsys):
    assert main(["methods", "monrch"]) == 2
    told = capsys.readouterr().err
    assert told == "ditbench: unknown attention method 'monrch' (did you mean 'monarch'?)\n"


def test_extractors_are_listed_with_what_they_give_and_what_is_missing(capsys):
    assert main(["extractors"]) == 0
    _title, head, inception, pairs = read(capsys).splitlines()
    assert head.split() == ["name", "gives", "settings", "paper", "weights", "opens", "here"]
    assert "2048 features, 2023 for sFID" in inception
    assert "classes" not in inception
    assert inception.endswith("no: no weights (pip install x)")
    assert "a distance of two pictures" in pairs
    assert pairs.split()[-3:] == ["they", "ship", "yes"]


def test_one_extractor_tells_its_settings_and_its_page_and_json_has_all_of_it(capsys):
    assert main(["extractors", "inception"]) == 0
    shown = read(capsys)
    assert "resize    legacy or clean; legacy if not given" in shown
    assert "its file ends before the classes" in shown
    assert shown.endswith("The network of FID.\n")
    assert main(["extractors", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["dim"] for one in found] == [2048, 0]


def test_a_wrong_extractor_is_told_with_the_right_one(capsys):
    assert main(["extractors", "inseption"]) == 2
    told = capsys.readouterr().err
    assert told == "ditbench: unknown extractor 'inseption' (did you mean 'inception'?)\n"
