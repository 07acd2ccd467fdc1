"""Figures of pictures stand beside each other only where all that they depend on is the same."""

import pytest
from fakes_runs import cell, fake_run, gate, measured, quality, record

from ditbench.compare import Verdict, compare
from ditbench.records import Stage

OF = cell("monarch")
FACTS = {
    "samples": 256,
    "image_key": "ab" * 8,
    "extractors": {
        "inception": {"sha256": "aa" * 32, "dim": 2048, "resize": "tf"},
        "lpips_alex": {"sha256": "cc" * 32, "dim": 0, "resize": "none"},
    },
    "references": {
        "dataset": {"name": "cifar10 train", "sha256": "dd" * 32, "count": 50_000},
        "softmax": {"image_key": "ee" * 8},
    },
    "errors": {"fid_256@dataset": 2.0, "kid_256@dataset": 0.001},
    "paired": {"fid_256@dataset": {"change": 1.3, "error": 0.5}},
    "protocol": {
        "sampler": "ddim",
        "steps": 10,
        "guidance_scale": 4.0,
        "guidance_channels": 3,
        "dtype": "float32",
        "micro_batch": 16,
        "vae": "sd-vae-ft-ema",
        "samples": 256,
    },
}
FIGURES = {
    "latent_drift": (0.2, 0.3),
    "lpips": (0.1, 0.2),
    "fid_256@dataset": (100.0,),
    "fid_256@softmax": (10.0,),
    "kid_256@dataset": (0.01,),
}


def judged(metrics=None, **facts):
    return record(OF, Stage.QUALITY, metrics=FIGURES | (metrics or {}), facts=FACTS | facts)


def found(now, then=None):
    runs = [
        fake_run(gate(OF), *measured("monarch"), one or judged(), planned=(OF,))
        for one in (now, then)
    ]
    return {one.metric: one for one in compare(*runs, "x").findings}


def changed(part, **values):
    return {part: FACTS[part] | values}


def other(part, name, **values):
    return changed(part, **{name: FACTS[part][name] | values})


def test_equal_pictures_are_unchanged():
    assert {one.verdict for one in found(judged()).values()} == {Verdict.UNCHANGED}


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (other("extractors", "inception", sha256="bb" * 32), f"sha256 {'aa' * 8} then, {'bb' * 8}"),
        (other("extractors", "inception", resize="clean"), "resize tf then, clean now"),
        (other("references", "dataset", sha256="ff" * 32), "another reference, cifar10 train and"),
        (other("references", "dataset", count=10_000), "count 50000 then, 10000 now"),
    ],
)
def test_mistake_22_distances_of_another_network_resize_or_reference_are_not_compared(facts, told):
    one = found(judged(**facts))
    assert one["fid_256@dataset"].verdict is Verdict.INCOMPARABLE
    assert told in one["fid_256@dataset"].reason
    assert one["fid_256@dataset"].baseline.value == 100
    assert one["latent_drift"].verdict is Verdict.UNCHANGED


def test_lpips_is_of_its_own_network():
    one = found(judged(**other("extractors", "lpips_alex", sha256="00" * 32)))
    assert one["lpips"].verdict is Verdict.INCOMPARABLE
    assert one["fid_256@dataset"].verdict is Verdict.UNCHANGED


def test_other_softmax_pictures_are_another_reference():
    one = found(judged(**other("references", "softmax", image_key="00" * 8)))
    for name in ("fid_256@softmax", "latent_drift", "lpips"):
        assert one[name].verdict is Verdict.INCOMPARABLE, name
    assert one["fid_256@dataset"].verdict is Verdict.UNCHANGED


def test_mistake_23_distances_of_another_number_stand_beside_each_other_with_both_values():
    metrics = {"fid_256@dataset": (), "fid_512@dataset": (70.0,)}
    one = found(judged(metrics))["fid_512@dataset"]
    assert one.verdict is Verdict.INCOMPARABLE
    assert one.reason == ("fid_256@dataset 100 and fid_512@dataset 70: 256 pictures then, 512 now")
    assert (one.baseline.value, one.candidate.value) == (100, 70)
    assert "fid_256@dataset" not in found(judged(metrics))


def test_mistake_22_fid_and_the_distance_in_another_network_are_not_compared():
    metrics = {"fid_256@dataset": (), "fd_fashion_cnn_256@dataset": (3.0,)}
    one = found(judged(metrics))["fd_fashion_cnn_256@dataset"]
    assert one.verdict is Verdict.INCOMPARABLE
    assert "features of inception then, of fashion_cnn now" in one.reason


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("guidance_channels", 0, "guidance_channels 3 then, 0 now"),
        ("guidance_scale", 1.5, "guidance_scale 4 then, 1.5 now"),
        ("steps", 250, "steps 10 then, 250 now"),
        ("sampler", "ddpm", "sampler ddim then, ddpm now"),
        ("vae", "sd-vae-ft-mse", "vae sd-vae-ft-ema then, sd-vae-ft-mse now"),
        ("micro_batch", 4, "micro_batch 16 then, 4 now"),
        ("dtype", "bfloat16", "dtype float32 then, bfloat16 now"),
    ],
)
def test_mistake_37_pictures_of_another_protocol_are_not_compared(name, value, told):
    one = found(judged(**changed("protocol", **{name: value})))
    for metric in ("fid_256@dataset", "latent_drift", "lpips", "kid_256@dataset"):
        assert one[metric].verdict is Verdict.INCOMPARABLE
        assert told in one[metric].reason


def test_the_floor_of_a_distance_is_its_paired_error_where_there_is_one():
    assert found(judged({"fid_256@dataset": (101.4,)}))["fid_256@dataset"].verdict is (
        Verdict.UNCHANGED
    )
    assert found(judged({"fid_256@dataset": (110.0,)}))["fid_256@dataset"].verdict is (
        Verdict.REGRESSED
    )
    assert found(judged({"kid_256@dataset": (0.0129,)}))["kid_256@dataset"].verdict is (
        Verdict.UNCHANGED
    )


@pytest.mark.parametrize("before", [-0.001, 0.0])
def test_from_a_kernel_distance_that_is_not_positive_its_errors_alone_judge(before):
    """An unbiased distance of good pictures lies about zero, of which no share is anything."""
    then = judged({"kid_256@dataset": (before,)})
    one, near = (
        found(judged({"kid_256@dataset": (before + more,)}), then)["kid_256@dataset"]
        for more in (0.02, 0.0029)
    )
    assert (one.verdict, one.change) == (Verdict.REGRESSED, None)
    assert near.verdict is Verdict.UNCHANGED
    better = found(then, judged({"kid_256@dataset": (0.02,)}))["kid_256@dataset"]
    assert better.verdict is Verdict.IMPROVED


def test_a_run_of_before_is_compared_as_far_as_it_tells():
    then = quality(OF, 0.2)
    now = quality(
        OF,
        0.2,
        extractors={"fashion_cnn": {"sha256": "ab" * 32, "dim": 64, "resize": "none"}},
        protocol=FACTS["protocol"],
    )
    assert {one.verdict for one in found(now, then).values()} == {Verdict.UNCHANGED}
