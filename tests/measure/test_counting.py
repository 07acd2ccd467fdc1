"""Counting from shapes alone finds what the published tables say, and refuses what cannot be true."""

import dataclasses

import pytest
from cells import cell, registered

from ditbench.measure.counting import count
from ditbench.records import Op, Sampling, Status

PAPER = Sampling(guidance_scale=1.0)


def counted(attention="softmax", settings=()):
    plain = cell(attention, settings=settings, blocks=tuple(range(28)), sampling=PAPER)
    (found,) = count([dataclasses.replace(plain, model=registered("dit-xl/2"))], "cpu")
    return found


def test_the_published_multiply_adds_and_parameters_of_the_largest_model():
    found = counted()
    value = {name: values[0] for name, values in found.metrics.items()}
    assert value["macs_shared_embedder"] == pytest.approx(118.64e9, rel=5e-4)
    assert value["parameters_shared_embedder"] == pytest.approx(675e6, rel=1e-3)
    tokens, width = 256, 1152
    assert value["core_macs"] == 28 * 2 * tokens**2 * width
    assert value["attention_macs"] == value["core_macs"] + 28 * 4 * tokens * width**2
    assert found.facts["exact"]


def test_what_skips_the_projections_does_not_pay_for_them():
    width, tokens = 1152, 256
    value = {name: values[0] for name, values in counted("zero").metrics.items()}
    assert value["attention_macs"] == 28 * tokens * width**2  # the output's alone
    assert value["projection_macs"] == 28 * 4 * tokens * width**2


def test_a_shape_that_the_method_refuses_is_not_counted():
    found = counted("window", (("size", 99),))
    assert found.status is Status.UNSUPPORTED
    assert "99 x 99" in found.reason


@pytest.mark.parametrize(
    ("attention", "status", "told"),
    [
        ("faulty:PricedAtZero", Status.FAILED_GATE, "declares 0 multiply-adds a site"),
        ("no-such-method", Status.CRASHED, "unknown attention method"),
    ],
)
def test_what_cannot_be_counted_is_one_line_and_does_not_stop_the_others(attention, status, told):
    wrong, right = count([cell(attention), cell()], "cpu")
    assert (wrong.status, right.status) == (status, Status.OK)
    assert told in wrong.reason


def test_an_attention_core_by_itself_is_counted_too():
    of = Op(tokens=64, heads=2, head_dim=8, cache="hot").choice
    alone = dataclasses.replace(cell(sampling=PAPER, blocks=(0,), steps=1), model=of, batch_size=3)
    (found,) = count([alone], "cpu")
    assert found.metrics == {
        "macs": (3 * 2 * 2 * 64**2 * 8,),
        "core_macs": (3 * 2 * 2 * 64**2 * 8,),
    }
