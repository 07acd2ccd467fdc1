"""The schema for editors and the parser say the same of shapes."""

from __future__ import annotations

import ast
import copy
import json
from pathlib import Path

import pytest
import test_suite_errors as errors
import test_suite_parse as good
from catalogs import CATALOG
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ditbench.errors import SuiteError
from ditbench.suite.kinds import Table
from ditbench.suite.parse import keys, parse
from ditbench.suite.schema import schema
from ditbench.suite.yaml12 import Fields, Items, compose

SUITES = sorted(path for path in good.SUITES.rglob("*.yaml") if path.parent.name != "train")
# What no schema can know: other parts of the suite, the catalogue's architectures, the disk.
SECOND_LOOK = (
    "no block 28",
    "no folder",
    "looks at pictures",
    "ship with ditbench",
    "at most 10,000",
    "stands in attention",
    "their.package:Other",
    "in their.package",
    "is gated but not among",
    "set precision too",
    "is less than repeats",
    "as it was imported",
)
MISTAKES = errors.test_every_mistake_is_told_at_its_place.pytestmark[0].args[1]


def plain(node):
    if isinstance(node, Fields):
        return {key: plain(one) for key, one in node.fields.items()}
    if isinstance(node, Items):
        return [plain(one) for one in node.items]
    return node.value


def validator(catalog=CATALOG):
    made = json.loads(json.dumps(schema(catalog)))
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


VALIDATOR = validator()


def accepts(text):
    return VALIDATOR.is_valid(plain(compose(text, "s.yaml")))


@pytest.fixture(scope="module")
def real():
    from ditbench.measure.catalog import catalog

    return validator(catalog())


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_suite_that_ships_is_accepted(path: Path, real):
    assert [e.message for e in real.iter_errors(plain(compose(path.read_text(), "")))] == []


def texts_in_tests():
    """Every text in the tests that might be a suite."""
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            text = node.value if isinstance(node, ast.Constant) else None
            if (
                isinstance(text, str)
                and "attention:" in text
                and ("model:" in text or "op:" in text)
            ):
                yield text.replace("TINY", "{name: dit, hidden: 32}")


def test_every_right_suite_in_the_tests_is_accepted(real):
    from ditbench.measure.catalog import catalog

    offered = catalog()
    found = 0
    for text in texts_in_tests():
        for names, schema_of_them in ((CATALOG, VALIDATOR), (offered, real)):
            try:
                parse(text, "s.yaml", names)
            except SuiteError:
                continue
            found += 1
            refused = schema_of_them.iter_errors(plain(compose(text, "")))
            assert [error.message for error in refused] == [], text
    assert found >= 10


def test_a_suite_with_every_key_is_accepted():
    assert accepts(good.TEXT)


@pytest.mark.parametrize(("text", "told"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_of_shape_is_refused_and_no_other(text, told):
    of_shape = [line for line in told if not any(words in line for words in SECOND_LOOK)]
    assert accepts(text) == (not of_shape)


@pytest.mark.parametrize(
    "method",
    ["a.b:C", "{a.b:C: {anything: 1}}", "[softmax, a:B]"],
    ids=["name", "settings", "list"],
)
def test_a_method_from_outside_is_accepted_by_its_form(method):
    assert accepts(f"name: x\nmodel: small\nattention: {method}")


@pytest.mark.parametrize("model", ["a.b:C", "{name: a.b:C, depth: 3}", "[small, a:B]"])
def test_a_model_from_outside_is_accepted_by_its_form(model):
    assert accepts(f"name: x\nmodel: {model}\nattention: softmax")


@pytest.mark.parametrize(("kind", "where"), [("model", "else"), ("op", "then")])
def test_the_schema_has_every_key_of_the_language_with_its_text(kind, where):
    properties = VALIDATOR.schema[where]["properties"]
    table = keys(CATALOG, kind)
    assert properties.keys() == table.keys()
    for name, key in table.items():
        assert properties[name]["description"] == key.says
        if isinstance(key.kind, Table):
            assert properties[name]["properties"].keys() == key.kind.keys.keys()


def test_methods_bring_their_settings_and_their_texts():
    defined = VALIDATOR.schema["$defs"]
    (settings_,) = [one for one in defined["axis_of_methods"]["anyOf"] if "properties" in one]
    monarch = settings_["properties"]["monarch"]["anyOf"][0]["properties"]
    assert monarch["block_size"]["description"] == "int, at least 1"
    assert monarch["block_size"]["default"] == 16
    assert {one.get("const") for one in defined["method"]["anyOf"]} >= {"softmax", "monarch"}


_JUNK = st.sampled_from(
    [
        *(None, True, False, 0, 1, 2, -1, 0.5, 1.0, 1e9, "", " ", "x", "on", "softmax", "monarch"),
        *("2%", "200%", "all", "0-3", " 0 , 1 ", "hub:o/n@r", "hub:", "a.b:C", "two\nlines\n", "large"),
        *([], ["softmax"], [1, 2], [1, 1], {}, {"monarch": None}, {"name": "dit", "depth": 3}),
    ]
)  # fmt: skip
_WHOLE = [
    plain(compose(text, ""))
    for text in (good.TEXT, errors.HEAD + "attention: {sdpa: {backend: math}}\nweights: hub")
]


def _places(tree, way=()):
    yield way
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield from _places(tree[key], (*way, key))


@st.composite
def _mutated(draw):
    tree = copy.deepcopy(draw(st.sampled_from(_WHOLE)))
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from([place for place in _places(tree) if place]))
        inner = tree
        for key in way:
            inner = inner[key]
        if isinstance(inner, dict) and draw(st.booleans()):
            last = draw(st.sampled_from(["seed", "samples", "guidance", "rank", "nothing", last]))
        inner[last] = copy.deepcopy(draw(_JUNK))
    return tree


@settings(max_examples=400, deadline=None)
@given(tree=_mutated())
def test_what_the_parser_accepts_the_schema_never_refuses(tree):
    try:
        parse(json.dumps(tree), "s.yaml", CATALOG)
    except SuiteError:
        return
    assert [error.message for error in VALIDATOR.iter_errors(tree)] == []
