"""Measuring functions that use a GPU; torch is theirs to import, in the worker."""

from __future__ import annotations

import time

from ditbench.jobs import Findings


def measure(job, say):
    """Do what the cell's attention is called."""
    return {"fills": fills, "holds": holds, "works": works}[job.cell.attention.name](say)


def fills(_say):
    import torch

    hoard = []
    while True:
        hoard.append(torch.ones(2**30, dtype=torch.uint8, device="cuda"))


def holds(say):
    import torch

    kept = torch.ones(2**33, dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    say(f"holds {kept.numel()}")
    time.sleep(600)


def works(_say):
    import torch

    free, total = torch.cuda.mem_get_info()
    one = torch.ones(2**20, device="cuda")
    return Findings(metrics={"latency": (float(one.sum()),)}, facts={"free": free, "total": total})
