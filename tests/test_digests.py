"""Files that a suite names are told by what they say."""

from __future__ import annotations

import pytest

from ditbench import digests
from ditbench.errors import UsageError


def test_a_name_is_sealed_with_what_the_file_says(tmp_path):
    path = tmp_path / "plan.json"
    path.write_bytes(b"{}")
    sealed = digests.sealed(str(path))
    assert sealed == f"{path}#44136fa355b3"  # of sha256("{}")
    assert digests.content(sealed) == b"{}"
    assert digests.sealed(sealed) == sealed


def test_a_file_that_changed_since_is_refused(tmp_path):
    path = tmp_path / "plan.json"
    path.write_bytes(b"{}")
    sealed = digests.sealed(str(path))
    path.write_bytes(b"[]")
    with pytest.raises(UsageError, match=r"plan\.json: is not the file that the suite named"):
        digests.content(sealed)
    assert digests.sealed(sealed) != sealed


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"no\.json: cannot be read: No such file or directory$"):
        digests.sealed(str(tmp_path / "no.json"))


def test_a_relative_name_is_told_with_the_folder_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=rf"no\.json: .* directory in {tmp_path}$"):
        digests.sealed("no.json")


def test_a_file_is_called_by_its_stem_and_a_word_by_itself():
    assert digests.stem("plans/fashion-dit.safetensors#8d1945f2369b") == "fashion-dit"
    assert digests.stem("a.b") == "a.b"
