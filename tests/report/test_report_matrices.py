"""The page of implied matrices: one scale, every method or the reason why not, and nothing fetched."""

from __future__ import annotations

import io
import re

import fakes_report as fakes
import numpy as np
import pytest
from PIL import Image

from ditbench.jobs import Asked, Drawn, Matrix
from ditbench.records import Choice
from ditbench.report import matrices

SITE = "blocks.3.attn1, self"
EVIL = "<script>alert(1)</script>/../x"


def matrix(name="softmax", values=None, **parts):
    plain = np.eye(4, dtype=np.float32) if values is None else np.asarray(values, np.float32)
    return Matrix(Choice(name), plain, **({"row_sums": (1.0, 1.0)} | parts))


def page(folder, *found, refused=(), **parts):
    asked = Asked(fakes.cell(batch_size=1), tuple(one.method for one in found), 3, 0, 6)
    drawn = Drawn(found, **({"tokens": 4, "pooled": 1, "weights": "5f2c", "site": SITE} | parts))
    path = matrices.render(asked, drawn, refused, folder)
    return re.sub(r"\s+", " ", path.read_text())


def test_every_method_is_drawn_beside_the_others_or_says_why_not(tmp_path):
    text = page(
        tmp_path,
        matrix(),
        matrix("monarch", error=0.25),
        Matrix(Choice("top-k"), failure="RuntimeError: k out of range"),
        refused=(("flash", "needs an NVIDIA GPU"),),
    )
    assert text.count("<img ") == 2
    assert "0.25 from softmax&#39;s matrix" in text
    assert "not drawn: RuntimeError: k out of range" in text
    assert "<li>flash: needs an NVIDIA GPU</li>" in text
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        "00-softmax.png",
        "01-monarch.png",
    ]


def test_how_it_was_made_is_told(tmp_path):
    text = page(tmp_path, matrix(), tokens=1024, pooled=2)
    for told in (
        "fashion-dit, weights embedded (5f2c)",
        "block 3 (blocks.3.attn1, self attention), head 0, both from 0",
        "step 6 of 20 (from 0)",
        "seed 0, sample 0; its row is the guided one with a class",
        "1024 x 1024 tokens, each pixel the mean of 2 x 2 of their entries",
    ):
        assert told in text


def test_a_method_without_a_matrix_is_not_passed_off_as_one_that_has(tmp_path):
    text = page(tmp_path, matrix(), matrix("odd", apart=0.4, linear=False))
    assert "not linear in V (its matrix misses its output by 0.4)" in text


def test_the_page_fetches_nothing_and_obeys_no_name(tmp_path):
    text = page(tmp_path, matrix(EVIL), refused=((EVIL, EVIL),))
    assert "<script" not in text
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", text)
    assert {path.parent for path in tmp_path.rglob("*.png")} == {tmp_path}


def test_larger_entries_are_lighter_zero_lets_the_page_through_and_signs_differ(tmp_path):
    values = [[0.0, 1e-4, 1e-2, 1.0], [-1e-4, -1e-2, -1.0, 1e-9]]
    page(tmp_path, matrix(values=values))
    image = Image.open(io.BytesIO((tmp_path / "00-softmax.png").read_bytes())).convert("RGBA")
    pixels = np.asarray(image).astype(float)
    light = pixels[..., :3] @ (0.2126, 0.7152, 0.0722)
    assert pixels[0, 0, 3] == 0
    assert (pixels[0, 1:, 3] == 255).all()
    assert light[0, 1] < light[0, 2] < light[0, 3]
    assert light[1, 0] < light[1, 1] < light[1, 2]
    assert (pixels[1, :3, 0] > pixels[1, :3, 1]).all()  # red
    assert light[1, 3] < light[0, 1]  # below the scale: the colour of its end


@pytest.mark.parametrize(
    ("values", "low", "high", "labels"),
    [
        ([[1e-3, 0.5]], 1e-3, 0.5, ["0.001", "0.01", "0.1"]),
        ([[1e-12, 1.0]], 1e-6, 1.0, ["1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1", "1"]),
        ([[0.2, 40.0]], 0.1, 1.0, ["0.1", "1"]),
    ],
)
def test_one_scale_spans_six_decades_at_most_and_ends_at_one(values, low, high, labels):
    scale = matrices.Scale.of([matrix(values=values)])
    assert (scale.low, scale.high) == pytest.approx((low, high))
    assert [label for label, _ in scale.ticks] == labels


def test_matrices_of_nothing_but_zeros_still_give_a_page(tmp_path):
    assert "exactly zero" in page(tmp_path, matrix("zero", values=np.zeros((4, 4)), zeros=16))
