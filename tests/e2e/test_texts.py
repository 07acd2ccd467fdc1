"""The shipped suite of prompts, with a tiny PixArt that one command makes: every source of texts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITE = str(ROOT / "suites/seeds/dqar-text.yaml")
TEXTS = ["a red shoe", "two bags and one coat"]
CELLS = {"softmax", "sdpa", "static-reuse", "dqar"}


@pytest.fixture(scope="module", autouse=True)
def made(shell):
    script = str(ROOT / "benchmarks/tiny_pixart.py")
    done = subprocess.run(
        [sys.executable, script, "pixart"],
        cwd=shell.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "pixart\n"
    (shell.folder / "p.txt").write_text("\n".join(TEXTS))
    (shell.folder / "p.json").write_text(json.dumps(TEXTS))
    (shell.folder / "p.jsonl").write_text("".join(json.dumps({"t": one}) + "\n" for one in TEXTS))


@pytest.fixture
def server(shell):
    """Where the folder is served, what was asked for, and what ends it."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=shell.folder)

        def log_message(self, *_):
            asked.append(self.path)

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()

    def end():
        serving.shutdown()
        thread.join()
        serving.server_close()

    yield f"http://127.0.0.1:{serving.server_port}", asked, end
    if thread.is_alive():
        end()


def cells(shell, prompts):
    """The records of a quick run with these prompts, which ends well."""
    done = shell.again(
        "run", SUITE, "--quick", "--gpu", "cpu", "--baseline", "none",
        "--set", "weights=./pixart", "--set", "steps=6", "--set", "quality.samples=2",
        "--set", f"prompts={prompts}",
    )  # fmt: skip
    assert done.code == 0, done.err
    lines = (shell.run_folder() / "records.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["stage"] in {"gate", "time", "quality"}]


def test_texts_of_a_file_are_read_and_every_method_is_gated_and_measured(shell):
    found = cells(shell, "{file: p.txt}")
    assert {one["status"] for one in found} == {"ok"}
    for stage in ("gate", "time", "quality"):
        assert {one["cell"]["attention"]["name"] for one in found if one["stage"] == stage} == CELLS
    assert {one["cell"]["shown"]["count"] for one in found} == {len(TEXTS)}
    reuse = {
        one["cell"]["attention"]["name"]: one["metrics"]["reuse_ratio"][0]
        for one in found
        if one["stage"] == "gate" and "reuse_ratio" in one["metrics"]
    }
    assert min(reuse["static-reuse"], reuse["dqar"]) > 0


def test_json_and_lines_of_json_and_an_address_are_the_same_cells(shell, server):
    address, asked, end = server
    keys = [
        {one["cell"]["key"] for one in cells(shell, prompts)}
        for prompts in (
            "{file: p.json}",
            "{file: p.jsonl, field: t}",
            f"{{url: '{address}/p.jsonl', field: t, cache: kept}}",
        )
    ]
    assert keys[0] == keys[1] == keys[2]
    assert asked == ["/p.jsonl"]
    end()
    told = shell.again(
        "plan", SUITE, "--quick", "--set", "weights=./pixart",
        "--set", f"prompts={{url: '{address}/p.jsonl', field: t, cache: kept}}",
    )  # fmt: skip
    assert told.code == 0, told.err
    assert asked == ["/p.jsonl"]
