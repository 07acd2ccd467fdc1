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
    assert len(exact) == sum(claim.cell is not None for claim in suite.claims)
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
