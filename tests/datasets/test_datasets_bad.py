"""What a person's files can be wrong in: one line each, which names the file and the way out."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import sets
from PIL import Image

from ditbench.datasets import open_dataset
from ditbench.errors import USAGE, UsageError


def told(source, split="train"):
    """The one line that reading all of it comes to."""
    with pytest.raises(UsageError) as caught:
        for _ in open_dataset(str(source), split).batches(2):
            pass
    assert caught.value.exit_code == USAGE
    text = str(caught.value)
    assert "\n" not in text
    return text


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "x.npz", **arrays)
    return tmp_path / "x.npz"


def test_nothing_there(tmp_path):
    assert "is not there: give a folder of pictures" in told(tmp_path / "none")


def test_an_empty_folder(tmp_path):
    assert told(tmp_path) == f"{tmp_path}: no pictures here (.jpeg, .jpg, .png, .webp)"


def test_a_picture_of_another_size_is_named_with_both_sizes(tmp_path):
    sets.png_folder(tmp_path, sets.pictures(3))
    sets.png_folder(tmp_path, sets.pictures(1, 9), ["z.png"])
    assert told(tmp_path) == f"{tmp_path}/z.png: 9x9 RGB, where 000000.png is 8x8 RGB"


def test_a_grey_picture_among_colours_is_named(tmp_path):
    sets.png_folder(tmp_path, sets.pictures(3))
    sets.png_folder(tmp_path, sets.pictures(1, 8, 1), ["z.png"])
    assert "z.png: 8x8 grey, where 000000.png is 8x8 RGB" in told(tmp_path)


@pytest.mark.parametrize("mode", ["RGBA", "P", "1", "LA", "I;16"])
def test_a_picture_of_another_mode_is_never_converted_in_silence(tmp_path, mode):
    sets.png_folder(tmp_path, sets.pictures(2))
    if mode == "I;16":
        odd = Image.fromarray(np.full((8, 8), 700, np.uint16))
    else:
        odd = Image.new("RGBA", (8, 8), (9, 9, 9, 9)).convert(mode)
    odd.save(tmp_path / "z.png")
    text = told(tmp_path)
    assert text.startswith(f"{tmp_path}/z.png: mode {mode}: only grey (L) and RGB of 8 bits")


@pytest.mark.parametrize("harm", ["cut", "flip", "text", "empty", "head"])
def test_a_corrupt_png_is_named(tmp_path, harm):
    sets.png_folder(tmp_path, sets.pictures(3, 32))
    path = tmp_path / "000001.png"
    raw = path.read_bytes()
    path.write_bytes(
        {
            "cut": raw[: len(raw) // 2],
            "flip": raw[:100] + bytes(b ^ 255 for b in raw[100:140]) + raw[140:],
            "text": b"hello",
            "empty": b"",
            "head": raw[:20],
        }[harm]
    )
    assert told(tmp_path).startswith(f"{path}: is no whole picture: ")


def test_pictures_beside_subfolders_of_pictures(tmp_path):
    sets.png_folder(tmp_path, sets.pictures(2), ["a.png", "cat/a.png"])
    assert "pictures lie both in it and in cat: one folder a class, or one for all" in told(
        tmp_path
    )


def test_a_split_that_a_plain_folder_has_not(tmp_path):
    sets.png_folder(tmp_path, sets.pictures(2))
    assert "no split 'test' here, it is one set without splits" in told(tmp_path, "test")


def test_mistake_24_an_npz_under_another_key_lists_what_is_there(tmp_path):
    path = npz(tmp_path, images=sets.pictures(2), labels=np.zeros(2, int))
    expected = "no arr_0 in it but images, labels: write numpy.savez(file, pictures) without a name"
    assert told(path) == f"{path}: {expected}"


def test_mistake_24_floats_instead_of_uint8_are_refused_and_not_rounded(tmp_path):
    path = npz(tmp_path, arr_0=np.zeros((3, 8, 8, 3), np.float32))
    expected = "arr_0 is float32 (3, 8, 8, 3): write uint8, 0 to 255"
    assert told(path) == f"{path}: {expected}"


def test_mistake_27_nan_pictures_are_counted(tmp_path):
    images = np.zeros((3, 8, 8, 3), np.float32)
    images[1, 0, 0, 0] = np.nan
    images[2] = np.inf
    assert "(3, 8, 8, 3), and 2 of 3 are not finite: write uint8" in told(
        npz(tmp_path, arr_0=images)
    )


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((2, 3, 8, 8), np.uint8), "uint8 (2, 3, 8, 8): pictures are (n, height, width,"),
        (np.zeros((2, 8, 8), np.uint8), "uint8 (2, 8, 8): pictures are (n, height, width, 1 or 3)"),
        (np.zeros((2, 8, 8, 4), np.uint8), "uint8 (2, 8, 8, 4): pictures are"),
        (np.zeros((0, 8, 8, 3), np.uint8), "arr_0 holds no picture"),
        (np.zeros((), np.float32), "arr_0 is float32 ()"),
    ],
)
def test_an_array_of_another_shape(tmp_path, array, text):
    assert text in told(npz(tmp_path, arr_0=array))


def test_objects_in_an_npz_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    thing = np.empty(1, object)
    thing[0] = Bomb()
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", arr_0=thing)
        assert "holds Python objects, which are never unpickled" in told(tmp_path / "x.npz")


def test_labels_that_are_not_as_many(tmp_path):
    path = npz(tmp_path, arr_0=sets.pictures(3), arr_1=np.arange(2))
    assert told(path) == f"{path}: 2 labels for 3 pictures"
    path = npz(tmp_path, arr_0=sets.pictures(3), arr_1=np.zeros(3))
    assert "arr_1 is float64 (3,): labels are integers" in told(path)
    path = npz(tmp_path, arr_0=sets.pictures(3), arr_1=np.array([0, -1, 2]))
    assert "label -1: classes are numbered from 0" in told(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_that_is_cut_off_or_none(tmp_path, save):
    path = tmp_path / "x.npz"
    save(path, sets.pictures(20, 32))
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    assert told(path).startswith(f"{path}: is no whole .npz: ")
    path.write_text("hello")
    assert told(path).startswith(f"{path}: is no whole .npz: ")


def test_an_npz_has_no_splits(tmp_path):
    assert "it has no split 'test'" in told(npz(tmp_path, arr_0=sets.pictures(2)), "test")


def test_an_idx_file_that_is_cut_off_or_of_another_kind(tmp_path):
    sets.idx_folder(tmp_path, suffix="")
    path = tmp_path / "train-images-idx3-ubyte"
    raw = path.read_bytes()
    for harmed, text in (
        (raw[:-5], "cut off, 4699 bytes where (6, 28, 28) needs 4704"),
        (raw[:7], "cut off in its head"),
        (b"\x89PNG", "not an IDX file of unsigned bytes"),
    ):
        path.write_bytes(harmed)
        assert told(tmp_path) == f"{path}: {text}"
    sets.write_idx(path, np.zeros((6, 28), np.uint8))
    assert told(tmp_path) == f"{path}: 2 dimensions where 3 belong"
    sets.write_idx(path, np.zeros((5, 28, 28), np.uint8))
    assert "6 labels for 5 pictures" in told(tmp_path)


def test_a_gzip_that_is_cut_off_and_a_missing_half(tmp_path):
    sets.idx_folder(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-900])
    assert told(tmp_path).startswith(f"{path}: cannot be read: ")
    assert "IDX files have no split 'val': write train or test" in told(tmp_path, "val")
    path.unlink()
    assert "no train-images-idx3-ubyte[.gz] here" in told(tmp_path)


def test_cifar_that_is_not_whole(tmp_path):
    sets.cifar_bytes(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert told(tmp_path) == f"{path}: 9218 bytes are no whole number of records of 3073"
    path.unlink()
    assert told(tmp_path) == f"{path}: is missing: unpack all of CIFAR-10"
    assert "CIFAR-10 has no split 'val'" in told(tmp_path, "val")


def test_sheets_whose_labels_or_width_are_wrong(tmp_path):
    sets.cifar_sheets(tmp_path)
    labels = tmp_path / "test_lables.json"
    for text, answer in (
        ("[1, 2]", "2 labels for 3 pictures"),
        ('{"a": 1}', "no JSON list of labels"),
        ("[1, 2, 77]", "label 77, and CIFAR-10 has ten classes"),
        ("7", "1 labels for 3 pictures"),
    ):
        labels.write_text(text)
        assert answer in told(tmp_path, "test")
    labels.write_text(json.dumps([0, 1, 2]))
    Image.new("RGB", (1000, 3)).save(tmp_path / "test_batch.png")
    assert "1000x3 of 3 channels: a sheet is 1024 wide and RGB" in told(tmp_path, "test")


def test_cifars_version_for_python_is_never_opened(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": 1}))
    assert "a pickle that is never opened: take the binary version" in told(tmp_path)
