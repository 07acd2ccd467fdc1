"""Figures of pictures as a summary tells them: intervals, bad tails, and what they are too few for."""

import dataclasses

import pytest
from fakes_runs import cell, fake_run, gate, measured, record

from ditbench import summary
from ditbench.records import Choice, Stage

OF = cell("monarch")


def networks(dim=2048, count=50_000):
    return {
        "samples": 256,
        "extractors": {"inception": {"sha256": "aa" * 32, "dim": dim, "resize": "legacy"}},
        "references": {"dataset": {"name": "cifar10", "sha256": "bb" * 32, "count": count}},
        "errors": {"fid_256@dataset": 2.0, "kid_256@dataset": 0.01, "precision_256@dataset": 0.02},
    }


FIGURES = {
    "latent_drift": tuple(n / 100 for n in range(1, 101)),
    "ssim": tuple(n / 100 for n in range(1, 101)),
    "lpips": tuple(n / 100 for n in range(1, 101)),
    "fid_256@dataset": (100.0,),
    "kid_256@dataset": (0.004,),
    "precision_256@dataset": (0.01,),
}


def summed(*records, planned=(OF,)):
    return summary.summarise(fake_run(*records, planned=planned))


def judged(of=OF, metrics=FIGURES, **facts):
    return record(of, Stage.QUALITY, metrics=metrics, facts=networks() | facts)


def row(**facts):
    (found,) = summed(gate(OF), *measured("monarch"), judged(**facts)).rows
    return found


def test_mistake_13_a_figure_of_the_whole_set_has_the_interval_of_its_error():
    found = row().estimates["fid_256@dataset"]
    assert (found.low, found.value, found.high) == pytest.approx((96.08, 100, 103.92))
    assert found.samples == 256


def test_only_a_kernel_distance_reaches_below_zero():
    found = row().estimates
    assert found["kid_256@dataset"].low == pytest.approx(0.004 - 0.0196)
    assert found["precision_256@dataset"].low == 0


def test_no_share_of_pictures_reaches_above_one():
    high = judged(errors={"recall_256@dataset": 0.02}, metrics={"recall_256@dataset": (0.99,)})
    (found,) = summed(gate(OF), *measured("monarch"), high).rows
    assert found.estimates["recall_256@dataset"].high == 1


def test_the_bad_tail_stands_beside_the_median():
    found = row().estimates
    assert found["ssim"].value == pytest.approx(0.505)
    assert found["ssim_p5"].value == 0.05  # the worst pictures are the least alike
    assert found["lpips_p95"].value == 0.95  # and the furthest away
    assert found["latent_drift_p95"].value == 0.95


def test_mistake_21_pictures_fewer_than_features_are_a_doubt():
    (told,) = [one for one in row().doubts if "too few" in one]
    assert told.startswith("256 pictures are too few for the 2,048 features of inception")
    assert "paired difference" in told


@pytest.mark.parametrize(("dim", "doubted"), [(255, False), (256, True)])
def test_mistake_21_the_doubt_begins_where_a_covariance_is_singular(dim, doubted):
    found = row(**networks(dim))
    assert any("too few" in one for one in found.doubts) is doubted


def test_mistake_21_a_reference_of_few_pictures_is_a_doubt_of_its_own():
    found = row(**networks(64, 50))
    (told,) = [one for one in found.doubts if "too few" in one]
    assert told.startswith("50 real pictures are too few for the 64 features")


def test_figures_that_need_no_covariance_are_not_doubted():
    metrics = {"kid_256@dataset": (0.004,)}
    (found,) = summed(gate(OF), *measured("monarch"), judged(metrics=metrics)).rows
    assert not any("too few" in one for one in found.doubts)


def test_what_was_not_measured_is_told_once_with_its_reason():
    other = cell("sdpa")
    why = "against dataset in inception features: the statistics hold no features"
    unmeasured = [f"kid {why}", f"recall {why}", "ssim: pictures of 8x8 are smaller"]
    records = (
        *(gate(OF), *measured("monarch"), judged(unmeasured=unmeasured)),
        *(gate(other), *measured("sdpa"), judged(other, unmeasured=unmeasured[:2])),
    )
    notes = summed(*records, planned=(OF, other)).notes
    assert f"Not measured of 2 of 2 methods: kid, recall {why}." in notes
    assert "Not measured of 1 of 2 methods: ssim pictures of 8x8 are smaller." in notes


def model(name, **settings):
    changed = ",".join(f"{k}={v}" for k, v in settings.items())
    label = f"{name}[{changed}]" if changed else name
    given = dict(OF.model.settings) | settings
    return Choice(name, tuple(given.items()), label)


def side_by_side(one, other, **facts):
    first, second = (dataclasses.replace(OF, model=of) for of in (one, other))
    records = (
        gate(first, parameters=10_000_000),
        gate(second, **{"parameters": 10_000_000} | facts),
    )
    return [
        note
        for note in summed(*records, planned=(first, second)).notes
        if note.startswith("Rows of different models")
    ]


def test_mistake_38_models_side_by_side_tell_what_else_they_differ_in():
    (told,) = side_by_side(model("dit"), model("unet", sees_time=False), parameters=310_000_000)
    assert "parameters (dit 10.0 M, unet[sees_time=False] 310 M (31.0x))" in told
    assert "timestep input (dit seen, unet[sees_time=False] none)" in told


def test_mistake_38_another_dtype_of_a_model_is_told():
    other = dataclasses.replace(
        OF, model=model("unet"), sampling=dataclasses.replace(OF.sampling, dtype="bfloat16")
    )
    first = dataclasses.replace(OF, model=model("dit"))
    notes = summed(gate(first), gate(other), planned=(first, other)).notes
    assert any("dtype (dit float32, unet bfloat16)" in note for note in notes)


def test_equal_models_say_nothing():
    assert side_by_side(model("dit"), model("other")) == []
