"""How fast a shard is made, against a loop that does nothing but denoise."""

from __future__ import annotations

import time

import torch

from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import shots
from ditbench.measure.bench import set_up
from ditbench.records import Stage, Status


def pace(cell, device, folder, quality: Quality) -> float:
    """Pictures a second of the first shard, from first noise to file, as a share of the bare loop's."""
    bare = _bare(cell, device, quality)  # first, so that the shard finds a warm device too
    marks = []
    job = Job(cell, Stage.SAMPLE, 0, Timing(), quality, (), device, folder)
    found = shots.run(job, lambda phase: marks.append((phase, time.monotonic())))
    end = time.monotonic()
    assert found.status is Status.OK, found.reason
    begin = next(at for phase, at in marks if phase.startswith("pictures"))
    assert found.facts["loop_s"] <= end - begin
    return bare / (end - begin)


def _bare(cell, device, quality: Quality) -> float:
    """Seconds of denoising as many micro-batches, all inputs at hand, nothing read back until the end."""
    bench = set_up(cell, device)
    bench.denoiser.install(bench.layers)
    start, stop = quality.shards[0]
    size = quality.micro_batch
    given = [bench.inputs(range(at, at + size)) for at in range(start, stop, size)]
    bench.sample(given[0], 2)
    _wait(device)
    begin = time.monotonic()
    for inputs in given:
        bench.sample(inputs)
    _wait(device)
    return time.monotonic() - begin


def _wait(device) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
