"""`ditbench trace` and `train-policy`: from a suite to decisions, a page, and a policy."""

from __future__ import annotations

import json
from statistics import median

SUITE = """
name: tiny
model: TINY
attention:
  - softmax
  - sdpa
  - dqar: {mode: output, threshold: 100, limit: 4, max_gap: 5, warmup: 1, snr_low: 0, snr_high: 1e9,
           scheduler: off, policy: u.safetensors, min_probability: 0}
steps: 8
"""


def test_a_policy_is_trained_by_every_reuse_of_a_method_that_asks_it(shell):
    ended = shell("train-policy", "--untrained", "--out", "u.safetensors")
    assert (ended.code, ended.out) == (0, "u.safetensors\n"), ended.err
    suite = shell.suite(SUITE)
    ended = shell.again("trace", suite, "--samples", "3", "--out", "here/t.jsonl", "--gpu", "cpu")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-2:] == ["here/t.html", "here/t.jsonl"]
    assert "48 decisions" in ended.out
    assert "left out, without a memory: softmax, sdpa" in ended.err
    lines = [json.loads(line) for line in (shell.folder / "here/t.jsonl").read_text().splitlines()]
    assert len(lines) == 3 * 2 * 8
    assert "<svg " in (shell.folder / "here/t.html").read_text()
    assert not list(shell.folder.rglob("records.jsonl"))
    middle = median(line["error"] for line in lines if line["reused"])
    asked = ("train-policy", "here/t.jsonl", "--tolerance", f"{middle}", "--epochs", "20")
    ended = shell.again(*asked, "--out", "p.safetensors")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1] == "p.safetensors"
    ended = shell.again(*asked, "--judge", "p.safetensors")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "the policy was trained on sample" in ended.err
