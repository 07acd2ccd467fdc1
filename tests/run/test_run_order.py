"""From cells to jobs, and the order in which they run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes_run import cell, suite

from ditbench.jobs import Quality, Timing
from ditbench.records import CANARY, LARGEST, Stage
from ditbench.run.order import in_order, jobs_of, with_canaries

CELLS = (cell("sdpa"), cell("softmax"), cell("sdpa", batch_size=8))
PICTURES = Quality(samples=8)


def made(cells=CELLS, **more):
    return jobs_of(cells, suite(**more), "cpu", Path("images"))


def told(jobs):
    return [
        f"{job.stage} {job.cell.attention.name} {job.cell.batch_size} {job.replicate}"
        for job in jobs
    ]


def test_every_cell_has_one_gate_and_as_many_replicates_as_processes():
    jobs = made(metrics=("latency",), timing=Timing(processes=2))
    assert [job.stage for job in jobs].count(Stage.GATE) == 3
    assert sorted(job.replicate for job in jobs if job.stage is Stage.TIME) == [0, 0, 0, 1, 1, 1]


def test_nothing_is_timed_where_no_metric_asks_for_it():
    assert {job.stage for job in made(metrics=("macs",))} == {Stage.GATE}


def test_no_pictures_are_made_without_samples_or_without_a_metric_that_looks_at_them():
    assert Stage.QUALITY not in {job.stage for job in made(metrics=("latent_drift",))}
    assert Stage.QUALITY not in {job.stage for job in made(metrics=("latency",), quality=PICTURES)}


def test_pictures_are_made_once_per_quality_key():
    jobs = made(metrics=("latent_drift",), quality=PICTURES)
    pictured = [job for job in jobs if job.stage is Stage.QUALITY]
    assert sorted(job.cell.attention.name for job in pictured) == ["sdpa", "softmax"]


TIMED = {"metrics": ("latency", "psnr"), "quality": PICTURES}


def test_the_canary_runs_first_of_all_between_the_halves_of_what_is_timed_and_last():
    jobs = made(timing=Timing(processes=3), **TIMED)
    order = in_order(with_canaries(jobs, ["cpu"]))
    places = [place for place, job in enumerate(order) if job.stage is Stage.CANARY]
    assert [order[place].replicate for place in places] == [0, 1, 2]
    assert (places[0], places[-1]) == (0, len(order) - 1)
    timed = [job.stage is Stage.TIME for job in order]
    assert (sum(timed[: places[1]]), sum(timed[places[1] :])) == (4, 5)
    assert {order[place].cell for place in places} == {CANARY}


def test_a_run_of_one_process_a_cell_has_a_canary_at_its_ends_alone():
    jobs = with_canaries(made(timing=Timing(processes=1), **TIMED), ["cpu"])
    assert [job.replicate for job in jobs if job.stage is Stage.CANARY] == [0, 2]


def test_where_nothing_is_timed_there_is_no_canary():
    jobs = made(metrics=("psnr",), quality=PICTURES)
    assert with_canaries(jobs, ["cpu"]) == jobs
    assert with_canaries((), ["cpu"]) == ()


def test_every_device_has_a_canary_of_its_own():
    jobs = with_canaries(made(timing=Timing(processes=2), **TIMED), ["GPU-a", "GPU-b"])
    canaries = [(job.replicate, job.device) for job in jobs if job.stage is Stage.CANARY]
    assert canaries == [*((n, "GPU-a") for n in range(3)), *((n, "GPU-b") for n in range(3, 6))]


def test_the_canarys_key_never_changes_for_runs_of_years_are_held_together_by_it():
    assert CANARY.key == "af5bc0fa9162c191"


def test_the_word_frechet_asks_for_pictures():
    jobs = made(metrics=("frechet",), quality=PICTURES)
    assert Stage.QUALITY in {job.stage for job in jobs}


def test_pictures_are_judged_against_softmax_in_all_blocks_which_judges_itself_by_nothing():
    jobs = made((cell("sdpa", blocks=(0, 1)), cell("softmax")), metrics=("psnr",), quality=PICTURES)
    judges = {job.cell.attention.name: job.reference for job in jobs if job.stage is Stage.QUALITY}
    assert judges["softmax"] is None
    assert judges["sdpa"] == cell("softmax")


def test_a_missing_softmax_is_added_for_its_pictures_only():
    jobs = made(
        (cell("sdpa", blocks=(0, 1), compile=True),), metrics=("psnr", "latency"), quality=PICTURES
    )
    extra = [job for job in jobs if job.cell.attention.name == "softmax"]
    assert {job.cell for job in extra} == {cell("softmax")}
    assert [job.stage for job in extra] == [Stage.SAMPLE, Stage.QUALITY]


def test_distances_to_a_data_set_need_no_softmax():
    jobs = made(
        (cell("sdpa"),), metrics=("frechet",), quality=Quality(samples=8, reference=("dataset",))
    )
    assert [job.reference for job in jobs if job.stage is Stage.QUALITY] == [None]


def test_mistake_10_rounds_go_over_all_cells_and_every_other_one_backwards():
    jobs = made(metrics=("latency",), timing=Timing(processes=3))
    assert told(in_order(reversed(jobs)))[3:] == [
        "time sdpa 8 0",
        "time softmax 1 0",
        "time sdpa 1 0",
        "time sdpa 1 1",
        "time softmax 1 1",
        "time sdpa 8 1",
        "time sdpa 8 2",
        "time softmax 1 2",
        "time sdpa 1 2",
    ]


def test_gates_come_first_and_pictures_last_with_softmaxs_before_the_others():
    jobs = made(metrics=("latency", "psnr"), timing=Timing(processes=1), quality=PICTURES)
    assert told(in_order(jobs)) == [
        "gate sdpa 1 0",
        "gate softmax 1 0",
        "gate sdpa 8 0",
        "time sdpa 1 0",
        "time softmax 1 0",
        "time sdpa 8 0",
        "sample softmax 1 0",
        "quality softmax 1 0",
        "sample sdpa 1 0",
        "quality sdpa 1 0",
    ]


def test_a_method_s_pictures_are_shards_of_whole_micro_batches_and_then_their_judge():
    pictures = Quality(samples=20, micro_batch=4, shard=6)
    jobs = [job for job in made(metrics=("psnr",), quality=pictures) if job.stage.of_pictures]
    assert told(in_order(reversed(jobs))) == [
        *(f"sample softmax 1 {number}" for number in range(3)),
        "quality softmax 1 0",
        *(f"sample sdpa 1 {number}" for number in range(3)),
        "quality sdpa 1 0",
    ]
    assert pictures.shards == ((0, 8), (8, 16), (16, 20))


@pytest.mark.parametrize(
    ("pictures", "shards"),
    [
        (Quality(samples=0), ()),
        (Quality(samples=1), ((0, 1),)),
        (Quality(samples=256), ((0, 256),)),
        (Quality(samples=257), ((0, 256), (256, 257))),
        (Quality(samples=5, micro_batch=4, shard=1), ((0, 4), (4, 5))),
    ],
)
def test_shards_cover_all_pictures_once(pictures, shards):
    assert pictures.shards == shards


def test_a_cell_of_max_is_gated_and_searched_and_neither_timed_nor_pictured():
    cells = (cell("sdpa"), cell("sdpa", batch_size=LARGEST), cell("monarch", batch_size=LARGEST))
    jobs = made(cells, metrics=("latency", "psnr"), timing=Timing(processes=2), quality=PICTURES)
    assert [(job.stage, job.replicate) for job in jobs if job.cell == cells[1]] == [
        (Stage.GATE, 0),
        (Stage.FIT, 0),
    ]
    pictured = {job.cell.attention.name for job in jobs if job.stage is Stage.QUALITY}
    assert pictured == {"sdpa", "softmax"}


def test_cells_of_max_alone_make_no_pictures_not_even_softmaxs():
    jobs = made((cell("sdpa", batch_size=LARGEST),), metrics=("psnr",), quality=PICTURES)
    assert [job.stage for job in jobs] == [Stage.GATE, Stage.FIT]


def test_searches_come_after_times_and_before_pictures():
    cells = (cell("softmax", batch_size=LARGEST), cell("softmax"))
    jobs = made(cells, metrics=("latency", "psnr"), timing=Timing(processes=1), quality=PICTURES)
    assert told(in_order(reversed(jobs)))[2:] == [
        "time softmax 1 0",
        "fit softmax 0 0",
        "sample softmax 1 0",
        "quality softmax 1 0",
    ]


@pytest.mark.parametrize(("in_suite", "limit"), [(None, 1000), (77, 77)])
def test_every_trial_meets_one_limit_and_a_suite_s_own_comes_first(in_suite, limit):
    asked = suite(metrics=(), timing=Timing(memory_limit=in_suite))
    jobs = jobs_of((cell(batch_size=LARGEST),), asked, "cpu", Path("images"), 1000)
    limits = {job.stage: job.timing.memory_limit for job in jobs}
    assert limits == {Stage.GATE: in_suite, Stage.FIT: limit}
