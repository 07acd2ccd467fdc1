"""The memory that caches take shows in the peak of their process, and integers halve it."""

from __future__ import annotations

import json

import pytest

# Deep and narrow: what a step needs for one block is little beside what all blocks keep.
SUITE = """
name: peaks
model: {name: dit, hidden: 32, depth: 24, heads: 2, size: 16, channels: 1, out_channels: 1, classes: 10}
weights: random
attention:
  - dqar: {threshold: 100, limit: 2, warmup: 0, snr_low: 0, snr_high: 1.0e+9, scheduler: off,
           granularity: tensor, precision: [half, int8]}
batch_size: 64
steps: 2
sampling: {guidance_scale: 2.0}
timing: {warmup: 0, repeats: 1, processes: 1, warmup_cap_s: 0}
metrics: [peak_resident, cache_bytes]
"""


@pytest.mark.slow
def test_integers_halve_what_two_bytes_keep_and_the_peak_of_the_process_shows_it(shell):
    ended = shell("run", shell.suite(SUITE), "--gpu", "cpu", "--baseline", "none")
    assert ended.code == 0, ended.err
    found = {"cache_bytes": {}, "peak_resident": {}}
    (path,) = shell.folder.rglob("records.jsonl")
    for line in map(json.loads, path.read_text().splitlines()):
        settings = line["cell"]["attention"]["settings"]
        for name in found.keys() & line["metrics"].keys():
            found[name][settings.get("precision")] = line["metrics"][name][0]
    kept, peak = found["cache_bytes"], found["peak_resident"]
    halved = kept["half"] / 2
    assert halved <= kept["int8"] <= 1.01 * halved  # the scales beside
    assert peak["half"] - peak["int8"] > 0.5 * halved
