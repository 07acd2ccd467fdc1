"""Sample grids: the first pictures of every method, the same seeds in the same places, as data URIs."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ditbench import pictures
from ditbench.records import Status
from ditbench.report import words
from ditbench.store import Run
from ditbench.summary import Row, Summary

REFERENCE = "softmax"
_SIDE = 64  # pixels; larger pictures are shrunk to it
_COLUMNS = 8
_COUNTS = (24, 16, 8, 4)
_METHODS = 40

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Sheet:
    """One method's pictures. width, height: pixels to show it at."""

    label: str
    detail: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Gallery:
    """Sheets that may be laid side by side. hidden: methods left out; lost: files that cannot be read."""

    title: str
    sheets: tuple[Sheet, ...]
    count: int
    hidden: int


def galleries(
    run: Run, summary: Summary, names: words.Names, budget: int
) -> tuple[tuple[Gallery, ...], tuple[str, ...]]:
    """One gallery a model and protocol, the reference method first; and which files could not be read.

    budget: characters that all of them may take.
    """
    together: dict[str, dict[str, Row]] = {}
    for row in summary.rows:
        if row.status is Status.OK and not row.cell.finds_batch:  # a sibling stands for it
            cell = row.cell
            title = names.said(cell, (names.varying | {"model", "steps"}) - _ASIDE)
            together.setdefault(title, {}).setdefault(cell.quality_key, row)
    read: dict[str, list[tuple[Row, Images]]] = {}
    problems = []
    for title, rows in together.items():
        read[title] = []
        for row in rows.values():
            images = _read(run.folder, row)
            if images is not None:
                read[title].append((row, images))
            elif problem := _lost(run.folder, row):
                problems.append(problem)
    kept = [(title, found) for title, found in read.items() if found]
    share = budget // max(1, len(kept))
    return tuple(_gallery(title, found, names, share) for title, found in kept), tuple(problems)


_ASIDE = {"attention", "blocks", "batch_size", "compile"}


def _path(folder: Path, row: Row) -> Path:
    return folder / "images" / f"{row.cell.quality_key}.npz"


def _read(folder: Path, row: Row) -> Images | None:
    """uint8 pictures (n, height, width, channels), or None where there are none."""
    try:
        with np.load(_path(folder, row), allow_pickle=False) as file:
            images: Images = file["images"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    fit = (
        images.ndim == 4 and images.dtype == np.uint8 and len(images) and images.shape[-1] in {1, 3}
    )
    return images[: _COUNTS[0]].copy() if fit else None  # a view would keep all the others alive


def _lost(folder: Path, row: Row) -> str:
    """What to tell of a file that was not read, if it is there."""
    path = _path(folder, row)
    if not path.exists() or _is_empty(path):
        return ""
    return f"images/{path.name}: cannot be read as pictures (uint8, n x height x width x 1 or 3)"


def _is_empty(path: Path) -> bool:
    """Latents that are no pictures leave an empty array: nothing is wrong then."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return bool(file["images"].size == 0)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return False


def _gallery(
    title: str, found: list[tuple[Row, Images]], names: words.Names, budget: int
) -> Gallery:
    """As many pictures a method as fit into the budget."""
    found = sorted(found, key=lambda pair: pair[0].cell.attention.name != REFERENCE)
    shown = found[:_METHODS]
    most = min(len(images) for _, images in shown)
    tries = [count for count in _COUNTS if count <= most] or [most]
    for count in tries:
        sheets = tuple(_sheet(row, images[:count], names) for row, images in shown)
        if sum(len(sheet.uri) for sheet in sheets) <= budget:
            break
    sheets = _within(sheets, budget)
    return Gallery(title, sheets, count, len(found) - len(sheets))


def _within(sheets: Iterable[Sheet], budget: int) -> tuple[Sheet, ...]:
    kept: list[Sheet] = []
    for sheet in sheets:
        budget -= len(sheet.uri)
        if budget < 0:
            break
        kept.append(sheet)
    return tuple(kept)


def _sheet(row: Row, images: Images, names: words.Names) -> Sheet:
    sheet = pictures.grid(_shrunk(images), _COLUMNS)
    zoom = 2 if images.shape[1] <= _SIDE // 2 else 1
    return Sheet(
        label=names.method(row.cell),
        detail=_detail(row),
        uri="data:image/png;base64," + base64.b64encode(_png(sheet)).decode(),
        width=sheet.shape[1] * zoom,
        height=sheet.shape[0] * zoom,
    )


def _shrunk(images: Images) -> Images:
    """Pictures of at most `_SIDE` pixels, by area, so that no pixel counts more than another."""
    _, height, width, channels = images.shape
    if max(height, width) <= _SIDE:
        return images
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = [np.asarray(_image(image).resize(size, Image.Resampling.BOX)) for image in images]
    return np.stack(small).reshape(len(images), size[1], size[0], channels)


def _image(image: Images) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _png(image: Images) -> bytes:
    buffer = io.BytesIO()
    _image(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _detail(row: Row) -> str:
    drift, psnr = row.estimates.get("latent_drift"), row.estimates.get("psnr")
    if row.cell.attention.name == REFERENCE:
        return "the reference method"
    parts = [f"drift {words.figure('latent_drift', drift.value) if drift else 'not measured'}"]
    if psnr:
        parts.append(f"PSNR {words.figure('psnr', psnr.value)}")
    return ", ".join(parts)
