"""`init` and its refusals, without a process that imports torch."""

from __future__ import annotations

import pytest

from ditbench.cli import main, starting
from ditbench.errors import UsageError


@pytest.mark.parametrize(
    ("option", "names", "told"),
    [
        (
            "--attention",
            ["softmax", "monrch"],
            "--attention: unknown name 'monrch' (did you mean 'monarch'?)",
        ),
        ("--model", ["zzz"], "--model: unknown name 'zzz' (known: softmax, monarch)"),
        ("--attention", [""], "--attention: unknown name '' (known: softmax, monarch)"),
    ],
    ids=["near", "far", "empty"],
)
def test_a_wrong_word_is_told_with_the_right_ones(option, names, told):
    with pytest.raises(UsageError) as caught:
        starting._check(option, names, ["softmax", "monarch"])
    assert str(caught.value) == told


def test_a_file_that_is_there_is_left_alone_at_once(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    assert main(["init", str(file)]) == 2
    told = f"ditbench: {file} is there already: name another file\n"
    assert (capsys.readouterr().err, file.read_text()) == (told, "mine")


def test_a_link_to_nowhere_is_not_followed(tmp_path):
    (tmp_path / "link.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(UsageError, match="is there already"):
        starting._check_free(tmp_path / "link.yaml")


def test_a_folder_that_is_missing_is_one_line(tmp_path):
    with pytest.raises(
        UsageError, match=r"no/x.yaml: cannot be written: No such file or directory$"
    ):
        starting._write(tmp_path / "no/x.yaml", "text", "x")


def test_a_name_that_no_disk_takes_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be written: File name too long$"):
        starting._check_free(tmp_path / ("x" * 300))
