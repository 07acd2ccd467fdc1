"""`ditbench draw`: one page of matrices, a picture a method, no record."""

from __future__ import annotations

SUITE = """
name: tiny
model: TINY
attention: [softmax, sdpa, identity, nystromformer: {rank: 4}, flash]
steps: 2
"""


def test_matrices_of_a_suite_are_one_page_and_a_wrong_place_is_one_line(shell):
    suite = shell.suite(SUITE)
    ended = shell("draw", suite, "--block", "1", "--to", "here", "--gpu", "cpu")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1] == "here/matrices.html"
    assert "not drawn: flash: " in ended.out
    assert "matrix of nystromformer" in (shell.folder / "here/matrices.html").read_text()
    assert len(list((shell.folder / "here").glob("*.png"))) == 4
    assert not list(shell.folder.rglob("records.jsonl"))
    ended = shell.again("draw", suite, "--head", "7")
    assert (ended.code, ended.err) == (
        2,
        "ditbench: --head 7: the cell has 2 heads, numbered from 0\n",
    )
