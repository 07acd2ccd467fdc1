"""What samples show: read from wherever a suite says, refused in one line, and part of a cell's key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from catalogs import CATALOG

from ditbench.errors import SuiteError
from ditbench.plan import expand
from ditbench.records import Cell, Choice, Shown, cell_from_json, cell_to_json
from ditbench.suite import fetching
from ditbench.suite.parse import parse

MODELS = dict(CATALOG.models)
KNOWN = dataclasses.replace(
    CATALOG,
    models={
        "classy": dataclasses.replace(
            MODELS["small"], name="classy", told="classes",
            architecture=(*MODELS["small"].architecture, ("classes", 10)),
        ),
        "wordy": dataclasses.replace(MODELS["small"], name="wordy", told="prompts"),
        "mute": dataclasses.replace(MODELS["small"], name="mute", told=""),
    },
)  # fmt: skip
TEXTS = ("a red shoe", "a white shoe")


def suite(more, model="classy", **overrides):
    text = f"name: x\nmodel: {model}\nattention: [softmax, sdpa]\n{more}\n"
    return parse(text, "s.yaml", KNOWN, {k.replace("__", "."): v for k, v in overrides.items()})


def mistakes(more, model="classy"):
    with pytest.raises(SuiteError) as refused:
        suite(more, model)
    return list(refused.value.problems)


def file(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_every_method_of_a_suite_shows_the_same_in_turn():
    cells = expand(suite("classes: [3, 7]"))
    assert {cell.attention.name for cell in cells} == {"softmax", "sdpa"}
    assert {tuple(cell.shown.at(range(5))) for cell in cells} == {(3, 7, 3, 7, 3)}
    assert {cell.axes["classes"] for cell in cells} == {"3,7"}


@pytest.mark.parametrize("change", [None, Shown.of("classes", [3]), Shown.of("classes", [7])])
def test_a_key_covers_what_is_shown_and_is_as_before_where_nothing_is(change):
    plain = Cell(Choice("dit"), Choice("softmax"))
    cell = dataclasses.replace(plain, shown=change)
    assert (cell.key == plain.key) == (change is None)
    assert (cell.quality_key == plain.quality_key) == (change is None)
    assert ("shown" in cell_to_json(cell)) == (change is not None)
    assert cell_from_json(json.loads(json.dumps(cell_to_json(cell)))) == cell


def test_keys_of_cells_that_show_nothing_in_particular_are_those_of_before():
    """The key of this cell as it was stored before anything could be shown."""
    assert Cell(Choice("dit"), Choice("softmax")).key == "40ce4c8eefe3388d"


def test_a_key_depends_on_the_content_and_not_on_the_name_of_the_file(tmp_path):
    one, other = (file(tmp_path, name, "3 7\n") for name in ("a.txt", "b.txt"))
    third = file(tmp_path, "c.txt", "7, 3")
    keys = [expand(suite(f"classes: {{file: {path}}}"))[0].key for path in (one, other, third)]
    assert keys[0] == keys[1] != keys[2]
    assert keys[0] == expand(suite("classes: [3, 7]"))[0].key


def test_a_record_keeps_the_digest_alone():
    cell = dataclasses.replace(
        Cell(Choice("dit"), Choice("softmax")), shown=Shown.of("prompts", TEXTS)
    )
    told = json.dumps(cell_to_json(cell))
    again = cell_from_json(json.loads(told))
    assert "red" not in told
    with pytest.raises(ValueError, match="a record keeps their digest alone"):
        again.shown.at([0])


FORMS = {
    "lines": ("t.txt", "a red shoe\n\n  a   white shoe \n", ""),
    "json": ("t.json", '["a red shoe", "a white shoe"]', ""),
    "objects": ("t.json", '[{"text": "a red shoe", "n": 1}, {"text": "a white shoe"}]', ", field: text"),
    "jsonl": ("t.jsonl", '"a red shoe"\n\n"a white shoe"\n', ""),
    "jsonl of objects": ("t.jsonl", '{"c": "a red shoe"}\n{"c": "a white shoe"}', ", field: c"),
    "byte order mark": ("t.txt", "\N{BOM}a red shoe\na white shoe", ""),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_prompts_are_read_from_every_form_of_file(form, tmp_path):
    name, text, more = FORMS[form]
    path = file(tmp_path, name, text)
    found = suite(f"prompts: {{file: {path}{more}}}", "wordy")
    assert found.prompts.items == TEXTS
    assert found.prompts.digest == Shown.of("prompts", TEXTS).digest
    assert found.prompts.label == f"{name}#{found.prompts.digest}"


@pytest.mark.parametrize(("name", "text"), [("c.txt", "3, 7\n9"), ("c.json", "[3, 7, 9]")])
def test_classes_are_read_from_files(name, text, tmp_path):
    assert suite(f"classes: {{file: {file(tmp_path, name, text)}}}").classes.items == (3, 7, 9)


WRONG = {
    "t.txt": ("\n \n", "", "nothing to show"),
    "u.txt": ("x" * 2001, "", "u.txt: text 1 has 2,001 characters; at most 2,000"),
    "v.json": ("{", "", "v.json: not JSON"),
    "w.json": ('{"a": 1}', "", "must be a list of texts"),
    "x.jsonl": ('"a"\n{"b": "c"}', "", "x.jsonl:2: is an object: write field, one of b"),
    "y.jsonl": ('{"b": "c"}', ", field: d", "y.jsonl:1: has no text under 'd'"),
    "z.jsonl": ('"a"', ", field: d", "z.jsonl:1: must be an object"),
    "q.jsonl": ('"a"\n3', "", "q.jsonl:2: must be a text, or an object"),
    "r.txt": ("a\x1b[2Jb", "", "text 1 is not one line of text"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_of_prompts_is_told_in_one_line(name, tmp_path):
    text, more, told = WRONG[name]
    path = file(tmp_path, name, text)
    (line,) = mistakes(f"prompts: {{file: {path}{more}}}", "wordy")
    assert line.startswith("s.yaml:4:10: prompts: ")
    assert told in line
    assert "\n" not in line


def test_other_mistakes_are_told_with_their_places(tmp_path):
    beyond = file(tmp_path, "beyond.txt", "3 10")
    odd = file(tmp_path, "odd.txt", "3 -1")
    raw = tmp_path / "raw.txt"
    raw.write_bytes(b"a\xff")
    pinned = f"{{file: {beyond}, sha256: {'a' * 64}}}"
    found = hashlib.sha256(b"3 10").hexdigest()
    assert mistakes("classes: 3") == [
        "s.yaml:4:10: classes: must be a list, or a mapping with file"
    ]
    assert "no class 10: its 10 begin at 0" in mistakes(f"classes: {{file: {beyond}}}")[0]
    assert "'-1' is no number of a class" in mistakes(f"classes: {{file: {odd}}}")[0]
    assert "not UTF-8 at byte 1" in mistakes(f"prompts: {{file: {raw}}}", "wordy")[0]
    assert f"its sha256 is {found}, not aaa" in mistakes(f"classes: {pinned}")[0]
    assert "no file 'nowhere'" in mistakes("prompts: {file: nowhere}", "wordy")[0]
    assert "means nothing to wordy: it is told prompts" in mistakes("classes: [3]", "wordy")[0]
    assert "told neither classes nor prompts by a suite" in mistakes("prompts: [a]", "mute")[0]
    assert "is no address" in mistakes("prompts: {url: 'file:///etc/passwd'}", "wordy")[0]
    two = mistakes(f"prompts: {{url: 'http://x', file: {beyond}}}", "wordy")[0]
    assert two.endswith("must be a list, or a mapping with file or url")


def test_models_of_both_kinds_are_each_told_their_own():
    found = suite("classes: [3]\nprompts: [a shoe]", "[classy, wordy]")
    kinds = {(cell.model.name, cell.shown.kind) for cell in expand(found)}
    assert kinds == {("classy", "classes"), ("wordy", "prompts")}


def test_a_claim_that_is_counted_is_of_the_cell_that_shows_the_same():
    claim = "claims: [{metric: macs, attention: softmax, value: 1, tolerance: 1%, source: a table}]"
    found = suite(f"classes: [3]\n{claim}")
    assert found.claims[0].cell in expand(found)


class Server(ThreadingHTTPServer):
    """Answers what it holds, and counts how often."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.body, self.asked, self.code = b"a red shoe\na white shoe\n", 0, 200

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/lists/p.txt"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        self.send_response(self.server.code)
        if self.server.code == 302:
            self.send_header("Location", "file:///etc/passwd")
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetched(server, cache, more=""):
    return suite(f"prompts: {{url: '{server.url}', cache: {cache}{more}}}", "wordy").prompts


def test_an_address_is_fetched_once_and_read_from_its_cache_offline(server, tmp_path):
    first = fetched(server, tmp_path)
    server.body = b"another"
    again = fetched(server, tmp_path)
    assert first == again
    assert first.items == TEXTS
    assert first.label == f"p.txt#{first.digest}"
    assert server.asked == 1
    assert [path.name for path in tmp_path.iterdir()] == [
        fetching.kept_at(server.url, tmp_path).name
    ]


def test_refreshed_it_is_fetched_again_and_another_cell(server, tmp_path):
    first = fetched(server, tmp_path)
    server.body = b"another"
    again = fetched(server, tmp_path, ", refresh: on")
    assert again.items == ("another",)
    assert again.digest != first.digest
    assert fetched(server, tmp_path).items == ("another",)


def test_what_cannot_be_refreshed_is_an_error_and_not_the_old_copy(server, tmp_path):
    fetched(server, tmp_path)
    server.code = 500
    more = f"prompts: {{url: '{server.url}', cache: {tmp_path}, refresh: on}}"
    (line,) = mistakes(more, "wordy")
    assert "500" in line
    assert line.endswith("leave refresh out for the copy of earlier")
    assert fetched(server, tmp_path).items == TEXTS


def test_an_address_that_leads_to_a_file_of_this_machine_is_refused(server, tmp_path):
    server.code = 302
    (line,) = mistakes(f"prompts: {{url: '{server.url}', cache: {tmp_path}}}", "wordy")
    assert "cannot be fetched" in line
    assert not list(tmp_path.iterdir())


def test_too_much_is_refused_and_not_kept(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "MOST_BYTES", 8)
    (line,) = mistakes(f"prompts: {{url: '{server.url}', cache: {tmp_path}}}", "wordy")
    assert "more than 0 MiB" in line
    assert not list(tmp_path.iterdir())


def test_nobody_there_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as closed:
        url = closed.url
    (line,) = mistakes(f"prompts: {{url: '{url}', cache: {tmp_path}}}", "wordy")
    assert "cannot be fetched" in line
    assert line.endswith("download it once with network, or write file")


def test_a_cache_that_cannot_be_written_is_told(server, tmp_path):
    taken = file(tmp_path, "taken", "")
    (line,) = mistakes(f"prompts: {{url: '{server.url}', cache: {taken}/x}}", "wordy")
    assert line.endswith("give cache")
