"""`quality.extractors`, `quality.dataset` and the metrics that look at pictures."""

import pytest
from catalogs import CATALOG

from ditbench.errors import SuiteError
from ditbench.records import Choice
from ditbench.suite.parse import parse
from ditbench.suite.schema import schema

HEAD = "name: x\nmodel: small\nattention: softmax\nmetrics: [frechet, kid, ssim]\n"


def quality(text):
    return parse(f"{HEAD}quality: {{samples: 8, {text}}}", "s.yaml", CATALOG).quality


def problems(text):
    with pytest.raises(SuiteError) as caught:
        quality(text)
    return list(caught.value.problems)


def test_networks_come_by_name_or_with_settings():
    small = Choice("small_net")
    assert quality("extractors: small_net").extractors == (small,)
    found = quality("extractors: [small_net, {inception: {resize: clean}}]").extractors
    inception = Choice(
        "inception", (("weights", ""), ("resize", "clean")), "inception[resize=clean]"
    )
    assert found == (small, inception)
    assert quality("micro_batch: 4").extractors == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("extractors: smal_net", "unknown extractor 'smal_net' (did you mean 'small_net'?)"),
        ("extractors: broken_net", "ValueError: as it was imported"),
        ("extractors: [inception, {inception: {resize: clean}}]", "and may only once"),
        ("extractors: {inception: {resise: clean}}", "unknown setting 'resise'"),
        ("extractors: {inception: {resize: big}}", "unknown value 'big'"),
        ("extractors: [{inception: {}, small_net: {}}]", "one network each"),
        ("extractors: []", "an empty list"),
        ("dataset: nowhere/at-all", "no file or folder 'nowhere/at-all'"),
        ("dataset: [a, b]", "must be one line of text"),
    ],
)
def test_mistakes_are_told_with_their_place(text, told):
    (problem,) = problems(text)
    assert problem.startswith("s.yaml:5:")
    assert told in problem


def test_a_data_set_is_a_path_or_of_the_hub(tmp_path):
    assert quality(f"dataset: {tmp_path}").dataset == str(tmp_path)
    assert quality("dataset: hub:owner/name").dataset == "hub:owner/name"
    assert quality("micro_batch: 2").dataset == ""


def test_a_metric_of_pictures_needs_two_of_them():
    with pytest.raises(SuiteError, match=r"kid looks at pictures: set quality\.samples"):
        parse(
            "name: x\nmodel: small\nattention: softmax\nmetrics: [kid]\nquality: {samples: 1}",
            "s.yaml",
            CATALOG,
        )


def test_editors_are_told_the_networks_and_their_settings():
    rows = schema(CATALOG)["else"]["properties"]["quality"]["properties"]["extractors"]
    names = [one["const"] for one in rows["anyOf"][0]["anyOf"] if "const" in one]
    assert names == ["small_net", "inception", "broken_net"]


def test_what_everybody_calls_fid_is_told_its_way_to_be_written():
    text = "name: s\nmodel: small\nattention: softmax\nmetrics: [fid]\nquality: {samples: 2}\n"
    with pytest.raises(SuiteError) as told:
        parse(text, "s.yaml", CATALOG)
    assert "FID is written frechet, with inception under quality.extractors" in str(told.value)
