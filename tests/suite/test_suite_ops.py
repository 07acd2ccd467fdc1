"""Suites of attention cores by themselves."""

from __future__ import annotations

import dataclasses
import json

import pytest
from catalogs import CATALOG
from test_suite_schema import accepts

from ditbench.errors import SuiteError
from ditbench.metrics import OF_AN_OP
from ditbench.plan import expand
from ditbench.records import Op, Sampling, cell_from_json, cell_to_json
from ditbench.suite.parse import keys, parse
from ditbench.suite.template import template

TEXT = """\
name: cores
kind: op
op: {tokens: [64, 256], heads: 2, head_dim: 16, cache: [cold, hot], dtype: bfloat16}
attention:
  - softmax
  - monarch: {num_steps: [1, 2]}
batch_size: [1, 4]
exclude:
  - {attention: softmax, op: {tokens: 256, cache: hot}, because: "as an example"}
"""


def problems(text, **overrides):
    with pytest.raises(SuiteError) as caught:
        parse(text, "s.yaml", CATALOG, {k.replace("__", "."): v for k, v in overrides.items()})
    return list(caught.value.problems)


def test_every_size_is_an_axis_and_a_cell_is_one_step_of_one_block():
    cells = expand(parse(TEXT, "s.yaml", CATALOG))
    assert len(cells) == len({cell.key for cell in cells}) == 2 * 2 * 3 * 2
    assert {cell.op.tokens for cell in cells} == {64, 256}
    assert {(cell.steps, cell.blocks, cell.rows) for cell in cells} == {
        (1, (0,), 1),
        (1, (0,), 4),
    }
    assert cells[0].op == Op(64, 2, 16, "cold")
    assert cells[0].sampling == Sampling(guidance_scale=1.0, dtype="bfloat16")
    assert cells[0].id == (
        "model=op attention=softmax tokens=64 heads=2 head_dim=16 cache=cold compile=off "
        "batch_size=1 dtype=bfloat16"
    )


def test_sizes_that_are_not_given_are_those_of_a_small_dit_with_a_cold_cache():
    (cell,) = expand(parse("name: x\nkind: op\nop: {tokens: 9}\nattention: softmax", "", CATALOG))
    assert cell.op == Op(tokens=9, heads=12, head_dim=64, cache="cold")


def test_an_exclusion_speaks_of_sizes():
    suite = parse(TEXT, "s.yaml", CATALOG)
    covered = [cell for cell in expand(suite) if suite.exclude[0].covers(cell)]
    assert {(cell.op.tokens, cell.op.cache, cell.attention.name) for cell in covered} == {
        (256, "hot", "softmax")
    }


def test_the_command_line_replaces_sizes():
    suite = parse(TEXT, "s.yaml", CATALOG, {"op.tokens": "16,32", "op.cache": "hot"})
    assert [cell.op.tokens for cell in expand(suite)[:7:6]] == [16, 32]


@pytest.mark.parametrize(
    "line",
    [
        "model: small",
        "weights: random",
        "blocks: all",
        "steps: 3",
        "sampling: {seed: 1}",
        "quality: {samples: 2}",
    ],
)
def test_a_key_that_means_nothing_for_an_op_is_refused_at_its_place(line):
    told = problems(TEXT + line)
    name = line.partition(":")[0]
    (line_told,) = told
    assert line_told == (
        f"s.yaml:10:1: {name} means nothing here: an op is the attention core by itself, on q, k and v "
        "of the sizes under op: it has no model, no steps and no pictures"
    )
    assert not accepts(TEXT + line)


def test_a_key_that_means_nothing_is_refused_from_the_command_line_too():
    (told,) = problems(TEXT, steps="3")
    assert told.startswith("--set steps: steps means nothing here")
    (told,) = problems("name: x\nmodel: small\nattention: softmax", op__tokens="3")
    assert told.startswith("--set op.tokens: op means nothing here: it is of suites with kind: op")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("metrics: [latency, psnr]", "10:20: metrics[1]: psnr is not measured of an op"),
        ("batch_size: max", "10:13: batch_size: must be a whole number >= 1, not 'max'"),
        ("op: {tokens: 64, cache: warm}", "10:25: op.cache: unknown state of the cache 'warm'"),
        ("op: {tokens: 0}", "10:14: op.tokens: must be a whole number >= 1"),
        ("op: {heads: 2}", "10:5: op: 'tokens' is missing"),
        (
            "claims: [{metric: macs, value: 1, tolerance: 0, source: x, blocks: all}]",
            "10:60: claims[0]: unknown key 'blocks'",
        ),
    ],
)
def test_a_mistake_is_told_at_its_place(line, told):
    key = line.partition(":")[0]
    text = "".join(
        one if not one.startswith(key) else "#\n" for one in TEXT.splitlines(keepends=True)
    )
    (found,) = problems(text + line)
    assert found.startswith(f"s.yaml:{told}")
    assert not accepts(text + line)


def test_another_kind_of_suite_is_refused():
    assert problems("name: x\nkind: ops\nmodel: small\nattention: softmax") == [
        "s.yaml:2:7: kind: unknown kind of suite 'ops' (did you mean 'op'? known: model, op)"
    ]


def test_a_first_suite_of_an_op_is_right_as_it_is_and_accepted_by_the_schema():
    text = template(CATALOG, "op", ("softmax", "monarch"), "mine")
    read = parse(text, "mine.yaml", CATALOG)
    assert {cell.op.tokens for cell in expand(read)} == {256, 1024, 4096}
    assert accepts(text)
    for name in keys(CATALOG, "op"):
        assert f"\n{name}:" in text or f"\n#{name}:" in text


def test_what_an_op_is_asked_for_is_what_an_op_has():
    assert set(parse(TEXT, "s.yaml", CATALOG).metrics) <= set(OF_AN_OP)


def test_a_cell_of_an_op_survives_being_written_and_read():
    for cell in expand(parse(TEXT, "s.yaml", CATALOG)):
        assert cell_from_json(json.loads(json.dumps(cell_to_json(cell)))) == cell


@pytest.mark.parametrize(
    ("name", "value"), [("tokens", 0), ("tokens", "64"), ("heads", True), ("cache", 3)]
)
def test_an_op_of_a_wrong_shape_in_a_file_is_refused(name, value):
    cell = expand(parse(TEXT, "s.yaml", CATALOG))[0]
    plain = json.loads(json.dumps(cell_to_json(cell)))
    plain["model"]["settings"][name] = value
    with pytest.raises(ValueError, match=f"cell.model.settings.{name} must be"):
        cell_from_json(plain)


def test_an_op_in_a_file_that_lacks_a_size_is_refused():
    plain = json.loads(json.dumps(cell_to_json(expand(parse(TEXT, "s.yaml", CATALOG))[0])))
    del plain["model"]["settings"]["heads"]
    with pytest.raises(TypeError):
        cell_from_json(plain)


def test_the_key_of_a_cell_with_a_model_is_what_it_was():
    """Baselines hold on to it: the cell's key is of its content, and cells of models have nothing new."""
    cell = expand(parse("name: x\nmodel: small\nattention: softmax", "", CATALOG))[0]
    assert cell.op is None
    assert cell.key == "3d7d7934b47fd8bd"
    assert dataclasses.replace(cell).axes["model"] == "small"
