"""The page of a training: arms side by side, what they differ in, every epoch, nothing judged."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from ditbench.cli import reading
from ditbench.errors import StoreError
from ditbench.report import training
from ditbench.report.tables import NOT_MEASURED
from ditbench.train import table

HOSTILE = "<script>alert(1)</script>"


def arm(name, losses=(0.9, 0.5, 0.4), *, distances=None, hears_time=True, **facts):
    """What training leaves of one arm."""
    distance = {"name": "fd_fashion_cnn_20@dataset", "by_epoch": distances or {}}
    plain = {
        "arm": name,
        "model": "unet[hidden=8]",
        "attention": "sdpa",
        "parameters": 18_500,
        "hears_time": hears_time,
        "hears_class": True,
        "distance": distance,
        "best": {"epoch": None, "by": "loss", "value": None},
        "steps": 36,
        "device": "cpu",
        "metrics": {"peak_vram_mb": "in 2^20 bytes: resident memory of the process"},
        "epochs": [
            {
                "epoch": str(number),
                "loss": str(loss),
                "epoch_time_s": "2.0",
                "step_time_ms": "112.0",
                "peak_vram_mb": "27.7",
                "imgs_per_sec": "141.0",
                "fid": "",
            }
            for number, loss in enumerate(losses, start=1)
        ],
    }
    return plain | facts


def write(folder, *arms, **told):
    plain = {
        "name": "quick",
        "arms": {one["arm"]: one for one in arms},
        "missing": [],
        "differences": {},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "training.json").write_text(json.dumps(plain | told))
    return folder


def column(table, title):
    at = next(i for i, one in enumerate(table.columns) if one.title == title)
    return [row[at] for row in table.rows]


def test_every_arm_is_a_row_with_its_last_epoch_and_its_distance_by_name(tmp_path):
    dit = arm("dit", distances={"1": 660.0, "3": 300.0, "2": 250.0}, parameters=156_000)
    page = training.page(write(tmp_path, dit, arm("unet")))
    assert [value.text for value in column(page.arms, "loss")] == ["0.4000", "0.4000"]
    assert [value.text for value in column(page.arms, "distance")] == ["300", NOT_MEASURED]
    assert column(page.arms, "distance")[0].detail == "epoch 3, best 250 in 2"
    assert [value.text for value in column(page.arms, "parameters")] == ["156 k", "18.5 k"]
    assert [c.unit for c in page.arms.columns if c.title == "distance"] == [
        "fd_fashion_cnn_20@dataset"
    ]


def test_mistake_38_all_that_arms_differ_in_stands_beside_the_figures(tmp_path):
    dit, blind = (
        arm(name, settings=settings, threads=1, precision="float32", **facts)
        | dict.fromkeys(("checkpointing", "features", "processes"), "none")
        for name, settings, facts in (
            ("dit", {"depth": 2}, {}),
            ("blind", {"hidden": 8}, {"hears_time": False, "model": "other"}),
        )
    )
    alone = {"chosen": ["depth 2 against 4"], "following": []}
    told = {"dit and blind": asdict(table.differences(dit, blind)), "a and b": alone}
    folder = write(tmp_path, dit, blind, differences=told)
    page = training.page(folder)
    assert [pair.count for pair in page.pairs] == [2, 1]
    assert any("blind is never told the time" in doubt for doubt in page.doubts)
    assert column(page.arms, "told")[1].doubt == "not the time"
    text = training.write(folder, tmp_path / "out").read_text()
    assert "2 things: no figure above is about one of them by itself" in text
    assert "One thing alone, which the figures are then about" in text


def test_curves_need_two_epochs_and_draw_each_arm(tmp_path):
    one = training.page(write(tmp_path / "one", arm("dit", (0.9,))))
    assert [figure.title for figure in one.figures] == ["Memory", "Throughput"]
    two = training.page(
        write(tmp_path / "two", arm("dit"), arm("unet", distances={"1": 9, "2": 5}))
    )
    assert [figure.title for figure in two.figures] == [
        "Loss by epoch",
        "fd_fashion_cnn_20@dataset by epoch",
        "Memory",
        "Throughput",
    ]
    assert {"dit", "unet"} <= set(re.findall(r"\w+", two.figures[0].alternative))
    assert len({figure.name for figure in two.figures}) == 4


def test_the_newest_sheet_is_shown_with_its_gaps_let_through(tmp_path):
    folder = write(tmp_path, arm("dit"))
    (folder / "dit").mkdir()
    sheet = np.zeros((10, 22), np.uint8)
    sheet[:, 10:12] = 255
    for epoch in (1, 3):
        Image.fromarray(sheet).save(folder / "dit" / f"samples-e{epoch:03d}.png")
    (shown,) = training.page(folder).pictures
    assert shown.said == "pictures of every class by dit after epoch 3"
    assert (shown.width, shown.height) == (22 * 18, 10 * 18)
    (folder / "dit" / "samples-e003.png").write_bytes(b"torn")
    with pytest.raises(StoreError, match="cannot be read as a picture"):
        training.page(folder)


def test_the_verb_that_reports_runs_reports_a_training_too(tmp_path, capsys):
    folder = write(tmp_path / "quick", arm("dit"))
    assert reading.report(run=str(folder), to=tmp_path / "page") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'page' / 'report.html'}\n"
    assert "<h1>quick</h1>" in (tmp_path / "page" / "report.html").read_text()


@pytest.mark.parametrize(
    "told",
    [
        "not JSON",
        "[]",
        '{"name": "x"}',
        '{"name": "x", "arms": {"a": {}}}',
        json.dumps({"name": "x", "arms": {"a": arm("a") | {"epochs": [{"epoch": "1"}]}}}),
        json.dumps({"name": "x", "arms": {"a": arm("a", ("many",))}}),
        json.dumps({"name": "x", "arms": {"a": arm("a") | {"parameters": "many"}}}),
        json.dumps({"name": "x", "arms": {}, "differences": {"a and b": ["a clause"]}}),
    ],
    ids=[
        "no json",
        "a list",
        "no arms",
        "an empty arm",
        "a short epoch",
        "no number",
        "wrong kind",
        "no parts",
    ],
)
def test_a_torn_file_is_one_clear_line(tmp_path, told):
    (tmp_path / "training.json").write_text(told)
    with pytest.raises(StoreError, match="cannot be read as a training") as raised:
        training.page(tmp_path)
    assert "\n" not in str(raised.value)


def test_hostile_names_are_shown_and_nothing_is_fetched(tmp_path):
    folder = write(tmp_path, arm(HOSTILE, model=HOSTILE), missing=[HOSTILE], name=HOSTILE)
    text = training.write(folder, tmp_path / "out").read_text()
    body = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", body)
    assert len(text) < 3_000_000
