"""A file that a setting names is read with the suite: one of another kind is a mistake at its place."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from safetensors.numpy import load, save

from ditbench.catalog import Catalog, Method, Model, Setting
from ditbench.digests import sealed
from ditbench.errors import SuiteError
from ditbench.plan import expand
from ditbench.reuse.policy import INPUTS, Policy
from ditbench.suite.parse import parse

READERS = {"policy": "ditbench.reuse.policy:Policy.read", "plan": "ditbench.reuse.plans:read"}
METHODS = {
    "dqar": Setting("policy", "str", "", file=True, reader=READERS["policy"]),
    "ditfastattn": Setting("plan", "str", "", file=True, reader=READERS["plan"]),
    "any": Setting("file", "str", "", file=True),
    "lost": Setting("file", "str", "", file=True, reader="ditbench.nowhere:read"),
    "broken": Setting("file", "str", "", file=True, reader="operator:add"),
}
CATALOG = Catalog(
    methods={name: Method(name, (setting,)) for name, setting in METHODS.items()},
    models={"small": Model("small", architecture=(("depth", 6), ("size", 32)))},
)
OF = {"policy": "dqar", "plan": "ditfastattn"}
POLICY = Policy.untrained().write()
TOLD = {
    "model": "small", "steps": 2, "guidance_scale": 2.0, "window": 0.125, "blocks": [0, 1],
    "plan": ["FF", "W="],
}  # fmt: skip
PLAN = json.dumps(TOLD).encode()


def _nan():
    tensors = load(POLICY) | {"1.bias": np.full(32, math.nan, np.float32)}
    about = {"format": "ditbench reuse policy 1", "inputs": ", ".join(INPUTS)}
    return save(tensors, {"policy": json.dumps(about)})


def suite(method, setting, *paths):
    files = ", ".join(map(str, paths))
    text = f"name: x\nmodel: small\nattention:\n  - {method}: {{{setting}: [{files}]}}\n"
    return parse(text, "s.yaml", CATALOG)


def mistakes(method, setting, path):
    with pytest.raises(SuiteError) as caught:
        suite(method, setting, path)
    return caught.value.problems


@pytest.mark.parametrize(
    ("setting", "data", "cause"),
    [
        ("policy", b"", "no safetensors file"),
        ("policy", b"nothing of the kind\n", "no safetensors file"),
        ("policy", POLICY[:-5], "no safetensors file"),
        ("policy", POLICY[:40], "no safetensors file"),
        ("policy", _nan(), "1.bias is not of finite float32 numbers"),
        ("policy", PLAN, "no safetensors file"),
        ("plan", POLICY, "is no JSON"),
        ("plan", b"", "is no JSON"),
        ("plan", b"{" * 100_000, "is no JSON"),
        ("plan", b"[" * 100_000, "is no JSON"),
        ("plan", b'{"found": {"a": 1}}', "is no plan: 'model' is missing"),
        ("plan", json.dumps(TOLD | {"plan": ["FF", "W"]}).encode(), "step 1 has 1 letters for 2"),
        ("plan", json.dumps(TOLD | {"plan": ["FF", "Wx"]}).encode(), "step 1 has 'x', which is"),
    ],
)
def test_a_file_of_another_kind_is_a_mistake_at_its_place(tmp_path, setting, data, cause):
    path = tmp_path / "odd"
    path.write_bytes(data)
    (told,) = mistakes(OF[setting], setting, path)
    column = len(f"  - {OF[setting]}: {{{setting}: [") + 1
    where = f"s.yaml:4:{column}: attention[0].{OF[setting]}.{setting}"
    assert told.startswith(f"{where}[0]: {path}: ")
    assert cause in told
    assert "; make one with " in told or "; name a calibration.json" in told
    assert "\n" not in told


def test_a_file_of_its_kind_is_told_by_its_content(tmp_path):
    for setting, data in (("policy", POLICY), ("plan", PLAN)):
        path = tmp_path / setting
        path.write_bytes(data)
        (cell,) = expand(suite(OF[setting], setting, path))
        assert cell.attention[setting] == sealed(str(path))


def test_a_setting_without_a_reader_takes_any_file(tmp_path):
    path = tmp_path / "any"
    path.write_bytes(b"\xff")
    assert len(expand(suite("any", "file", path))) == 1


def test_a_reader_that_cannot_be_used_is_told_as_such(tmp_path):
    path = tmp_path / "any"
    path.write_bytes(b"\xff")
    assert "ditbench.nowhere:read cannot be used: Module" in mistakes("lost", "file", path)[0]
    assert "operator:add cannot be used: TypeError" in mistakes("broken", "file", path)[0]
