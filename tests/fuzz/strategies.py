# ruff: noqa: E501 (tables of odd values)
"""Inputs that are nearly right, which is where mistakes live: real suites and real lines, mutated."""

from __future__ import annotations

import copy
import json
import re

import yaml
from hypothesis import strategies as st
from targets import BASELINE, HEAD, LINES

from ditbench.records import cell_from_json
from ditbench.store.seal import sealed

SUITE = """\
name: monarch-dit
model: [small, {name: dit, hidden: 192, depth: 4}]
weights: random
attention:
  - softmax
  - sdpa: {backend: math}
  - monarch: {block_size: [8, 16], num_steps: 3}
  - nystromformer: {rank: 32, reuse_az: on, ridge: 0.5}
blocks: [all, first-half, 0-3, "0,1"]
batch_size: [1, 8]
steps: 4
compile: [off, on]
sampling: {sampler: ddpm, guidance_scale: 1.5, guidance_channels: [all, 3], dtype: bfloat16, seed: 0}
timing: {warmup: 3, repeats: 20, processes: 3, timeout_s: 60}
metrics: [latency, macs, latent_drift, frechet]
quality: {samples: 16, reference: [softmax, dataset], micro_batch: 4}
exclude:
  - {attention: softmax, batch_size: 8, because: "out of memory"}
gate: {latency: 2%, macs: 0.01}
claims:
  - {metric: macs, per: step, attention: {monarch: {block_size: 16}}, blocks: all, guidance: on,
     value: 3.44e9, tolerance: 0.5%, source: "the paper"}
"""

_KEYS = (
    *("name", "model", "weights", "attention", "blocks", "batch_size", "steps", "compile", "sampling"),
    *("timing", "metrics", "quality", "exclude", "gate", "claims", "because", "seed", "depth", "<<"),
)  # fmt: skip
_BITS = (
    *(": ", "\n", "\n  ", "\n- ", "  - ", "[", "]", "{", "}", ", ", "\t", "&a ", "*a", "!!python/name:os.system "),
    *("!!binary ", "!!set ", "<<: ", "|\n", ">-\n", "%YAML 1.1\n", "---\n", "...\n", "# c\n", "? ", "\r\n", "\r"),
    *("\ufeff", "\x00", "\x1b[31m", "\x85", "\u2028", "\ud800", "\U0001f600", '"\\ud800"', '"\\U00110000"', '"\\e[1m"'),
    *("9" * 5000, "-" + "9" * 20, "0x" + "f" * 20, "1e400", "-1e308", "1e-400", ".nan", ".inf", "0.0", "-0", "1:30"),
    *("yes", "on", "null", "~", "''", '"', "'", "../../etc", "/dev/zero", "hub:a/b@c", "hub:../..@x", "~root"),
    *("0-99999999", "5-2", "0,0", "0-3,2", "first-half", "all", "1_000", "2%", "200%", "their.package:Theirs"),
    *("[" * 30, "{a: " * 30, "- " * 30, "softmax", "monarch", "sdpa: {backend: x}", "small", "large", "dit"),
)  # fmt: skip


WORDS = (*_KEYS, *(bit for bit in _BITS if 0 < len(bit) < 30))
FIELDS = sorted(
    {word for line in (HEAD, *LINES) for word in re.findall(r'"[a-z_0-9]{1,30}"', line.decode())}
)

_LEAVES = st.one_of(
    st.sampled_from((None, True, False, 0, 1, -1, 2, 8, 1000, 1001, 10_000, 2**63, 10**30, 0.0, 0.5, 1e-300, 1e308)),
    st.sampled_from(_BITS).map(str.strip),
    st.sampled_from(("all", "0-3", "5", "0,1,5", "second-half", "softmax", "monarch", "small", "dit", "2%", "ddim")),
    st.sampled_from(tuple(key for key in _KEYS)),
    st.integers(-5, 40),
    st.text(max_size=6),
)  # fmt: skip
_BRANCHES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(_KEYS), inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def suites(draw) -> str:
    """A real suite with a few of its values replaced, then a few pieces of its text, or neither."""
    tree = yaml.safe_load(SUITE)
    if draw(st.booleans()):  # few axes, so that a mistake in one is not drowned by another
        tree = {key: tree[key] for key in draw(st.sets(st.sampled_from(sorted(tree)))) | _NEEDED}
    for _ in range(draw(st.integers(0, 3))):
        _mutate(draw, tree, _BRANCHES)
    text = SUITE if draw(st.integers(0, 3)) == 0 else _written(draw, tree)
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 2, 4)))):
        put = draw(
            st.one_of(
                st.sampled_from(_BITS), st.sampled_from(_KEYS), st.text(max_size=8), st.just("")
            )
        )
        text = _cut(text, draw(st.integers(0, 2000)), draw(st.sampled_from((0, 0, 1, 5, 40))), put)
    ending = draw(
        st.sampled_from(("as is", "as is", "as is", "as is", "as is", "mark", "returns", "twice"))
    )
    return {"mark": "\ufeff" + text, "returns": text.replace("\n", "\r\n"), "twice": text * 2}.get(
        ending, text
    )


_NEEDED = {"name", "model", "attention"}


def _written(draw, tree: dict) -> str:
    flow = draw(st.sampled_from((None, False, True)))
    quotes = draw(st.sampled_from((None, None, '"', "'")))
    try:
        return yaml.safe_dump(
            tree, default_flow_style=flow, default_style=quotes, allow_unicode=True, sort_keys=False
        )
    except ValueError:  # a number too long to be written
        return SUITE


def _cut(text: str, at: int, length: int, put: str) -> str:
    at %= len(text) + 1
    return text[:at] + put + text[at + length :]


_SCALARS = st.one_of(
    st.sampled_from((None, True, False, 0, -1, 1, 2**63, 10**30, 10**400, -(10**400), 0.0, -0.0, 1e308, 5e-324)),
    st.sampled_from(("", "nan", "inf", "-inf", "1", "\ud800", "\x1b[31m\n", "x" * 300, "ok", "crashed", "../../etc")),
    st.sampled_from((float("nan"), float("inf"), "latency", "gate", "time", "fd_x_1@dataset", "psnr", "2026")),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
)  # fmt: skip
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


# What a value of the same kind may be, so that the reading of it goes on.
_ALIKE = {
    bool: st.booleans(),
    int: st.sampled_from((0, 1, 2, 3, 7, 1000, 2**31, 2**63 - 1)),
    float: st.sampled_from((0.0, -0.0, -1.0, 1e-300, 5e-324, 1e300, 1.7e308, "inf", "-inf", "nan", 0.1, 1e15, 0)),
    str: st.sampled_from(("", " ", "x", "softmax", "identity", "monarch", "float16", "a\nb", "\x1b[31m", "<b>", "[red]",
                          "{{x}}", "nan", "$(x)", "'", "\ud83d", "\u202e", "all", "x" * 5000, "/etc/passwd", "../..")),
    type(None): st.none(),
}  # fmt: skip


@st.composite
def runs(draw) -> tuple[bytes, bytes]:
    """A run's records and head: fields deleted, retyped, doubled, moved; a cell changed wherever it stands."""
    head, *lines = (json.loads(text) for text in (HEAD, *LINES))
    for _ in range(draw(st.integers(0, 2))):
        _change_cell(draw, head, lines)
    for _ in range(draw(st.integers(0, 3))):
        _mutate(
            draw, draw(st.sampled_from(lines)), draw(st.sampled_from((None, None, None, _VALUES)))
        )
    if draw(st.integers(0, 5)) == 0:
        _mutate(draw, head, draw(st.sampled_from((None, _VALUES))))
    if draw(st.integers(0, 3)) == 0:
        lines = draw(st.lists(st.sampled_from(lines), min_size=1, max_size=len(lines)))
    written = [_sealed(_with_its_key(one)) for one in lines]
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        at = draw(st.integers(0, max(0, len(written) - 1)))
        written[at : at + 1] = [draw(_broken(written[at] if written else b""))]
    data = b"".join(line + b"\n" for line in written)
    top = _sealed(head)
    if draw(st.integers(0, 15)) == 0:
        top = draw(_broken(top))
    return data[: draw(st.sampled_from((None, None, None, None, None, None, -1, -20)))], top


@st.composite
def baselines(draw) -> bytes:
    """A baseline's file, changed likewise: of the present form, or every record on a line of its own."""
    head, *lines = map(json.loads, BASELINE)
    if draw(st.booleans()):
        _mutate(draw, head, draw(st.sampled_from((None, _VALUES))))
    if draw(st.integers(0, 3)) == 0:
        head.pop("written", None)
        return _sealed(head) + b"\n" + draw(runs())[0]
    for _ in range(draw(st.integers(0, 3))):
        _mutate(draw, draw(st.sampled_from(lines)), draw(st.sampled_from((None, _VALUES))))
    return b"".join(_sealed(one) + b"\n" for one in (head, *lines))


def _change_cell(draw, head: dict, lines: list[dict]) -> None:
    """One change to one cell, in the plan and in all its records."""
    cell = draw(st.sampled_from(head["planned"]))
    everywhere = [
        one for one in (*head["planned"], *(line["cell"] for line in lines)) if one == cell
    ]
    changed = copy.deepcopy(cell)
    _mutate(draw, changed, None)
    for one in everywhere:
        one.clear()
        one.update(copy.deepcopy(changed))


def _broken(line: bytes) -> st.SearchStrategy[bytes]:
    at = st.integers(0, len(line))
    return st.one_of(
        st.sampled_from(
            (
                b"",
                b"{}",
                b"[]",
                b"null",
                b"[" * 5000,
                b'{"schema": 9}',
                b"\xff\xfe",
                b"\xef\xbb\xbf" + line,
            )
        ),
        at.map(lambda n: line[:n] + line[n + 1 :]),
        at.map(lambda n: line[:n]),
        at.map(lambda n: line[:n] + b"\n" + line[n:]),
        st.just(line.replace(b'"schema": 3', b'"schema": 3, "schema": 1, "cell": {}')),
        st.just(line.replace(b"1.5", b"1" + b"0" * 5000)),
        st.just(line.replace(b"1.5", b"NaN")),
        st.binary(max_size=30),
    )


def _mutate(draw, plain: dict, others: st.SearchStrategy | None) -> None:
    """Change one place of a tree, deep or shallow; others: what may stand there, None for its like."""
    node: object = plain
    while isinstance(node, dict | list) and node:
        key = draw(
            st.sampled_from(list(node) if isinstance(node, dict) else list(range(len(node))))
        )
        inner = node[key]
        if isinstance(inner, dict | list) and inner and draw(st.integers(0, 5)):
            node = inner
            continue
        if others is not None and draw(st.integers(0, 2)) == 0:
            _bend(draw, node, key)
        elif others is not None:
            node[key] = draw(others)
        elif isinstance(inner, list):
            node[key] = draw(st.lists(st.sampled_from(inner), max_size=4)) if inner else inner
        elif not isinstance(inner, dict):
            node[key] = draw(_ALIKE[type(inner)])
        return


def _bend(draw, node: dict | list, key: int | str) -> None:
    """Take a field away, give it another name, or put it into a list."""
    inner, how = node[key], draw(st.integers(0, 2))
    if how == 0:
        del node[key]
    elif how == 1 and isinstance(node, dict):
        node[draw(st.text(max_size=5))] = copy.deepcopy(inner)
    else:
        node[key] = [copy.deepcopy(inner)]


def _sealed(plain: dict) -> bytes:
    """The line with its checksum made anew, unless there is none to be had: a checksum would refuse them all."""
    plain = {name: value for name, value in plain.items() if name != "sum"}
    try:
        return sealed(plain).encode()
    except ValueError:  # not finite, which JSON cannot say by the letter
        return json.dumps(plain).encode()


def _with_its_key(plain: dict) -> dict:
    """The line as one would write it who knows how keys are made: else few mutated cells were ever read."""
    try:
        return plain | {"cell": plain["cell"] | {"key": cell_from_json(plain["cell"]).key}}
    except Exception:  # noqa: BLE001 (what cannot be a cell keeps the key it had)
        return plain
