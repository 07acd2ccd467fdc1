"""The published xFormers module, planted beside its suite, and what the numeric gate says of it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from cells import cell

from ditbench.attention.base import METHODS, Shape
from ditbench.attention.softmax import Softmax
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import gates
from ditbench.measure.core import check_core
from ditbench.measure.evidence import Evidence, GateError, relative
from ditbench.records import Stage, Status

SEEDS = Path(__file__).parents[2] / "suites" / "seeds"
LAYOUT, SCALE, PRINTED = (
    f"xformers_faults:{name}" for name in ("OverHeads", "ScaledTwice", "AsPrinted")
)
# One site of DiT-XL/4 at 256 pixels, of which the publication speaks.
XL_4 = Shape(batch=2, heads=16, tokens=64, head_dim=72)


@pytest.fixture(autouse=True)
def _beside_the_suite(monkeypatch):
    monkeypatch.syspath_prepend(str(SEEDS))


def made(name):
    return METHODS.get(name)()


@pytest.fixture(scope="module")
def projected():
    """q, k and v as the module makes them: two images' 256 normal tokens through a fresh Linear."""
    torch.manual_seed(0)
    tokens, linear = torch.randn(2, 256, 1152), torch.nn.Linear(1152, 3 * 1152)
    with torch.no_grad():
        return linear(tokens).reshape(2, 256, 3, 16, 72).permute(2, 0, 3, 1, 4).unbind(0)


@pytest.mark.parametrize(("name", "published"), [(PRINTED, 3.47), (LAYOUT, 3.64), (SCALE, 0.28)])
def test_the_errors_that_were_measured_for_the_published_module_come_out(
    name, published, projected
):
    error = relative(made(name).attend(*projected), Softmax().attend(*projected))
    assert error == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(("name", "error"), [(LAYOUT, "1.7"), (SCALE, "0.9"), (PRINTED, "1.2")])
def test_mistakes_01_and_02_are_refused_at_their_own_shape_with_their_error(name, error):
    told = f"is declared exact, but lies {error} from softmax in float64"
    with pytest.raises(GateError, match=told):
        check_core(made(name), XL_4, torch.float32, torch.device("cpu"), Evidence({}))


@pytest.mark.parametrize("name", [LAYOUT, SCALE, PRINTED])
def test_the_planted_faults_get_past_the_count_and_no_further(name, tmp_path):
    job = Job(cell(name), Stage.GATE, 0, Timing(), Quality(), ("latency",), "cpu", tmp_path)
    found = gates.run(job, lambda _phase: None)
    assert found.status is Status.FAILED_GATE
    assert "declared exact, but lies" in found.reason
    assert found.facts["numeric_error"] > 1000 * found.facts["numeric_tolerance"]


def test_without_its_faults_the_planted_kernel_is_softmax(projected):
    kernel = importlib.import_module("xformers_faults").kernel
    q, k, v = (x.transpose(1, 2) for x in projected)
    assert relative(kernel(q, k, v).transpose(1, 2), Softmax().attend(*projected)) < 1e-6
