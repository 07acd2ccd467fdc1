"""Sample grids: a column for each class where the pictures' files name them, else sheets in one order."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import fakes_report as fakes
import numpy as np
import pytest
from PIL import Image

from ditbench.records import Sampling
from ditbench.report import pictures, words
from ditbench.report.render import render
from ditbench.store.pictures import Shards

# As a seed draws them: every class once before any comes again, and not in order.
LABELS = np.array([2, 0, 1] * 8)
NAMES = np.array(["bag", "coat", "<b>boot</b>"])[LABELS]


def shown(tmp_path, rows=None, **kept):
    summary = fakes.summary(rows=rows or tuple(map(fakes.row, fakes.METHODS[:3])))
    run = fakes.run(tmp_path / "run", summary)
    fakes.paint(run, summary, **kept)
    names = words.Names.of(row.cell for row in summary.rows)
    found, problems = pictures.galleries(run, summary, names, 600_000)
    assert problems == ()
    return found


def pixels(tile):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(tile.uri.partition(",")[2]))))


def kept_by(tmp_path, row):
    return Shards.open(tmp_path / "run" / "images" / row.cell.quality_key).images()[..., 0]


def test_a_method_is_a_row_and_a_class_a_column_whatever_the_seed_drew_first(tmp_path):
    (gallery,) = shown(tmp_path, labels=LABELS, classes=NAMES)
    assert gallery.classes == ("bag", "coat", "<b>boot</b>")
    assert gallery.sheets[0].label == "softmax"
    assert [tile.said for tile in gallery.sheets[1].tiles][:2] == ["bag by sdpa", "coat by sdpa"]
    images = kept_by(tmp_path, fakes.row())
    coats = pixels(gallery.sheets[0].tiles[1])  # the eight of them, one below the other
    assert np.array_equal(coats[:32], images[2])
    assert np.array_equal(coats[34:66], images[5])
    assert coats.shape == (8 * 34 - 2, 32)


def test_guidance_on_and_off_stand_apart(tmp_path):
    rows = tuple(
        replace(fakes.row(method), cell=cell)
        for method in fakes.METHODS[:2]
        for scale in (1.0, 3.0)
        for cell in [replace(fakes.cell(method), sampling=Sampling(guidance_scale=scale))]
    )
    galleries = shown(tmp_path, rows, labels=LABELS, classes=NAMES)
    assert [gallery.title.rpartition(" \N{MIDDLE DOT} ")[2] for gallery in galleries] == [
        "guidance 1",
        "guidance 3",
    ]
    assert all(len(gallery.sheets) == 2 for gallery in galleries)


@pytest.mark.parametrize(
    "kept",
    [
        {},
        {"labels": np.arange(24), "classes": np.array(["x"] * 24)},
    ],
    ids=["none are told", "too many"],
)
def test_without_a_few_classes_the_first_pictures_are_one_sheet(tmp_path, kept):
    (gallery,) = shown(tmp_path, **kept)
    assert gallery.classes == ()
    assert [len(sheet.tiles) for sheet in gallery.sheets] == [1, 1, 1]
    assert gallery.sheets[0].tiles[0].said == "24 pictures by softmax"


def test_pictures_of_an_earlier_layout_are_named_and_the_page_is_whole(tmp_path):
    summary = fakes.summary(rows=tuple(map(fakes.row, fakes.METHODS[:2])))
    run = fakes.run(tmp_path / "run", summary)
    (run.folder / "images").mkdir(parents=True)
    key = summary.rows[1].cell.quality_key
    np.savez(run.folder / "images" / f"{key}.npz", images=np.zeros((4, 8, 8, 1), np.uint8))
    page = render(run, summary, fakes.NOTHING, tmp_path).read_text()
    assert f"images/{key}.npz: holds pictures in the layout of an earlier ditbench" in page


def test_the_page_heads_each_column_with_its_class_and_describes_each_picture(tmp_path):
    summary = fakes.summary(rows=tuple(map(fakes.row, fakes.METHODS[:2])))
    run = fakes.run(tmp_path / "run", summary)
    fakes.paint(run, summary, labels=LABELS, classes=NAMES)
    page = render(run, summary, fakes.NOTHING, tmp_path).read_text()
    heads = re.search(r'<table class="classes">\s*<thead>(.*?)</thead>', page, re.DOTALL)[1]
    assert re.findall(r'<th scope="col">(.*?)</th>', heads) == [
        "method",
        "bag",
        "coat",
        "&lt;b&gt;boot&lt;/b&gt;",
    ]
    assert len(re.findall(r'alt="coat by (?:softmax|sdpa)"', page)) == 2
