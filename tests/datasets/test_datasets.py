"""Every format gives the pictures that were written, in order, in batches, with one identity."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import sets
from PIL import Image

from ditbench.datasets import npz, open_dataset, padded
from ditbench.errors import UsageError


def whole(dataset):
    return dataset.take(range(dataset.count))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_idx_folders_give_their_pictures_in_their_own_size(tmp_path, suffix, split):
    images, labels = sets.idx_folder(tmp_path, suffix=suffix)[split]
    found = open_dataset(str(tmp_path), split)
    assert (found.count, found.shape, len(found.classes)) == (6, (28, 28, 1), 6)
    assert found.name == f"{tmp_path.name}/{split}"
    np.testing.assert_array_equal(whole(found)[0], images)
    np.testing.assert_array_equal(whole(found)[1], labels)
    assert whole(found)[1].dtype == np.int64


@pytest.mark.parametrize("write", [sets.cifar_bytes, sets.cifar_sheets])
@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar_gives_the_same_from_bytes_and_from_sheets(tmp_path, write, split):
    images, labels = write(tmp_path)[split]
    found = open_dataset(str(tmp_path), split)
    assert (found.shape, found.classes[3]) == ((32, 32, 3), "cat")
    np.testing.assert_array_equal(whole(found)[0], images)
    np.testing.assert_array_equal(whole(found)[1], labels)


def test_the_same_pictures_are_the_same_set_in_either_container(tmp_path):
    sets.cifar_bytes(tmp_path / "a")
    sets.cifar_sheets(tmp_path / "b")
    one, other = (open_dataset(str(tmp_path / name)) for name in "ab")
    assert one.sha256 == other.sha256
    assert one.sha256 != open_dataset(str(tmp_path / "a"), "test").sha256


def test_an_unpacked_archive_is_found_one_folder_deeper(tmp_path):
    sets.cifar_bytes(tmp_path / "cifar-10-batches-bin")
    assert open_dataset(str(tmp_path)).count == 15


def test_a_flat_folder_is_read_in_name_order(tmp_path):
    images = sets.pictures(4, 9)
    sets.png_folder(tmp_path, images, ["b.png", "a.png", "c.PNG", "d.webp"])
    Image.fromarray(images[3]).save(tmp_path / "d.webp", lossless=True)
    (tmp_path / "notes.txt").write_text("are no picture")
    found = open_dataset(str(tmp_path))
    assert (found.count, found.shape, found.labels, found.classes) == (4, (9, 9, 3), None, ())
    np.testing.assert_array_equal(found.take([0, 1, 2, 3])[0], images[[1, 0, 2, 3]])
    assert found.take([3])[1] is None


def test_subfolders_are_classes(tmp_path):
    images = sets.pictures(5)
    names = ["dog/2.png", "cat/1.png", "dog/1.png", "cat/2.jpg", "cat/10.png"]
    sets.png_folder(tmp_path, images, names)
    found = open_dataset(str(tmp_path))
    assert found.classes == ("cat", "dog")
    assert whole(found)[1].tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_array_equal(found.take([0, 4])[0], images[[1, 0]])


def test_a_subfolder_of_the_splits_name_is_the_split(tmp_path):
    images = sets.pictures(3)
    sets.png_folder(tmp_path / "train", images[:2])
    sets.png_folder(tmp_path / "val", images[2:])
    assert open_dataset(str(tmp_path)).count == 2
    assert open_dataset(str(tmp_path), "val").name == f"{tmp_path.name}/val"
    with pytest.raises(UsageError, match="no split 'test' here, it has train, val"):
        open_dataset(str(tmp_path), "test")


def test_a_folders_identity_is_its_names_and_bytes(tmp_path):
    images = sets.pictures(3)
    for name in "ab":
        sets.png_folder(tmp_path / name, images)
    one, other = (open_dataset(str(tmp_path / name)).sha256 for name in "ab")
    assert one == other
    (tmp_path / "b" / "000001.png").rename(tmp_path / "b" / "000009.png")
    assert open_dataset(str(tmp_path / "b")).sha256 != one


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_of_adms_kind_is_read_mapped_or_whole(tmp_path, save):
    images = sets.pictures(5, 8, 3)
    save(tmp_path / "samples.npz", images, np.arange(5))
    found = open_dataset(str(tmp_path / "samples.npz"))
    assert (found.name, found.count, found.shape) == ("samples", 5, (8, 8, 3))
    np.testing.assert_array_equal(found.take([4, 1])[0], images[[4, 1]])
    assert found.take([4, 1])[1].tolist() == [4, 1]
    mapped = isinstance(npz.array(tmp_path / "samples.npz", "arr_0"), np.memmap)
    assert mapped == (save is np.savez)


@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_batches_are_all_pictures_once(tmp_path, size):
    images, labels = sets.idx_folder(tmp_path, count=7)["train"]
    parts = list(open_dataset(str(tmp_path)).batches(size))
    assert max(len(part) for part, _ in parts) == min(size, 7)
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), images)
    np.testing.assert_array_equal(np.concatenate([told for _, told in parts]), labels)


def test_a_margin_is_black_and_gives_another_identity(tmp_path):
    images, _ = sets.idx_folder(tmp_path)["train"]
    plain = open_dataset(str(tmp_path))
    found = padded(plain, 32)
    assert (found.shape, found.count, found.classes) == ((32, 32, 1), 6, plain.classes)
    np.testing.assert_array_equal(found.take([2])[0][0, 2:30, 2:30], images[2])
    assert found.take([2])[0].sum() == images[2].sum()
    assert found.sha256 != plain.sha256
    assert padded(found, 32) is found
    with pytest.raises(UsageError, match="pictures of 28x28 do not fit into 16x16"):
        padded(plain, 16)


def hub(monkeypatch, images, mode="RGB", **columns):
    """A package `datasets` whose one set holds these pictures."""
    kinds = {"image": type("Image", (), {})(), "label": type("ClassLabel", (), {})()}
    kinds["label"].names = ["cat", "dog"]
    kinds |= columns
    rows = [
        {"image": Image.fromarray(p).convert(mode), "label": n % 2} for n, p in enumerate(images)
    ]

    class Rows(list):
        features = kinds

        def __getitem__(self, key):
            return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)

    asked = []

    def load_dataset(name, *, split):
        asked.append((name, split))
        return Rows(rows)

    package = ModuleType("datasets")
    package.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", package)
    return asked


def test_a_hub_set_is_asked_for_by_name_and_split(monkeypatch):
    images = sets.pictures(4)
    asked = hub(monkeypatch, images)
    found = open_dataset("hub:owner/animals", "test")
    assert asked == [("owner/animals", "test")]
    assert (found.name, found.classes) == ("hub:owner/animals/test", ("cat", "dog"))
    np.testing.assert_array_equal(found.take([3, 0])[0], images[[3, 0]])
    assert found.take([3, 0])[1].tolist() == [1, 0]
    assert len(found.sha256) == 64


def test_a_hub_set_of_another_mode_or_without_pictures_is_refused(monkeypatch):
    hub(monkeypatch, sets.pictures(2), mode="CMYK")
    with pytest.raises(UsageError, match="picture 0 has mode CMYK: only grey"):
        open_dataset("hub:owner/animals")
    hub(monkeypatch, sets.pictures(2), image=SimpleNamespace())
    with pytest.raises(UsageError, match="no pictures in it: its columns are image, label"):
        open_dataset("hub:owner/animals")


def test_without_the_package_or_the_network_a_hub_set_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match="hub:a/b: needs the package datasets: pip install"):
        open_dataset("hub:a/b")
    hub(monkeypatch, sets.pictures(2))

    def refuse(*_, **__):
        raise ConnectionError("no route\nto host")

    sys.modules["datasets"].load_dataset = refuse
    with pytest.raises(UsageError) as caught:
        open_dataset("hub:a/b")
    assert str(caught.value) == "hub:a/b: split 'train' cannot be loaded: no route to host"
