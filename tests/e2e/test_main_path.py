"""One YAML file to a report, on the command line, and everything that may be read from it afterwards."""

from __future__ import annotations

import json
import re

import pytest
from at_rest import OTHERS

SUITE = """
name: "tiny <script>alert(1)</script>"
model: TINY
attention:
  - softmax
  - sdpa
  - monarch: {block_size: [4, 16], num_steps: 1}
  - identity
  - xformers
batch_size: [1, 2]
steps: 3
sampling: {guidance_scale: 2.0}
timing: {warmup: 1, warmup_cap_s: 0, repeats: 3, processes: 2}
metrics: [first_call, latency, step_latency, throughput, macs, flops, core_macs, peak_resident,
  latent_drift, psnr]
quality: {samples: 4, micro_batch: 4}
exclude:
  - {attention: identity, batch_size: 2, because: "one is enough"}
claims:
  - {metric: core_macs, per: step, attention: softmax, batch_size: 1, value: 65536, tolerance: 0.1%,
     source: "by hand"}
"""


@pytest.fixture(scope="module")
def first(shell):
    shell.suite(SUITE)
    return shell("run", "suite.yaml")


@pytest.fixture(scope="module")
def rows(shell, first):
    return json.loads(shell.again("show", "--json").out)


def test_it_ends_well_and_names_its_page(shell, first):
    assert first.code == 0, first.err
    page = shell.folder / first.out.strip().splitlines()[-1]
    assert (
        page.read_text().startswith("<!doctype html>".upper()) or "<html" in page.read_text()[:500]
    )


def test_every_cell_has_an_outcome(rows):
    found = {(row["axes"]["attention"], row["axes"]["batch_size"]): row["status"] for row in rows}
    measured = ("softmax", "sdpa", "monarch[block_size=4,num_steps=1]", "monarch[num_steps=1]")
    wanted = {(method, size): "ok" for method in measured for size in "12"}
    wanted |= {("identity", "1"): "ok", ("identity", "2"): "excluded"}
    wanted |= {("xformers", size): "unsupported" for size in "12"}
    assert found == wanted


def test_an_exact_method_drifts_by_rounding_and_identity_by_more(rows):
    drift = {
        row["axes"]["attention"]: row["estimates"]["latent_drift"]["value"]
        for row in rows
        if row["status"] == "ok"
    }
    assert drift["softmax"] == 0
    assert drift["sdpa"] < 1e-5
    assert max(drift, key=lambda method: drift[method]) == "identity"


def test_mistake_13_every_time_has_an_interval_and_its_counts(rows):
    for row in rows:
        if row["status"] == "ok":
            latency = row["estimates"]["latency"]
            assert latency["low"] <= latency["value"] <= latency["high"]
            assert (latency["processes"], latency["samples"]) == (2, 6)


def test_the_suites_name_is_escaped_in_the_page(shell, first):
    page = (shell.run_folder() / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_needs_no_network_and_is_of_a_bearable_size(shell, first):
    page = (shell.run_folder() / "report.html").read_text()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?https?://""", page)
    assert 20_000 < len(page.encode()) < 3_000_000


def test_markdown_and_its_charts_stand_beside_the_page(shell, first):
    text = (shell.run_folder() / "report.md").read_text()
    for chart in re.findall(r"\((charts/[^)]+\.svg)\)", text):
        assert (shell.run_folder() / chart).read_text().lstrip().startswith("<svg")


def test_a_second_run_compares_with_the_first_and_calls_nothing_regressed(shell, first):
    again = shell.again("run", "suite.yaml", "-k", "softmax|sdpa")
    assert again.code in {0, 6}, again.err  # where the machine moved, it says so
    assert "compared with run" in again.out
    assert "regressed" not in again.out


def test_a_baseline_is_set_listed_shown_and_compared_with(shell, first):
    refused = shell.again("baseline", "set", "nightly")
    assert refused.code == 2, refused.err
    assert "a baseline needs 5" in refused.err, refused.err
    kept = shell.again("baseline", "set", "nightly", "--provisional")
    if OTHERS in kept.out + kept.err:
        pytest.skip(f"the first run was disturbed: {kept.out}{kept.err}")
    assert kept.code == 0
    assert json.loads(shell.again("baseline", "list", "--json").out)[0]["name"] == "nightly"
    assert shell.again("baseline", "show", "nightly").code == 0
    compared = shell.again("compare", "nightly", "--json")
    assert compared.code == 0
    assert {finding["verdict"] for finding in json.loads(compared.out)} <= {
        "unchanged",
        "inconclusive",
    }


def test_every_reading_verb_gives_a_list_of_objects(shell, first):
    for verb in (
        ["show"],
        ["list"],
        ["methods"],
        ["models"],
        ["baseline", "list"],
        ["plan", "suite.yaml"],
    ):
        found = json.loads(shell.again(*verb, "--json").out)
        assert isinstance(found, list), verb
        assert all(isinstance(one, dict) for one in found), verb


def test_a_report_is_written_anew_where_it_is_wanted(shell, first):
    again = shell.again("report", "--to", "elsewhere")
    assert again.code == 0
    assert (shell.folder / "elsewhere" / "report.html").exists()


def test_a_plan_shows_refused_cells_with_reasons_and_runs_nothing(shell, first):
    before = len(list(shell.folder.glob("results/*/*")))
    shown = shell.again("run", "suite.yaml", "-n")
    assert shown.code == 0
    assert "one is enough" in shown.out
    assert "xformers" in shown.out
    assert "about" in shown.out
    assert len(list(shell.folder.glob("results/*/*"))) == before


def test_axes_can_be_set_and_cells_chosen_on_the_command_line(shell, first):
    found = json.loads(
        shell.again(
            "plan", "suite.yaml", "--set", "batch_size=2,4,8", "-k", "attention=sdpa", "--json"
        ).out
    )
    chosen = [row["batch_size"] for row in found if row["status"] == "will run"]
    assert chosen == ["2", "4", "8"]


def test_a_run_that_was_finished_resumes_to_itself(shell, first):
    shell.again("run", "suite.yaml", "--quick", "-k", "softmax")
    folder = shell.run_folder()
    before = (folder / "records.jsonl").read_text()
    again = shell.again("run", "suite.yaml", "--quick", "-k", "softmax", "--resume", "latest")
    assert again.code == 0, again.err
    assert (folder / "records.jsonl").read_text() == before
