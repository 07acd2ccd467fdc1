"""Pictures for other programs: one `.npz` as ADM's evaluator reads it, or a folder of PNG files.

What is written depends on the pictures alone, and not on how they were cut into shards: equal pictures give
equal bytes.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

from numpy.lib import format as npy

from ditbench import pictures
from ditbench.errors import StoreError
from ditbench.store.disk import replacing, writing
from ditbench.store.pictures import Shards

_AGAIN = "export again"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can tell
_PICTURE = re.compile(r"\d{6,}\.png")


def export_npz(shards: Shards, path: Path) -> None:
    """One array `arr_0`, uint8 (n, height, width, channels), in a `.npz`: guided-diffusion's format.

    One shard at a time is in memory. Raises StoreError where there are no pictures or the disk refuses.
    """
    _check_pictured(shards)
    head = {"descr": "|u1", "fortran_order": False, "shape": (shards.count, *shards.shape)}
    with (
        replacing(path, _AGAIN) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        archive.open(zipfile.ZipInfo("arr_0.npy", _EPOCH), "w", force_zip64=True) as out,
    ):
        npy.write_array_header_1_0(out, head)
        for part in shards.parts:
            out.write(part.array("arr_0").data)


def export_png(shards: Shards, folder: Path) -> None:
    """`000000.png` and so on, one a picture, in a folder that appears whole at the end.

    It takes the place of one that holds nothing else. Raises StoreError for one that does, and where there
    are no pictures or the disk refuses.
    """
    _check_pictured(shards)
    _check_replaceable(folder)
    temporary = folder.with_name(f".{folder.name}.tmp")
    with writing(folder, _AGAIN):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            for part in shards.parts:
                for number, image in enumerate(part.array("arr_0"), part.start):
                    pictures.save(temporary / f"{number:06d}.png", image, small=False)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _check_pictured(shards: Shards) -> None:
    if not shards.shape:
        raise StoreError(
            f"{shards.folder}: holds latents that are no pictures, and nothing decoded them: there is "
            "nothing to export"
        )


def _check_replaceable(folder: Path) -> None:
    others = [
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if not _PICTURE.fullmatch(path.name)
    ]
    if others or (folder.exists() and not folder.is_dir()):
        told = f"holds {others[0]}" if others else "is no folder"
        raise StoreError(f"{folder}: {told}, which is no exported picture: name another folder")
