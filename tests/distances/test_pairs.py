"""PSNR and SSIM of pairs against hand-written brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ditbench.distances import pairs
from ditbench.errors import UsageError

RNG = np.random.default_rng(3)


def pictures(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


def brute(a, b):
    """One picture, each place and channel on its own, by the definition."""
    window = np.array(
        [[math.exp(-(i * i + j * j) / 4.5) for j in range(-5, 6)] for i in range(-5, 6)]
    )
    window /= window.sum()
    found = []
    for channel in range(a.shape[-1]):
        for top in range(a.shape[0] - 10):
            for left in range(a.shape[1] - 10):
                x, y = (p[top : top + 11, left : left + 11, channel].astype(float) for p in (a, b))
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                common = (window * (x - mx) * (y - my)).sum()
                c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
                found.append(
                    (2 * mx * my + c1) * (2 * common + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
                )
    return np.mean(found)


@pytest.mark.parametrize("shape", [(1, 11, 11, 1), (2, 14, 17, 1), (2, 13, 12, 3)])
def test_ssim_agrees_with_brute_force(shape):
    one = pictures(*shape)
    other = np.clip(one.astype(int) + RNG.integers(-40, 40, shape), 0, 255).astype(np.uint8)
    expected = [brute(a, b) for a, b in zip(one, other, strict=True)]
    assert pairs.ssim(one, other) == pytest.approx(expected, abs=1e-12)


def test_ssim_agrees_with_another_implementation():
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    one, other = pictures(2, 40, 30, 1), pictures(2, 40, 30, 1)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = [
        metrics.structural_similarity(a[..., 0], b[..., 0], data_range=255, **settings)
        for a, b in zip(one, other, strict=True)
    ]
    assert pairs.ssim(one, other) == pytest.approx(expected, abs=1e-7)


def test_equal_pictures_are_wholly_similar_in_whatever_batch():
    one = pictures(40, 16, 16, 3)  # more than are looked at at once
    assert pairs.ssim(one, one) == pytest.approx([1.0] * 40, abs=1e-12)
    other = pictures(40, 16, 16, 3)
    assert pairs.ssim(one, other)[17] == pytest.approx(pairs.ssim(one[17:18], other[17:18])[0])


def test_mistake_27_two_black_pictures_are_equal_and_no_number_breaks():
    black = np.zeros((1, 12, 12, 1), np.uint8)
    assert pairs.ssim(black, black) == pytest.approx((1,))
    assert pairs.ssim(black, black + 255)[0] < 0.001


def test_psnr_of_equal_pictures_is_infinite_and_of_a_step_is_known():
    black = np.zeros((2, 4, 4, 1), np.uint8)
    grey = black.copy()
    grey[1] += 16
    same, step = pairs.psnr(grey, black)
    assert math.isinf(same)
    assert math.isclose(step, 20 * math.log10(255 / 16))


def test_psnr_knows_no_wrap_at_256():
    white, black = np.full((1, 4, 4, 1), 255, np.uint8), np.zeros((1, 4, 4, 1), np.uint8)
    assert pairs.psnr(white, black) == pairs.psnr(black, white) == (0.0,)


def test_what_is_no_pair_of_pictures_is_refused():
    with pytest.raises(UsageError, match=r"\(2, 4, 4, 1\) and \(3, 4, 4, 1\) are no pairs"):
        pairs.psnr(pictures(2, 4, 4, 1), pictures(3, 4, 4, 1))
    with pytest.raises(UsageError, match="float64: give uint8"):
        pairs.psnr(np.zeros((1, 4, 4, 1)), np.zeros((1, 4, 4, 1)))
    with pytest.raises(UsageError, match="8x40 are smaller than SSIM's window of 11"):
        pairs.ssim(pictures(1, 8, 40, 1), pictures(1, 8, 40, 1))
