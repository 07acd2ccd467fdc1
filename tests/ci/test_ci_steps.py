"""Every `run:` of the nightly workflows, executed as a runner does, with programs that only pretend."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools
from workflow_steps import ACTION, GITHUB, ROOT, Runner, act, load, steps_of

from ditbench import __version__

pytestmark = pytest.mark.slow  # each step is a process

# Measures nothing: says what it was asked, and leaves what a run would, as the environment wants it.
DITBENCH = """\
#!/usr/bin/env bash
echo "$*" >> "$CALLS"
case $1 in
  doctor) echo "0 wrong, 0 doubtful"; exit "${DOCTOR:-0}" ;;
  export)
    [[ -z ${NO_EXPORTS:-} ]] || { echo "ditbench: no" >&2; exit 2; }
    echo exported > "${@: -1}" ;;
  report)
    [[ -z ${NO_EXPORTS:-} ]] || exit 2
    echo "<p>history" > "${@: -1}/history.html" ;;
  run)
    if [[ -n ${HANGS:-} ]]; then
      trap 'exit 130' TERM
      echo "hangs" >&2
      while :; do sleep 0.05; done
    fi
    echo "a table"
    [[ -z ${NO_REPORT:-} ]] || exit "${ENDS:-0}"
    run=results/tiny/20261121-100000-1f2e
    mkdir -p "$run/charts" "$run/images"
    printf '# tiny: fine (exit code %s)\\n\\n![speed](charts/speed.svg)\\n' "${ENDS:-0}" > "$run/report.md"
    echo "<p>page" > "$run/report.html"
    echo "<svg/>" > "$run/charts/speed.svg"
    echo '{"suite": "tiny"}' > "$run/run.json"
    echo "{}" > "$run/records.jsonl"
    echo "{}" > "$run/confirm.session.jsonl"
    echo "pixels" > "$run/images/shard.npz"
    echo "{\\"exit_code\\": ${ENDS:-0}}" > "$run/verdict.json"
    echo "$PWD/$run/report.html"
    exit "${ENDS:-0}" ;;
esac
"""
TINY = {"suite": "suites/tiny.yaml"}
SUITE = """\
name: tiny
kind: op
op: {tokens: 64, heads: 2, head_dim: 16, cache: hot}
attention: [softmax, sdpa]
timing: {warmup: 1, repeats: 3, processes: 1}
metrics: [latency, macs]
"""


@pytest.fixture
def runner(tmp_path):
    made = Runner(tmp_path / "machine")
    made.environ["CALLS"] = str(made.folder / "calls.txt")
    made.program("ditbench", DITBENCH)
    return made


def calls(runner):
    return (runner.folder / "calls.txt").read_text().splitlines()


def kept(runner):
    place = runner.workspace / "night"
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())


# ---- the action ----


def test_a_good_night_ends_well_and_leaves_everything(runner):
    ended = act(runner, TINY)
    run = runner.workspace / "results/tiny/20261121-100000-1f2e"
    assert ended.code == 0, ended.log
    assert ended.outputs == {
        "exit-code": "0",
        "run": str(run),
        "report": str(run / "report.html"),
        "verdict": str(run / "verdict.json"),
    }
    assert "::notice title=ditbench::fine" in ended.log
    assert runner.summary.startswith("# tiny: fine (exit code 0)\n")
    assert kept(runner) == [
        "bigger-is-better.json",
        "charts/speed.svg",
        "confirm.session.jsonl",
        "history.html",
        "junit.xml",
        "records.jsonl",
        "report.html",
        "report.md",
        "run.json",
        "smaller-is-better.json",
        "verdict.json",
    ]
    assert [one["path"] for one in ended.used] == ["night"]


def test_the_machine_is_looked_at_before_anything_is_measured(runner):
    runner.environ["DOCTOR"] = "6"
    ended = act(runner, TINY)
    assert [one.split()[0] for one in calls(runner)] == ["doctor"]
    assert (ended.code, ended.outputs["exit-code"], ended.outputs["report"]) == (0, "6", "")
    assert "::warning title=ditbench (6)::" in ended.log


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, "run suites/tiny.yaml --out results --baselines baselines --baseline tiny --confirm"),
        ({"baseline": "main"}, "--baseline main --confirm"),
        ({"confirm": "false", "arguments": "-k x"}, "--baseline tiny -k x"),
        ({"arguments": "--gpu 0 --time-budget 5h"}, "--confirm --gpu 0 --time-budget 5h"),
        ({"out": "../kept", "baselines": "elsewhere"}, "--out ../kept --baselines elsewhere"),
    ],
)
def test_inputs_become_words_of_the_command(runner, given, asked):
    act(runner, {**TINY, **given})
    command = calls(runner)[1]
    assert f"{asked} " in f"{command} "


def test_an_input_is_a_word_and_never_a_command(runner):
    act(
        runner,
        {"suite": "x; touch owned", "baseline": "$(touch owned)", "arguments": "`touch owned`"},
    )
    assert not (runner.workspace / "owned").exists()


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 130])
def test_these_codes_fail_the_job(runner, code):
    runner.environ["ENDS"] = str(code)
    ended = act(runner, TINY)
    assert (ended.code, ended.outputs["exit-code"]) == (code, str(code))
    assert f"::error title=ditbench ({code})::" in ended.log


@pytest.mark.parametrize("code", [6, 7])
def test_these_codes_wake_nobody(runner, code):
    runner.environ["ENDS"] = str(code)
    ended = act(runner, TINY)
    assert (ended.code, ended.outputs["exit-code"]) == (0, str(code))
    assert f"::warning title=ditbench ({code})::" in ended.log


@pytest.mark.parametrize("separator", [" ", ","])
def test_which_codes_fail_is_ones_own_choice(runner, separator):
    runner.environ["ENDS"] = "4"
    chosen = {"fail-on": separator.join("56")}
    ended = act(runner, TINY | chosen)
    assert ended.code == 0
    runner.environ["ENDS"] = "6"
    assert act(runner, TINY | chosen).code == 6


@pytest.mark.parametrize("code", [3, 4, 5, 6, 7])
def test_a_night_that_trips_the_gate_is_published_all_the_same(runner, code):
    runner.environ["ENDS"] = str(code)
    ended = act(runner, TINY)
    assert f"(exit code {code})" in runner.summary
    assert {"report.html", "report.md", "verdict.json", "junit.xml"} <= set(kept(runner))
    assert [one["name"] for one in ended.used] == ["night"]


@pytest.mark.parametrize("code", [1, 2, 6])
def test_a_night_without_a_report_says_so(runner, code):
    runner.environ |= {"ENDS": str(code), "NO_REPORT": "1"}
    ended = act(runner, TINY)
    assert ended.outputs == {"exit-code": str(code), "run": "", "report": "", "verdict": ""}
    assert runner.summary == (
        f"**tiny**: no report, exit code {code}. The log of this job says why.\n"
    )
    assert kept(runner) == ["report.md"]


def test_an_export_that_fails_is_a_warning_and_hides_nothing(runner):
    runner.environ |= {"ENDS": "4", "NO_EXPORTS": "1"}
    ended = act(runner, TINY)
    assert ended.code == 4
    assert "::warning title=ditbench export::junit.xml could not be written" in ended.log
    assert "::warning title=ditbench report::the history could not be written" in ended.log
    assert "report.html" in kept(runner)


def test_a_night_of_the_real_ditbench(runner):
    """A tiny suite on the CPU: the machine is examined, and a first night has nothing to be compared with."""
    runner.program("ditbench", f'#!/usr/bin/env bash\nexec {sys.executable} -m ditbench "$@"\n')
    runner.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(Path.home())}
    (runner.workspace / "tiny.yaml").write_text(SUITE)
    given = {"suite": "tiny.yaml", "baseline": "none", "confirm": "false", "arguments": "--gpu cpu"}
    ended = act(runner, given)
    assert (ended.code, ended.outputs["exit-code"]) == (0, "0"), ended.log
    assert runner.summary.startswith("# tiny: ")
    pages = {"report.html", "report.md", "history.html", "verdict.json", "records.jsonl"}
    assert pages <= set(kept(runner)), ended.log
    assert (runner.workspace / ended.outputs["report"]).is_file()
    night = runner.workspace / "night"
    assert json.loads((night / "verdict.json").read_text())["exit_code"] == 0
    points = json.loads((night / "smaller-is-better.json").read_text())
    assert {one["name"].rpartition(": ")[2] for one in points} >= {"latency"}
    assert (night / "junit.xml").read_text().count("<testcase ") == 2


def test_a_cancelled_job_ends_ditbench_and_waits_for_what_it_saves(runner):
    runner.environ["HANGS"] = "1"
    step = load(ACTION / "action.yml")["runs"]["steps"][0]
    given = {
        "suite": "suites/tiny.yaml",
        "confirm": "false",
        "out": "results",
        "command": "ditbench",
    }
    names = ("suite", "baseline", "confirm", "out", "baselines", "arguments", "command")
    process = runner.start(step, {f"inputs.{name}": given.get(name, "") for name in names})
    try:
        while "hangs" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert runner.outputs() == {"exit-code": "130"}


# ---- the other steps of the workflows ----


def step_of(workflow, name):
    (step,) = [
        one for one in steps_of(load(GITHUB / "workflows" / workflow)) if one.get("name") == name
    ]
    return step


def test_no_run_of_the_nights_is_left_out_here():
    named = {
        one["name"]
        for workflow in ("nightly.yml", "nightly-comment.yml")
        for one in steps_of(load(GITHUB / "workflows" / workflow))
        if "run" in one
    }
    assert named == {"Install", "Site", "Comment"}


def test_install_makes_the_command_that_the_night_calls(runner, tmp_path):
    """All but the dependencies, which a night fetches and which are borrowed from here."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, runner.workspace)
    shutil.copytree(
        ROOT / "ditbench",
        runner.workspace / "ditbench",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    builder = tmp_path / "builder"
    builder.mkdir()
    packages = Path(setuptools.__file__).parents[1]
    for part in packages.glob("setuptools*"):
        (builder / part.name).symlink_to(part)
    offline = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    runner.environ |= {"PYTHON": sys.executable, "PYTHONPATH": str(builder), **offline}
    code, told = runner.run(step_of("nightly.yml", "Install"), {})
    assert code == 0, told
    (night,) = [
        one["with"] for one in steps_of(load(GITHUB / "workflows/nightly.yml"))
        if one.get("name") == "Night"
    ]  # fmt: skip
    done = subprocess.run(
        [str(runner.workspace / night["command"]), "--version"],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"ditbench {__version__}\n", done.stderr


@pytest.fixture
def nights(runner):
    """Artifacts as they are downloaded: beside a checkout."""
    (runner.workspace / ".github").symlink_to(GITHUB)
    runner.program("python3", f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n')

    def nights(**reports):
        for name, text in reports.items():
            place = runner.workspace / "nights" / name.replace("_", "-")
            place.mkdir(parents=True)
            (place / "report.md").write_text(text)
            if text:
                (place / "report.html").write_text(f"<p>{text}")
                (place / "run.json").write_text(json.dumps({"suite": f"{name} <b>"}))
                (place / "verdict.json").write_text('{"exit_code": 4}')
        return runner

    return nights


def test_pages_lead_to_every_night_that_came_to_a_report(nights):
    runner = nights(night_0="good", night_1="", night_2="worse")
    (runner.workspace / "nights/night-2/history.html").write_text("<p>history")
    code, told = runner.run(step_of("nightly.yml", "Site"), {})
    assert code == 0, told
    site = runner.workspace / "site"
    index = (site / "index.html").read_text()
    links = re.findall(r'href="([^"]+)"', index)
    assert links == ["night-0/report.html", "night-2/report.html", "night-2/history.html"]
    assert [link for link in links if not (site / link).is_file()] == []
    assert "night_0 &lt;b&gt;</a>: exit code 4" in index


def test_pages_of_no_night_say_so(runner, nights):
    nights()
    code, told = runner.run(step_of("nightly.yml", "Site"), {})
    assert code == 0, told
    assert "no night came to a report" in (runner.workspace / "site/index.html").read_text()


# Answers as GitHub does, from a file of comments, and keeps what it is sent.
GH = """\
#!{python}
import json, pathlib, sys
here = pathlib.Path({place!r})
words = sys.argv[1:]
with (here / "gh.txt").open("a") as log:
    print(*words, file=log)
if "--slurp" in words:
    print((here / "comments.json").read_text())
elif (here / "refuse").exists():
    sys.exit("HTTP 403: Resource not accessible by integration")
else:
    (here / "sent.json").write_text(sys.stdin.read())
"""
CONTEXT = {
    "github.token": "t",
    "github.repository": "someone/bench",
    "github.event.workflow_run.pull_requests[0].number": "12",
    "github.event.workflow_run.html_url": "https://example.org/runs/1",
}
MARK = "<!-- ditbench: nightly -->"


def by(login, body, number):
    return {"id": number, "user": {"login": login}, "body": body}


def commented(runner, comments=()):
    """The step, with these comments on two pages; what was asked of GitHub and what it was sent."""
    place = runner.folder
    runner.program("gh", GH.format(python=sys.executable, place=str(place)))
    half = len(comments) // 2
    (place / "comments.json").write_text(json.dumps([comments[:half], comments[half:]]))
    code, told = runner.run(step_of("nightly-comment.yml", "Comment"), CONTEXT)
    sent = place / "sent.json"
    asked = (place / "gh.txt").read_text().splitlines()
    return code, told, asked, json.loads(sent.read_text())["body"] if sent.exists() else ""


def test_the_first_comment_is_made(nights):
    code, told, asked, body = commented(nights(night_0="# tiny: fine\n"))
    assert code == 0, told
    assert asked[1] == "api repos/someone/bench/issues/12/comments --method POST --input -"
    assert body.startswith(f"{MARK}\n[The whole run](https://example.org/runs/1)")
    assert body.endswith("# tiny: fine\n")


def test_the_comment_is_made_anew_and_no_second_one(nights):
    comments = [
        by("somebody", f"{MARK} quoted", 1),
        by("github-actions[bot]", "another workflow's", 2),
        by("somebody", "hello", 3),
        by("github-actions[bot]", f"{MARK}\nof last night", 4),
    ]
    code, told, asked, body = commented(nights(night_0="one\n", night_1="two\n"), comments)
    assert code == 0, told
    assert asked[1] == "api repos/someone/bench/issues/comments/4 --method PATCH --input -"
    assert body.endswith("one\n\n\ntwo\n")


def test_a_comment_fits_however_many_long_reports_there_are(nights):
    long = "".join(f"| {n} | µs |\n" for n in range(20_000))
    *_, body = commented(nights(night_0=long, night_1=long, night_2=long))
    assert 60_000 < len(body.encode()) <= 65_536
    assert body.count("more lines of 20000 are in `report.md` of the artifact") == 3


def test_a_run_that_left_nothing_is_said_too(runner, nights):
    nights()
    code, told, _, body = commented(runner)
    assert code == 0, told
    assert body == f"{MARK}\nditbench: the [run](https://example.org/runs/1) left no report.\n"


def test_githubs_refusal_is_told_in_one_line(nights):
    runner = nights(night_0="one\n")
    (runner.folder / "refuse").touch()
    code, told, *_ = commented(runner)
    assert code == 1
    assert told == (
        "gh api repos/someone/bench/issues/12/comments --method POST --input -: "
        "HTTP 403: Resource not accessible by integration\n"
    )
