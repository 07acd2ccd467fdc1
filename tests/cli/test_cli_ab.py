"""`ditbench ab` from its command line on: which cells meet, what a person is told, and the exit code."""

from __future__ import annotations

import contextlib
import json

import pytest
from run.fakes_run import Ring
from suite.catalogs import CATALOG

from ditbench import errors, plan, store
from ditbench.catalog import Inspection
from ditbench.cli import ab, apart, main, pairing, preparing
from ditbench.cli.preparing import Choices
from ditbench.devices.device import Device
from ditbench.jobs import Findings
from ditbench.records import Stage, Status
from ditbench.run import telemetry
from ditbench.suite import parse

SUITE = """name: toy
model: small
attention: [softmax, monarch]
blocks: [all, first-half]
batch_size: [1, 2]
steps: 4
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A suite's file; plans are made without a process, and nystromformer is a method that cannot run."""

    def plan_of(choices, _server, _device, *, may_be_idle):
        assert may_be_idle
        given = preparing._overrides(choices.overrides)
        read = parse.parse(choices.suite.read_text(), str(choices.suite), CATALOG, given)
        cells = plan.expand(read)
        asked = [
            Inspection(cell.key, ("no GPU",) if cell.attention.name == "nystromformer" else ())
            for cell in cells
        ]
        return plan.assemble(read, cells, asked, choices.select)

    monkeypatch.setattr(pairing, "plan_of", plan_of)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "toy.yaml"
    path.write_text(SUITE)
    return path


def meet(suite, a, b, select="", *overrides):
    sides = pairing.Side("a", a), pairing.Side("b", b)
    found = pairing.paired(Choices(suite, select, overrides), sides, None, Device())
    told = [
        tuple((c.attention.label, c.blocks_label, c.batch_size) for c in p) for p in found.pairs
    ]
    return told, found.alone


def refused(suite, *arms):
    with pytest.raises(errors.UsageError) as caught:
        meet(suite, *arms)
    return str(caught.value)


def test_cells_meet_where_all_axes_but_the_arms_own_agree(suite):
    pairs, alone = meet(suite, "attention=monarch", "attention={monarch: {num_steps: 2}}")
    (label,) = {b[0] for _, b in pairs}
    assert "num_steps=2" in label
    assert pairs == [
        (("monarch", blocks, batch), (label, blocks, batch))
        for batch in (1, 2)
        for blocks in ("all", "first-half")
    ]
    assert alone == ()


def test_the_suite_as_it_is_meets_itself_cell_by_cell(suite):
    pairs, _ = meet(suite, ".", ".")
    assert len(pairs) == 6
    assert all(a == b for a, b in pairs)


def test_the_suite_as_it_is_meets_one_changed_setting(suite):
    pairs, _ = meet(suite, ".", "batch_size=1", "", "batch_size=2", "attention=softmax")
    assert pairs == [(("softmax", "all", 2), ("softmax", "all", 1))]


def test_cores_by_themselves_meet_by_their_sizes(suite):
    suite.write_text(
        "name: toy\nkind: op\nop: {tokens: [64, 128], heads: 2, head_dim: 8}\nattention: sdpa\n"
    )
    sides = pairing.Side("a", "op.cache=cold"), pairing.Side("b", "op.cache=hot")
    found = pairing.paired(Choices(suite), sides, None, Device())
    assert [(a.op.tokens, a.op.cache, b.op.tokens, b.op.cache) for a, b in found.pairs] == [
        (tokens, "cold", tokens, "hot") for tokens in (64, 128)
    ]


def test_k_chooses_among_the_cells_of_arm_a(suite):
    pairs, alone = meet(suite, "attention=softmax", "attention=sdpa", "softmax.*batch_size=2")
    assert pairs == [(("softmax", "all", 2), ("sdpa", "all", 2))]
    assert alone == ()


def test_cells_that_only_one_arm_has_are_told(suite):
    pairs, alone = meet(suite, "attention=softmax", "attention=monarch")
    assert len(pairs) == 2
    assert len(alone) == 2
    assert all("blocks=first-half" in line for line in alone)
    assert all(line.endswith(": A has no such cell") for line in alone)


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        (
            "sdpa",
            ".",
            (
                "--a sdpa: write AXIS=VALUE as attention=sdpa, `.` for the suite as it is, git:REV for "
                "another commit, or pip:SPEC for other packages"
            ),
        ),
        (
            "attention=softmax,sdpa",
            "attention=monarch",
            (
                "--a attention=softmax,sdpa: has several values of attention (softmax, sdpa), and one is "
                "held against one: name it, as --a attention=VALUE"
            ),
        ),
        (
            "attention=sdpa",
            ".",
            (
                "--b .: has several values of attention (softmax, monarch), and one is held against one: "
                "name it, as --b attention=VALUE"
            ),
        ),
        (
            ".",
            "timing.repeats=5",
            "--b timing.repeats=5: timing.repeats is the same for both arms: give it with --set",
        ),
        (".", "atention=sdpa", "--b atention: unknown axis (did you mean 'attention'?)"),
        (
            ".",
            "attention=sdpaa",
            "--b attention: unknown attention method 'sdpaa' (did you mean 'sdpa'?)",
        ),
    ],
)
def test_an_arm_that_cannot_be_is_one_line_with_the_way_out(suite, a, b, told):
    found = refused(suite, a, b)
    assert found.splitlines() == [found]
    assert told in found


def test_arms_of_which_nothing_meets_say_why_and_how_to_look(suite):
    told = refused(suite, "attention=softmax", "attention=nystromformer")
    assert told.startswith(f"{suite}: no cell of --a attention=softmax can be held against one of")
    assert "B unsupported: no GPU" in told
    assert "see `ditbench plan`" in told


@pytest.fixture
def ring(suite, monkeypatch):
    """A server that measures at once, on a machine of its own: B takes three times as long as A."""
    monkeypatch.setattr(telemetry, "watches", lambda *_: ())
    server = Ring(speeds=[(1.0, 3.0 + number / 100) for number in range(8)])

    @contextlib.contextmanager
    def session_of(_choices):
        yield server, (Device(),)

    monkeypatch.setattr(ab, "session_of", session_of)
    return server


ARMS = ("--a", "attention=softmax", "--b", "attention=sdpa", "-k", "batch_size=1")


def test_a_slower_arm_is_exit_4_and_the_session_lies_where_it_says(suite, ring, capsys):
    assert main(["ab", str(suite), *ARMS]) == errors.PERFORMANCE
    out = capsys.readouterr().out
    assert "B, attention=sdpa, against A, attention=softmax" in out
    assert "attention=softmax -> sdpa" in out
    assert "regressed" in out
    assert "floor not measured" in out
    path = out.splitlines()[-1].removeprefix("session: ")
    session = store.session_read(suite.parent / path)
    assert path.startswith("results/ab/toy-")
    assert [arm.said for arm in session.arms] == ["attention=softmax", "attention=sdpa"]
    assert len(session.records) == 2 * 5


def test_json_and_explain_tell_the_same_verdict_with_its_rules(suite, ring, capsys):
    main(["ab", str(suite), *ARMS, "--json", "--out", "one.session.jsonl"])
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["metric"]) == ("regressed", "latency")
    main(["ab", str(suite), *ARMS, "--explain"])
    printed = capsys.readouterr().out
    assert all(step["rule"] in printed for step in found["steps"])


def test_a_session_is_read_again_without_measuring(suite, ring, capsys):
    code = main(["ab", str(suite), *ARMS, "--out", "one.session.jsonl"])
    first = capsys.readouterr().out
    ring.speeds = []  # nothing more can be measured
    assert main(["compare", "one.session.jsonl"]) == code == errors.PERFORMANCE
    assert capsys.readouterr().out == first
    main(["compare", "one.session.jsonl", "--explain", "sdpa"])
    assert "ratios: both beyond 2.00 %" in capsys.readouterr().out
    main(["compare", "one.session.jsonl", "--json"])
    (found,) = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "regressed"


def test_a_session_that_is_not_there_or_torn_is_one_line_and_exit_2(suite, capsys):
    (suite.parent / "torn.session.jsonl").write_text("{")
    for name, told in (("none", "no such session"), ("torn", "torn.session.jsonl:1: ")):
        assert main(["compare", f"{name}.session.jsonl"]) == errors.USAGE
        err = capsys.readouterr().err
        assert told in err
        assert err.count("\n") == 1


def test_a_faster_arm_is_exit_0(suite, ring):
    ring.speeds = [(b, a) for a, b in ring.speeds]
    assert main(["ab", str(suite), *ARMS]) == errors.OK


def test_equal_arms_are_unchanged(suite, ring, capsys):
    ring.speeds = [(1.0, 1.0)] * 8
    assert main(["ab", str(suite), *ARMS]) == errors.OK
    assert "unchanged" in capsys.readouterr().out


def test_an_arm_that_fails_is_exit_3_with_its_reason(suite, ring, capsys):
    ring.answers["sdpa", Stage.GATE] = Findings(Status.FAILED_GATE, "lies 1.02 from softmax")
    assert main(["ab", str(suite), *ARMS]) == errors.CELLS_FAILED
    assert "failed gate, lies 1.02 from softmax" in capsys.readouterr().out


def test_fewer_than_five_processes_confirm_nothing(suite, ring, capsys):
    assert main(["ab", str(suite), *ARMS, "--processes", "2"]) == errors.OK
    assert "inconclusive" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "named"),
    [("toy", ()), ("gpu-night", ("--floors", "gpu-night"))],
    ids=["the suite's", "named"],
)
def test_a_floor_above_the_change_is_inconclusive_and_stands_beside_the_gate(
    suite, ring, capsys, name, named
):
    main(["ab", str(suite), *ARMS, "--out", "one.session.jsonl"])
    capsys.readouterr()
    session = store.session_read(suite.parent / "one.session.jsonl")
    floor = store.Floor("x", inside=3.0, apart=3.0, processes=8)
    cells = {cell.key: {"latency": floor} for pair in session.pairs for cell in pair}
    noise = store.Noise("toy", "", session.arms[0].environment, {}, cells)
    store.noise_write(store.noise_path(name, suite.parent / "baselines"), noise)
    again = ["compare", "one.session.jsonl"]
    for verb in (["ab", str(suite), *ARMS], again):
        assert main([*verb, *named]) == errors.OK
        printed = capsys.readouterr().out
        assert "inconclusive" in printed
        assert "floor 300" in printed
    if named:
        assert main(again) == errors.PERFORMANCE
        assert "floor not measured" in capsys.readouterr().out


def test_floors_that_nobody_measured_are_told_before_anything_is_measured(suite, ring, capsys):
    assert main(["ab", str(suite), *ARMS, "--floors", "night"]) == errors.USAGE
    told = "--floors night: there is no baselines/night.noise.json; `ditbench noise --floors night`"
    assert told in capsys.readouterr().err
    assert ring.jobs == []
    assert main(["compare", "main", "--floors", "night"]) == errors.USAGE
    assert "--floors: is for a session" in capsys.readouterr().err


def test_a_file_that_is_there_is_kept_and_a_folder_gets_a_new_one(suite, ring, capsys):
    (suite.parent / "kept.session.jsonl").write_text("kept")
    assert main(["ab", str(suite), *ARMS, "--out", "kept.session.jsonl"]) == errors.USAGE
    assert "is there already" in capsys.readouterr().err
    assert (suite.parent / "kept.session.jsonl").read_text() == "kept"
    main(["ab", str(suite), *ARMS, "--out", "place"])
    assert len(list((suite.parent / "place").glob("toy-*.session.jsonl"))) == 1


def test_ctrl_c_is_130_and_says_where_the_rest_lies(suite, ring, capsys):
    ring.interrupt_at = 4
    assert main(["ab", str(suite), *ARMS, "--out", "cut.session.jsonl"]) == errors.INTERRUPTED
    assert "the 2 processes that had ended are in cut.session.jsonl" in capsys.readouterr().err
    session = store.session_read(suite.parent / "cut.session.jsonl")
    assert (len(session.records), session.finished) == (4, False)


def test_a_machine_that_was_not_fit_is_exit_6_and_no_regression(suite, ring, capsys):
    ring.facts = {"telemetry": {"samples": 100, "slowed_share": 0.5, "slowed": {"thermal": 0.5}}}
    assert main(["ab", str(suite), *ARMS]) == errors.ENVIRONMENT
    assert "inconclusive" in capsys.readouterr().out


def test_commits_and_package_sets_go_to_processes_of_their_own(suite, monkeypatch):
    asked = []
    monkeypatch.setattr(apart, "source", lambda said, _suite: said)
    monkeypatch.setattr(apart, "apart", asked.append)
    sides = pairing.Side("a", "git:main"), pairing.Side("b", ".")
    ab.measured(ab.Asked(Choices(suite), sides, suite.parent / "x", 7))
    (one,) = asked
    assert (one.a, one.b, one.path, one.processes) == ("git:main", ".", suite.parent / "x", 7)
