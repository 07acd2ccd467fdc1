"""From a suite to cells: every reason told, nothing twice, nothing run in silence."""

from __future__ import annotations

import dataclasses

import pytest

from ditbench import plan as planning
from ditbench.catalog import Inspection
from ditbench.cli import output
from ditbench.errors import UsageError
from ditbench.jobs import Quality, Timing
from ditbench.records import LARGEST, Choice, Status
from ditbench.suite.spec import Claim, Exclusion, Suite

ARCHITECTURE = (("channels", 1), ("depth", 4), ("size", 8))
# Latents of one channel and 8 x 8, in 16 tokens 64 wide.
VALUES, WIDEST = 8 * 8, 16 * 64


def suite(**fields) -> Suite:
    base = {
        "name": "s",
        "path": "s.yaml",
        "text": "",
        "models": (Choice("m", ARCHITECTURE),),
        "attentions": (Choice("softmax"), Choice("monarch")),
        "metrics": ("latency",),
    }
    return Suite(**(base | fields))


def planned(what: Suite, select: str = "", reasons=lambda _cell: (), **more):
    cells = planning.expand(what)
    told = {"values": VALUES, "widest": WIDEST} | more
    inspections = [Inspection(c.key, reasons(c), 1e9, 1e8, 1000, **told) for c in cells]
    return planning.assemble(what, cells, inspections, select)


def test_an_exact_method_ignores_blocks_and_an_approximate_one_does_not():
    cells = planning.expand(suite(blocks=("all", "first-half", "second-half")))
    assert [(c.attention.name, c.blocks) for c in cells] == [
        ("softmax", (0, 1, 2, 3)),
        ("monarch", (0, 1, 2, 3)),
        ("monarch", (0, 1)),
        ("monarch", (2, 3)),
    ]


def test_two_ways_of_saying_the_same_blocks_are_one_cell():
    cells = planning.expand(suite(blocks=("all", "0-3")))
    assert len(cells) == 2


def test_mistake_35_the_order_of_a_suite_changes_no_key():
    straight = suite(batch_sizes=(1, 8))
    turned = suite(batch_sizes=(8, 1), attentions=tuple(reversed(straight.attentions)))
    keys = [{c.key for c in planning.expand(s)} for s in (straight, turned)]
    assert keys[0] == keys[1]


def test_refused_cells_stand_in_the_plan_with_every_reason():
    refused = planned(
        suite(
            attentions=(Choice("softmax"), Choice("monarch"), Choice("identity")),
            exclude=(Exclusion({"attention": "monarch"}, "too slow"),),
        ),
        reasons=lambda c: ("no kernel", "no memory") if c.attention.name == "identity" else (),
    ).refused
    assert [(e.status, e.reason) for e in refused] == [
        (Status.EXCLUDED, "too slow"),
        (Status.UNSUPPORTED, "no kernel; no memory"),
    ]


def test_a_method_that_broke_when_it_was_asked_is_a_failed_cell_and_no_refused_one():
    made = suite()
    cells = planning.expand(made)
    asked = [Inspection(cells[0].key), Inspection(cells[1].key, broken="macs raises OSError")]
    entries = planning.assemble(made, cells, asked).entries
    assert [(e.status, e.reason) for e in entries] == [
        (None, ""),
        (Status.CRASHED, "macs raises OSError"),
    ]


def test_a_cell_that_could_not_be_counted_shows_no_count(capsys):
    made = suite()
    good, bad = planning.expand(made)
    asked = [Inspection(good.key, (), 10.0, 5.0, 3), Inspection(bad.key, broken="says no formula")]
    output.show_plan(planning.assemble(made, [good, bad], asked), planning.Estimate(1.0, 1.0, 1.0))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["softmax", "10.0", "MAC", "50.0", "%"]
    assert lines[3].split() == ["monarch", "crashed:", "says", "no", "formula"]


def test_a_plan_of_nothing_is_shown_with_every_reason_before_it_is_refused(capsys):
    idle = planned(suite(), reasons=lambda cell: (f"no {cell.attention.name} here",))
    output.show_plan(idle, planning.estimate(idle, {}, planning.Machine(1e9, 2**34)))
    told = capsys.readouterr().out
    assert "0 cells to run, 2 not" in told
    assert "unsupported: no softmax here" in told
    assert "about 0" in told


def test_mistake_33_a_plan_of_nothing_is_an_error_that_says_why():
    idle = planned(suite(), reasons=lambda _cell: ("no kernel",))
    with pytest.raises(
        UsageError, match=r"s\.yaml: none of the 2 cells can run \(unsupported: no kernel\)"
    ):
        planning.check_runs(idle)
    with pytest.raises(
        UsageError, match="-k 'nystrom' matches none of the 2 cells; one of them is: model=m"
    ):
        planned(suite(), "nystrom")


def test_a_bad_regular_expression_is_one_line():
    with pytest.raises(UsageError, match=r"-k '\(': not a regular expression"):
        planned(suite(), "(")


def test_an_exclusion_that_takes_no_cell_out_is_told():
    with pytest.raises(UsageError, match=r"exclude\[0\]: takes no cell out \(typo\)"):
        planned(suite(exclude=(Exclusion({"batch_size": 99}, "typo"),)))


def test_selection_is_by_the_rendered_id():
    assert [
        c.batch_size for c in planned(suite(batch_sizes=(1, 8)), "softmax.*batch_size=8").runnable
    ] == [8]


def test_quick_is_one_process_and_few_repeats():
    assert planning.quick(suite()).timing == dataclasses.replace(
        Timing(), warmup=1, repeats=3, processes=1, warmup_cap_s=0, precision=None
    )


def test_the_estimate_rests_on_history_where_there_is_some():
    what = planned(suite(timing=Timing(warmup=1, repeats=8, processes=2)))
    guess = planning.estimate(what, {}, planning.Machine(1e12))
    slow = planning.estimate(what, {c.key: 10.0 for c in what.runnable}, planning.Machine(1e12))
    assert guess.known == 0.0
    assert slow.known == 1.0
    assert slow.seconds > 2 * 2 * 10 * 10
    assert guess.seconds < slow.seconds


def seconds_of(once, **timing):
    what = planned(suite(timing=Timing(warmup=1, repeats=10, processes=1, **timing)))
    return (
        planning.estimate(
            what, {c.key: once for c in what.runnable}, planning.Machine(1e12)
        ).seconds
        / 2
    )


def test_the_estimate_knows_what_waiting_and_precision_may_take():
    exactly = seconds_of(0.1, warmup_cap_s=0)
    assert seconds_of(0.1, warmup_cap_s=10) == pytest.approx(exactly + 1.0 - 0.1)
    assert seconds_of(0.1, warmup_cap_s=0.5) == pytest.approx(exactly + 0.5 - 0.1)
    precise = {"warmup_cap_s": 0, "precision": 0.01}
    assert seconds_of(0.1, **precise) == pytest.approx(exactly + 30 * 0.1)
    assert seconds_of(0.1, cap_s=2, **precise) == pytest.approx(exactly + 10 * 0.1)
    assert seconds_of(0.1, cap_s=0.5, **precise) == pytest.approx(exactly)


def test_pictures_cost_time_and_disk_only_where_they_are_asked_for():
    timed = suite()
    pictured = suite(metrics=("latency", "frechet"), quality=Quality(samples=32))
    small, large = (
        planning.estimate(planned(s), {}, planning.Machine(1e9)) for s in (timed, pictured)
    )
    assert large.seconds > small.seconds
    assert large.disk > small.disk + 2 * 32 * 8 * 8


@pytest.mark.parametrize(
    ("weights", "vae", "picture"),
    [("random", "own", 0), ("hub", "own", 3 * 64), ("random", "a/vae", 3 * 64), ("hub", "none", 0)],
)
def test_pictures_that_an_autoencoder_makes_take_their_own_room(weights, vae, picture):
    quality = Quality(samples=32, vae=vae)
    made = suite(metrics=("frechet",), quality=quality, weights=(weights,))
    disk = [
        planning.estimate(planned(made, decoded=decoded, values=4), {}, planning.Machine(1e9)).disk
        for decoded in (0, 3 * 64)
    ]
    assert disk[1] - disk[0] == 2 * 32 * (picture - 4)  # two methods; without: latents are pictures


def test_every_shard_takes_the_start_of_a_process_and_a_line():
    whole, many = (
        planning.estimate(
            planned(suite(metrics=("frechet",), quality=Quality(samples=32, shard=shard))),
            {},
            planning.Machine(1e9, overhead=10.0),
        )
        for shard in (32, 16)
    )
    assert many.seconds - whole.seconds == pytest.approx(2 * 10.0)  # two methods, a shard more
    assert 0 < many.disk - whole.disk < 2 * 10_000


def test_json_has_one_object_a_cell_with_its_resolved_blocks():
    found = planning.to_json(planned(suite(blocks=("second-half",))))
    assert [row["attention"] for row in found] == ["softmax", "monarch"]
    assert found[1]["blocks_resolved"] == [2, 3]
    assert found[0]["status"] == "will run"


def test_a_plan_says_how_many_searches_and_trials_there_will_be():
    given, both = suite(), suite(batch_sizes=(1, LARGEST))
    # Room for torch, the weights and eight pictures of two rows, 16 tokens, 64 wide, 4 bytes, 16 copies.
    memory = 2**28 + 1000 * 4 + 8 * (2 * 16 * 64 * 4 * 16)
    before, after = (
        planning.estimate(planned(one), {}, planning.Machine(1e9, memory)) for one in (given, both)
    )
    assert planning.trials(planned(both).entries[-1], memory) == (1, 2, 4, 8, 16, 12, 10, 9, 8, 9)
    assert (before.searches, before.trials) == (0, 0)
    assert (after.searches, after.trials) == (2, 20)
    assert after.seconds > before.seconds + after.trials


def test_a_search_made_before_takes_as_long_again():
    plan = planned(suite(batch_sizes=(LARGEST,)))
    seen = {one.key: 1000.0 for one in plan.runnable}
    found = planning.estimate(plan, seen, planning.Machine(1e12, 2**30))
    assert found.known == 1.0
    assert 2000 < found.seconds < 2010


def test_the_estimate_counts_a_workers_overhead_once_a_process():
    what = planned(suite(timing=Timing(processes=3)))
    dear, cheap = (planning.estimate(what, {}, planning.Machine(1e12, 0, s)) for s in (2.0, 0.5))
    assert dear.seconds - cheap.seconds == pytest.approx(len(what.runnable) * (1 + 3) * 1.5)


def test_cells_that_claims_name_are_counted_whatever_is_selected():
    (softmax, monarch) = planning.expand(suite())
    elsewhere = dataclasses.replace(monarch, batch_size=64)
    about = {"metric": "macs", "value": 1, "tolerance": 0, "source": "x"}
    claims = (Claim(**about, cell=elsewhere, other=softmax), Claim(**about, cell=elsewhere))
    narrow = planned(suite(claims=claims), "monarch")
    assert narrow.runnable == (monarch,)
    assert narrow.counted == narrow.claimed == (elsewhere, softmax)
    assert [one["status"] for one in planning.to_json(narrow)] == [
        "will run",
        *["will be counted"] * 2,
    ]
    assert planning.estimate(narrow, {}, planning.Machine(1e9)).seconds > 2


def test_a_suite_of_counts_runs_no_network():
    counts = planned(suite(metrics=("macs", "core_share")))
    assert counts.counts_only
    assert counts.counted == counts.runnable
    assert planning.estimate(counts, {}, planning.Machine(1e9)).seconds < 5
    assert {one["status"] for one in planning.to_json(counts)} == {"will be counted"}
    assert not planned(suite(metrics=("macs", "latency"))).counts_only
