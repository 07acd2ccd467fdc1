"""Every suite that ships says what it means, and what it claims of counts comes out on any machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes_runs import fake_run, record

from ditbench import plan
from ditbench.measure.catalog import catalog
from ditbench.measure.counting import count
from ditbench.records import Stage
from ditbench.suite import parse
from ditbench.summary import summarise

ROOT = Path(__file__).parents[2] / "suites"
SUITES = sorted(path for path in ROOT.rglob("*.yaml") if path.parent.name != "train")
# What its publisher must have counted otherwise; everything else is reproduced.
CONTRADICTED: dict[str, set[str]] = {}
# Claims on methods that look at what they compute: known when they have run.
UNFORESEEN = {"seeds/dqar-dummy.yaml": 3}


def name(path):
    return path.relative_to(ROOT).as_posix()


every_suite = pytest.mark.parametrize("path", SUITES, ids=name)


def read(path, monkeypatch, *, quick=False):
    monkeypatch.syspath_prepend(str(path.parent))
    text = path.read_text()
    known = catalog(parse.from_outside(text, str(path), "attention"))
    return parse.parse(text, str(path), known, quick=quick)


@every_suite
def test_every_suite_that_ships_is_planned_and_its_quick_form_is_no_longer(path, monkeypatch):
    whole = read(path, monkeypatch)
    quick = read(path, monkeypatch, quick=True)
    assert 0 < len(plan.expand(quick)) <= len(plan.expand(whole))
    assert [claim.cell for claim in quick.claims] == [claim.cell for claim in whole.claims]


def answers(suite):
    """What a run that counts, and runs nothing, says of every claim."""
    cells = tuple(plan.Plan(suite, ()).claimed)
    counted = [
        record(
            cell,
            Stage.COUNT,
            status=found.status,
            reason=found.reason,
            metrics=found.metrics,
            facts=found.facts,
        )
        for cell, found in zip(cells, count(cells, "cpu"), strict=True)
    ]
    claims = tuple(claim.plain for claim in suite.claims)
    return summarise(fake_run(*counted, claims=claims)).claims


@pytest.mark.slow
@every_suite
def test_what_shapes_tell_is_reproduced_and_nothing_else_passes_unmeasured(path, monkeypatch):
    suite = read(path, monkeypatch)
    found = answers(suite)
    exact = [one for one in found if one.measured is not None]
    unforeseen = UNFORESEEN.get(name(path), 0)
    assert len(exact) + unforeseen == sum(claim.cell is not None for claim in suite.claims)
    wrong = {one.source for one in exact if str(one.verdict) != "reproduced"}
    assert wrong == CONTRADICTED.get(name(path), set())
    assert len(found) >= len(suite.claims)
    assert all(one.why for one in found if one.measured is None)


def test_the_seed_suites_hold_the_numbers_that_need_no_machine(monkeypatch):
    """Twelve multiply-adds and a thirteenth at 512 pixels, four sizes; the bounds of DiT-XL/4."""
    sizes = read(ROOT / "seeds" / "dit-sizes.yaml", monkeypatch)
    counted = [claim.metric for claim in sizes.claims if claim.cell]
    assert counted.count("macs_shared_embedder") == 13
    assert counted.count("parameters_shared_embedder") == 4
    bounds = {
        one.metric: one.measured
        for one in answers(read(ROOT / "seeds" / "xformers.yaml", monkeypatch))
        if one.cell
    }
    assert bounds["core_ceiling"] == pytest.approx(1.009, abs=5e-4)
    assert bounds["attention_ceiling"] == pytest.approx(1.507, abs=5e-4)


def test_fast_dits_own_table_says_37_6_per_cent_less_memory_and_not_60(monkeypatch):
    """And that 95 per cent faster is what its steps a second say."""
    claims = read(ROOT / "seeds" / "fast-dit.yaml", monkeypatch).claims
    memory = [one.value for one in claims if one.metric == "peak_allocated" and not one.against]
    steps = [one.value / 128 for one in claims if one.metric == "throughput"]
    assert steps == pytest.approx([0.43, 0.56, 0.84])
    assert memory == [44_045e6, 40_461e6, 27_485e6]
    assert f"{1 - memory[-1] / memory[0]:.1%}" == "37.6%"
    assert f"{steps[-1] / steps[0] - 1:.0%}" == "95%"
    (told,) = [one for one in claims if one.metric == "peak_allocated" and one.against]
    assert told.value == 0.40
    assert "37.6 % less" in told.needs


def test_the_seed_of_two_arms_claims_sizes_that_are_counted_and_nothing_that_is_not_comparable(
    monkeypatch,
):
    claims = read(ROOT / "seeds" / "gqa-vs-unet.yaml", monkeypatch).claims
    counted = [claim.metric for claim in claims if claim.cell]
    assert (counted.count("parameters"), counted.count("macs")) == (6, 4)
    assert all(claim.needs for claim in claims if not claim.cell)
    fids = [claim.value for claim in claims if claim.metric == "fid_100@dataset"]
    assert fids == [58.57, 62.69, 67.07, 57.19, 121.06, 80.03, 119.22, 116.84]
    mib = [round(one.value / 2**20, 2) for one in claims if one.metric == "peak_allocated"]
    assert mib == [2006.99, 8037.32]


@pytest.mark.slow
def test_dqar_s_exact_numbers_are_all_claimed_and_those_without_code_say_so(monkeypatch):
    claims = read(ROOT / "seeds" / "dqar.yaml", monkeypatch).claims
    shares = {round(100 * one.value, 2) for one in claims if one.metric == "reuse_ratio"}
    assert shares == {
        11.57, 18.71, 24.50, 28.71, 38.71, 12.93, 10.14, 8.79, 7.36, 6.00, 8.64, 7.43, 6.86, 6.21,
        5.50, 5.14, 98,
    }  # fmt: skip
    caches = [one.value / 2**20 for one in claims if one.metric == "cache_bytes"]
    assert caches == [63.0, 31.5]
    speeds = {one.value: one.needs for one in claims if one.metric == "speedup"}
    assert {1.04, 1.08, 1.11, 1.12, 1.18} < speeds.keys()
    assert all("fair clock" in speeds[one] for one in (2.08, 1.56, 1.45, 1.15))
    assert "no code" in speeds[1.302]
    assert "bound" in speeds[1.19]
    dummy = read(ROOT / "seeds" / "dqar-dummy.yaml", monkeypatch).claims
    counts = [one for one in dummy if one.metric == "reuse_ratio"]
    ours = [round(72 * one.value) for one in counts if not one.needs]
    assert ours == [62, 0, 0, 0, 44, 52, 56, 44, 52, 56]
    assert [round(72 * one.value) for one in counts if one.needs] == [6, 6, 32, 38, 40]
