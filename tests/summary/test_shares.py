"""How much of a device's ceilings a core takes, and what a core's row has and has not."""

from __future__ import annotations

import dataclasses
import json

import pytest
from fakes_ops import BANDWIDTH, MATRIX, core, macs, op_run, records
from fakes_runs import fake_run

from ditbench.summary import rows_to_json, summarise
from ditbench.summary.shares import least_bytes


def rows(run):
    return {(row.cell.attention.name, row.cell.op.tokens): row for row in summarise(run).rows}


def test_a_share_is_the_cores_rate_over_the_best_that_was_measured():
    row = rows(op_run())["sdpa", 1024]
    assert row.shares.matrix_rate == MATRIX
    assert row.shares.bandwidth_rate == BANDWIDTH
    assert row.shares.matrix == pytest.approx(macs(row.cell) / 1e-2 / MATRIX, rel=0.02)
    assert row.shares.bandwidth == pytest.approx(4 * 4 * 1024 * 32 * 4 / 1e-2 / BANDWIDTH, rel=0.02)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2), ("float16", 2)])
def test_the_least_bytes_are_those_of_four_tensors(dtype, size):
    of = core("sdpa", 64, batch_size=3)
    of = dataclasses.replace(of, sampling=dataclasses.replace(of.sampling, dtype=dtype))
    assert least_bytes(of) == 4 * 3 * 4 * 64 * 32 * size


def test_a_ceiling_is_of_the_device_and_the_dtype_that_it_was_measured_with():
    def on(gpu, dtype):
        of = core("sdpa", 64)
        sampling = dataclasses.replace(of.sampling, dtype=dtype)
        of = dataclasses.replace(of, sampling=sampling, batch_size=1 if gpu == "GPU-1" else 2)
        gate, *times = records(of, 1e-4, gpu_uuid=gpu)
        return dataclasses.replace(gate, facts={**gate.facts, "gpu_uuid": "GPU-1"}), *times

    found = summarise(fake_run(*on("GPU-1", "float32"), *on("GPU-2", "float32")))
    assert [row.shares is None for row in found.rows] == [False, True]


def test_a_core_makes_no_pictures_and_has_no_bound():
    found = summarise(op_run())
    for row in found.rows:
        assert {"throughput", "macs_per_image"}.isdisjoint(row.estimates)
        assert row.estimates["flops"].value == 2 * macs(row.cell)
        assert (row.bound, row.boundless, row.ceiling) == (None, "", None)
    assert found.notes == ()


def test_cores_are_compared_at_one_number_of_tokens_and_one_state_of_the_cache():
    found = rows(op_run(caches=("cold",)))
    assert found["monarch", 1024].against == "sdpa"
    assert found["monarch", 1024].speedup.value == pytest.approx(2, rel=0.03)
    assert found["monarch", 64].versus_softmax.value == pytest.approx(0.5, rel=0.03)


def test_shares_are_among_what_a_program_reads():
    plain = rows_to_json(summarise(op_run()))
    assert plain[0]["shares"].keys() == {"matrix", "bandwidth", "matrix_rate", "bandwidth_rate"}
    json.dumps(plain, allow_nan=False)
