import pytest

from ditbench.errors import SuiteError
from ditbench.suite.yaml12 import Fields, Leaf, compose, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3.44e9", 3.44e9),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        ("-3", -3),
        ("1_000", "1_000"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("0-13", "0-13"),
        ("0,1,5", "0,1,5"),
        ("2%", "2%"),
        ("<<", "<<"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text, value):
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_a_quoted_scalar_is_text():
    assert compose("'3'", "s.yaml").value == "3"


def test_places_count_from_one():
    tree = compose("a: 1\nkey: x", "s.yaml")
    assert isinstance(tree, Fields)
    assert str(tree.marks["key"]) == "s.yaml:2:1"
    assert str(tree.fields["key"].mark) == "s.yaml:2:6"


def test_a_merge_key_is_a_word_like_any_other():
    tree = compose("<<: {a: 1}", "s.yaml")
    assert list(tree.fields) == ["<<"]


def test_an_empty_text_is_nothing():
    assert compose("# only a comment\n", "s.yaml") == Leaf(None, compose("", "s.yaml").mark)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "a: [1",
            "1:6: not YAML: expected ',' or ']', but got '<stream end>' while parsing a flow sequence",
        ),
        ("a: b\n\tc: d", "2:1: not YAML: a tab cannot indent: use spaces"),
        ("a: 1\na: 2", "2:1: the key 'a' stands twice (first at s.yaml:1:1)"),
        ("a: &x 1", "1:4: anchors are not allowed (&x)"),
        ("&x a: 1", "1:1: anchors are not allowed (&x)"),
        (
            "a: !!python/name:os.system x",
            "1:4: tags are not allowed (tag:yaml.org,2002:python/name:os.system)",
        ),
        ("a: .nan", "1:4: .nan is not a finite number"),
        ("a: -.inf", "1:4: -.inf is not a finite number"),
        ("a: 1e999", "1:4: 1e999 is beyond what a float holds"),
        (f"a: {10**40}", "1:4: a whole number beyond 64 bits"),
        ("? [a]\n: 1", "1:3: a key must be a word"),
        ("a: 1\n--- \nb: 1", "2:1: a second document: one file holds one suite"),
        ("a: \x07", "1:4: the character U+0007 may not stand in YAML"),
        ('a: "\\UFFFFFFFF"', "1:7: an escape that is no character"),
        ('a: "\\ud800"', "1:4: half a surrogate pair is no character"),
        ("[" * 100_000, "1:21: nested deeper than 20 levels"),
        ("a" * (2**18 + 1), "1:1: 262,145 characters; at most 262,144"),
    ],
    ids=lambda value: value[:24].encode("unicode_escape").decode().replace("\\", "_"),
)
def test_what_is_not_ours_is_one_line_with_its_place(text, problem):
    with pytest.raises(SuiteError) as caught:
        compose(text, "s.yaml")
    assert caught.value.problems == (f"s.yaml:{problem}",)


def test_a_bomb_of_aliases_is_refused_before_it_is_built():
    bomb = "a: &a [x, x]\n" + "".join(
        f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(SuiteError) as caught:
        compose(bomb, "s.yaml")
    assert caught.value.problems == ("s.yaml:1:4: anchors are not allowed (&a)",)
