"""A run on a GPU that is not ours to use, through the command line, with an NVML of our own."""

from __future__ import annotations

import os

import pytest
from fakes_run import FakeGpu, FakeNvml

from ditbench import cli
from ditbench.run import nvml

ONE = "GPU-11111111-aaaa"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Exit code and what stood on stderr of `ditbench run` on this GPU."""

    def run(gpu, *arguments):
        monkeypatch.setattr(nvml, "load", lambda: FakeNvml([gpu]))
        monkeypatch.chdir(tmp_path)
        (tmp_path / "suite.yaml").write_text("name: x\nmodel: fashion-dit\nattention: softmax\n")
        return cli.main(["run", "suite.yaml", *arguments]), capsys.readouterr().err

    return run


def test_mistake_29_a_busy_gpu_is_exit_6_with_its_process_named(run, tmp_path):
    code, told = run(FakeGpu(ONE, pids=(os.getpid(),)))
    assert code == 6
    assert f"GPU 0 (NVIDIA H200) is used by process {os.getpid()} (" in told
    assert "pytest" in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_mistake_29_a_process_that_cannot_be_seen_is_told_by_its_number(run):
    code, told = run(FakeGpu(ONE, pids=(2**30,)), "--gpu", "0")
    assert code == 6
    assert str(2**30) in told


def test_mistake_29_memory_in_use_is_enough_where_no_process_is_shown(run):
    code, told = run(FakeGpu(ONE, used=5 * 2**30))
    assert code == 6
    assert "has 5.00 GiB in use" in told
