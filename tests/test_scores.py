"""Names of figures of whole sets of pictures: what they say, and what no name may say."""

import pytest

from ditbench import metrics, scores
from ditbench.records import Stage
from ditbench.scores import Score


@pytest.mark.parametrize(
    ("score", "name"),
    [
        (Score("frechet", "inception", 256), "fid_256@dataset"),
        (Score("frechet", "inception", 256, "softmax"), "fid_256@softmax"),
        (Score("frechet", "fashion_cnn", 48), "fd_fashion_cnn_48@dataset"),
        (Score("frechet", "efficientnet_lite0", 48), "fd_efficientnet_lite0_48@dataset"),
        (Score("sfid", "inception", 50), "sfid_50@dataset"),
        (Score("kid", "inception", 50), "kid_50@dataset"),
        (Score("kid", "fashion_cnn", 50), "kd_fashion_cnn_50@dataset"),
        (Score("precision", "inception", 50), "precision_50@dataset"),
        (Score("recall", "fashion_cnn", 50, "softmax"), "recall_fashion_cnn_50@softmax"),
        (Score("inception_score", "inception", 50, ""), "inception_score_50"),
        (Score("inception_score", "fashion_cnn", 50, ""), "class_score_fashion_cnn_50"),
    ],
)
def test_a_name_says_all_that_a_score_is(score, name):
    assert score.name == name
    assert scores.parse(name) == score
    assert metrics.metric(name).stage is Stage.QUALITY
    assert metrics.word_of(name) == score.word
    assert metrics.claimable(name)


def test_only_the_one_inception_network_has_a_fid():
    for name in ("fashion_cnn", "efficientnet_lite0", "inception_v4"):
        assert "fid" not in Score("frechet", name, 100).name
    with pytest.raises(ValueError, match="features only"):
        _ = Score("sfid", "fashion_cnn", 100).name


def test_a_paper_writes_thousands_with_a_letter():
    found = scores.parse("fid_50k")
    assert found
    assert found.name == "fid_50000@dataset"


@pytest.mark.parametrize("name", ["fid", "fid_@dataset", "fd_48@dataset", "kid_x@softmax", "psnr"])
def test_other_names_are_of_no_set(name):
    assert scores.parse(name) is None


def test_more_is_better_of_what_is_a_share_or_a_score():
    assert metrics.metric("precision_50@dataset").better == "higher"
    assert metrics.metric("inception_score_50").better == "higher"
    assert metrics.metric("kid_50@dataset").better == "lower"


def test_the_bad_tail_lies_where_the_worst_pictures_are():
    assert metrics.TAILS["psnr"] == ("psnr_p5", 0.05)
    assert metrics.TAILS["ssim"] == ("ssim_p5", 0.05)
    assert metrics.TAILS["lpips"][0] == "lpips_p95"
