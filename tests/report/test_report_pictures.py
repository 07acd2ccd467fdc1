"""Sample grids: a column a seed under its class, a row a method, each picture with its own figures."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import fakes_quality
import fakes_report as fakes
import fakes_runs
import numpy as np
import pytest
from PIL import Image

from ditbench.errors import StoreError
from ditbench.records import Sampling
from ditbench.report import judged, kept, pictures, words
from ditbench.report.render import render
from ditbench.store import pictures as store
from ditbench.store import shelf
from ditbench.summary import summarise

# As a seed draws them: every class once before any comes again, and not in order.
LABELS = np.array([2, 0, 1] * 8)
NAMES = np.array(["bag", "coat", "<b>boot</b>"])[LABELS]


def shown(tmp_path, rows=None, budget=600_000, **kept_by):
    summary = fakes.summary(rows=rows or tuple(map(fakes.row, fakes.METHODS[:3])))
    run = fakes.run(tmp_path / "run", summary)
    fakes.paint(run, summary, **kept_by)
    peers = judged.peers(run, summary, words.Names.of(row.cell for row in summary.rows))
    found, problems = pictures.galleries(run.folder, peers, budget)
    assert problems == ()
    return found


def of_shards(tmp_path, **parts):
    run = fakes_quality.run(tmp_path, **parts)
    peers = judged.peers(run, summarise(run), words.Names.of(run.planned))
    return pictures.galleries(run.folder, peers, 600_000)


def pixels(tile):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(tile.uri.partition(",")[2]))))


def heads(gallery):
    return [(head.named, head.number) for band in gallery.bands for head in band.heads]


def test_a_column_is_a_seed_and_stands_under_its_class_whatever_was_drawn_first(tmp_path):
    (gallery,) = shown(tmp_path, labels=LABELS, classes=NAMES)
    assert heads(gallery)[:4] == [("bag", 1), ("coat", 2), ("<b>boot</b>", 0), ("bag", 4)]
    assert [len(band.heads) for band in gallery.bands] == [12, 12]
    assert [sheet.label for sheet in gallery.sheets][:2] == ["softmax", "sdpa"]
    folder = shelf.folder_of(tmp_path / "run" / "images", fakes.row().cell)
    images = store.Shards.open(folder).images()[..., 0]
    for (_, number), tile in zip(heads(gallery), gallery.sheets[0].tiles, strict=True):
        assert np.array_equal(pixels(tile), images[number])


def test_each_picture_tells_its_own_figures(tmp_path):
    (gallery,), problems = of_shards(tmp_path)
    record = fakes_quality.record(fakes_runs.cell("monarch"), fakes_runs.METHODS["monarch"][4])
    sheet = next(one for one in gallery.sheets if one.label == "monarch")
    drift, psnr, ssim = (record.metrics[name][1] for name in ("latent_drift", "psnr", "ssim"))
    assert problems == ()
    assert sheet.tiles[0].said == (
        f"picture 1 (bag) by monarch: drift {drift:.4f}, PSNR {psnr:.1f} dB, SSIM {ssim:.3f}"
    )
    assert gallery.sheets[0].tiles[0].said == "picture 1 (bag) by softmax"


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
    ("told", "named"),
    [
        ({}, ""),
        ({"labels": np.arange(24), "classes": np.array(["x"] * 24)}, "x"),
    ],
    ids=["none are told", "many"],
)
def test_without_a_few_classes_the_pictures_stand_as_they_were_drawn(tmp_path, told, named):
    (gallery,) = shown(tmp_path, **told)
    assert heads(gallery) == [(named, number) for number in range(24)]


def test_what_the_page_has_no_room_for_is_shown_smaller_then_fewer_then_counted(tmp_path):
    rows = tuple(map(fakes.row, fakes.METHODS[:3]))
    seen = []
    for budget in (600_000, 50_000, 25_000, 10_000):
        (gallery,) = shown(tmp_path / f"{budget}", rows, budget, side=200)
        seen.append((gallery.sheets[0].tiles[0].width, len(gallery.sheets[0].tiles)))
        assert sum(sheet.size for sheet in gallery.sheets) <= budget
    assert seen == sorted(seen, reverse=True)
    assert (seen[0], seen[-1][0]) == ((96, 24), 64)
    (gallery,) = shown(tmp_path / "least", rows, 5_000)
    assert (len(gallery.sheets), gallery.hidden) == (1, 2)


def test_shards_are_read_by_number_and_a_torn_one_is_named(tmp_path):
    run = fakes_quality.run(tmp_path, ("softmax",))
    cell = run.planned[0]
    whole = store.Shards.open(shelf.folder_of(tmp_path / "images", cell))
    picked = kept.kept(tmp_path, cell).pick([40, 3])
    assert np.array_equal(picked.images, np.stack([whole.images()[40], whole.images()[3]]))
    assert picked.classes == ((2, "<b>boot</b>"), (3, "shirt"))
    assert (
        picked.images.base is None or len(picked.images.base) <= 2
    )  # and no shard stays in memory
    shelf.file_of(whole.folder, 0, 32).write_bytes(b"torn")
    with pytest.raises(StoreError, match="torn"):
        kept.kept(tmp_path, cell)


def test_pictures_of_a_run_before_shards_are_shown_and_spoilt_ones_named(tmp_path):
    cell = fakes.row().cell
    path = tmp_path / "images" / f"{cell.quality_key}.npz"
    path.parent.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), np.uint8)
    np.savez(path, images=images, labels=LABELS, classes=NAMES)
    picked = kept.kept(tmp_path, cell).pick([5, 0])
    assert np.array_equal(picked.images, images[[5, 0]])
    assert picked.classes == ((1, "coat"), (2, "<b>boot</b>"))
    for spoilt in (images.astype(float), images[..., 0], np.repeat(images, 4, axis=-1)):
        np.savez(path, images=spoilt)
        with pytest.raises(StoreError, match="cannot be read as pictures"):
            kept.kept(tmp_path, cell)
    np.savez(path, images=np.zeros((0, 0, 0, 0), np.uint8))  # latents that are no pictures
    assert kept.kept(tmp_path, cell) is None


def test_a_torn_shard_costs_one_method_and_is_told(tmp_path):
    run = fakes_quality.run(tmp_path, ("softmax", "sdpa"))
    shelf.file_of(shelf.folder_of(tmp_path / "images", run.planned[1]), 0, 32).write_bytes(b"torn")
    page = fakes_quality.shown(run)
    assert [sheet.label for sheet in page.galleries[0].sheets] == ["softmax"]
    assert any("torn" in problem for problem in page.problems)


def test_the_page_heads_each_column_with_its_class_and_describes_each_picture(tmp_path):
    summary = fakes.summary(rows=tuple(map(fakes.row, fakes.METHODS[:2])))
    run = fakes.run(tmp_path / "run", summary)
    fakes.paint(run, summary, labels=LABELS, classes=NAMES)
    page = render(run, summary, fakes.NOTHING, tmp_path).read_text()
    table = re.search(r'<div class="scroll samples".*?<thead>(.*?)</thead>', page, re.DOTALL)[1]
    assert re.findall(r'<th scope="col">(.*?)</th>', table)[:4] == [
        "method",
        "bag<small>#1</small>",
        "coat<small>#2</small>",
        "&lt;b&gt;boot&lt;/b&gt;<small>#0</small>",
    ]
    told = re.findall(r'alt="(picture 2 \(coat\) by (?:softmax|sdpa)[^"]*)" title="([^"]*)"', page)
    assert len(told) == 4  # in the grid, and among those that moved most
    assert all(alt == title for alt, title in told)
