import re

import pytest
from catalogs import CATALOG
from hypothesis import given, settings
from hypothesis import strategies as st

from ditbench.plan import expand
from ditbench.suite.kinds import Table
from ditbench.suite.parse import keys, parse
from ditbench.suite.template import template

METHODS = ("softmax", "sdpa", "monarch", "nystromformer")
TEXT = template(CATALOG, "small", METHODS, "first", "x.schema.json")


def without_comment_signs(text):
    """The file with every key that is commented out put in; prose begins with a blank after the sign."""
    return re.sub(r"^#(?=\S|  )", "", text, flags=re.MULTILINE)


def suite(text):
    return parse(text, "first.yaml", CATALOG)


def test_the_first_suite_is_right_as_it_is():
    read = suite(TEXT)
    assert (read.name, read.weights) == ("first", ("embedded",))
    assert [choice.label for choice in read.attentions] == list(METHODS)


def test_every_key_of_the_language_is_in_it():
    for name, key in keys(CATALOG).items():
        assert re.search(rf"^#?{name}:", TEXT, flags=re.MULTILINE), name
        for inner in key.kind.keys if isinstance(key.kind, Table) else ():
            assert re.search(rf"^#  {inner}:", TEXT, flags=re.MULTILINE), inner


@pytest.mark.parametrize("model", ["small", "large", "dit"])
def test_what_is_commented_out_is_what_holds_without_it(model):
    text = template(CATALOG, model, METHODS, "first")
    examples = text.index("\n#gate:")
    defaults = re.sub(r"^#.*# \(example\).*$", "", text[:examples], flags=re.MULTILINE)
    whole = without_comment_signs(defaults) + text[examples:]
    assert whole != text
    assert expand(suite(whole)) == expand(suite(text))
    for part in ("timing", "quality", "metrics"):
        assert getattr(suite(whole), part) == getattr(suite(text), part)


def test_the_examples_are_right_once_their_sign_is_taken_away():
    read = suite(without_comment_signs(TEXT))
    assert (len(read.exclude), len(read.claims), dict(read.gate)) == (1, 1, {"latency": 0.02})
    assert read.timing.memory_limit == 4 * 2**30


def test_a_key_without_a_default_has_an_example():
    for name, key in keys(CATALOG).items():
        inner = key.kind.keys if isinstance(key.kind, Table) else {name: key}
        for row in () if key.required else inner.values():
            assert (row.default is None) == bool(row.example), name


def test_the_first_line_points_editors_to_the_schema_where_there_is_one():
    assert TEXT.startswith("# yaml-language-server: $schema=x.schema.json\n")
    assert "$schema" not in template(CATALOG, "small", METHODS, "first")


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("mine", "mine"),
        ("on", "on"),
        ("2026", "2026"),
        ("1e5", "1e5"),
        ("null", "null"),
        ("a: b #c", "a: b #c"),
        ("two\nlines\x85three", "two lines three"),
        ("\udcff", "?"),
        ("", "suite"),
        ("x" * 500, "x" * 120),
    ],
    ids=range(10),
)
def test_a_suite_may_be_called_as_any_file_is(name, called):
    assert suite(template(CATALOG, "small", METHODS, name)).name == called


@settings(max_examples=200, deadline=None)
@given(name=st.text(max_size=20))
def test_whatever_the_file_is_called_the_suite_is_right(name):
    assert suite(template(CATALOG, "small", ("softmax",), name)).name


def test_no_line_is_wider_than_a_screen():
    assert max(map(len, TEXT.splitlines())) <= 100
