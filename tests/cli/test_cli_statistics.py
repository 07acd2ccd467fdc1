"""The parent's side of `ditbench stats make`: who looks at what, and where it is written."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ditbench import errors
from ditbench.cli import statistics
from ditbench.store.statistics import Wanted

DEVICES = [SimpleNamespace(name=name, gpu=name) for name in ("GPU-a", "GPU-b", "GPU-c")]


class Server:
    """Notes what it is asked. broken: the part that fails."""

    def __init__(self, broken=None):
        self.asked, self.broken, self.stopped = [], broken, False

    def call(self, _function, _wanted, name, number, of, **options):
        self.asked.append((name, number, of, options["device"], options["alone"]))
        if number == self.broken:
            raise errors.UsageError("z.png: is no whole picture")
        return number

    def stop(self):
        self.stopped = True


def test_each_device_looks_at_a_part_of_its_own_and_they_come_back_in_order():
    server = Server()
    assert statistics._looked(server, DEVICES, Wanted("x", "inception")) == [0, 1, 2]
    assert sorted(server.asked) == [
        (device.name, number, 3, device.name, True) for number, device in enumerate(DEVICES)
    ]
    assert not server.stopped


def test_a_part_that_fails_ends_the_others():
    server = Server(broken=1)
    with pytest.raises(errors.UsageError, match="is no whole picture"):
        statistics._looked(server, DEVICES, Wanted("x", "inception"))
    assert server.stopped


def test_where_it_cannot_be_written_is_told_before_anything_is_computed(tmp_path):
    statistics._check_target(tmp_path / "new" / "x.npz")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "x.npz").touch()
    (tmp_path / "file").touch()
    for target, text in (
        (tmp_path / "x.npz", "is there already: remove it"),
        (tmp_path / "x", r"are kept in an .npz: write .*x.npz"),
        (tmp_path / "file" / "x.npz", "cannot be written: Not a directory|File exists"),
    ):
        with pytest.raises(errors.UsageError, match=text):
            statistics._check_target(target)
