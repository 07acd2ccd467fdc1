"""Latents to uint8 by one rule; grids."""

from __future__ import annotations

import numpy as np

from ditbench import pictures


def test_the_ends_and_the_middle_of_the_range():
    latents = np.array([-2.0, -1.0, 0.0, 1.0, 2.0], np.float32).reshape(1, 1, 1, 5)
    assert pictures.quantise(latents).ravel().tolist() == [0, 0, 128, 255, 255]


def test_a_grid_keeps_every_picture_whole_and_in_order(tmp_path):
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 2, 2, 1), np.uint8)
    sheet = pictures.grid(images, columns=3, gap=1)
    assert sheet.shape == (5, 8, 1)
    assert [int(sheet[0, x, 0]) for x in (0, 3, 6)] == [0, 1, 2]
    assert int(sheet[3, 3, 0]) == 4
    pictures.save(tmp_path / "grid.png", sheet)
    assert (tmp_path / "grid.png").read_bytes()[:4] == b"\x89PNG"
