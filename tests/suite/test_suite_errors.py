import time
from pathlib import Path

import pytest
from catalogs import CATALOG
from hypothesis import given, settings
from hypothesis import strategies as st

from ditbench.errors import SuiteError, UsageError
from ditbench.suite.parse import load, parse

HEAD = "name: x\nmodel: large\n"


def problems(text, overrides=None):
    with pytest.raises(SuiteError) as caught:
        parse(text, "s.yaml", CATALOG, overrides or {})
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1:1: must be a mapping, not nothing"]),
        ("attention: softmax", ["1:1: 'name' is missing", "1:1: 'model' is missing"]),
        (
            HEAD + "attention: sofmax",
            ["3:12: attention: unknown attention method 'sofmax' (did you mean 'softmax'?)"],
        ),
        (
            HEAD + "attention: their.package:Other",
            [
                (
                    "3:12: attention: unknown attention method 'their.package:Other'"
                    " (did you mean 'their.package:Theirs'?)"
                )
            ],
        ),
        (
            HEAD + "attention:\n  - softmax\n  - monarch: {block_sise: 8}",
            [
                "5:15: attention[1].monarch: unknown setting 'block_sise' (did you mean 'block_size'?)"
            ],
        ),
        (
            HEAD + "attention:\n  - monarch:\n    block_size: 8",
            ["4:5: attention[0]: one method each: write name, or {name: {setting: value}}"],
        ),
        (
            HEAD + "attention:\n  - monarch: {block_size: eight, num_steps: true}",
            [
                "4:27: attention[0].monarch.block_size: must be a whole number >= 1, not 'eight'",
                "4:45: attention[0].monarch.num_steps: must be a whole number >= 1, not true",
            ],
        ),
        (
            HEAD + "attention: {sdpa: {backend: maths}}",
            [
                "3:29: attention.sdpa.backend: unknown value 'maths' (did you mean 'math'? known: auto, math)"
            ],
        ),
        (
            HEAD + "attention:\n  - sparing: {core: [sdpaa, softmax, 3]}",
            [
                (
                    "4:22: attention[0].sparing.core[0]: unknown attention method 'sdpaa'"
                    " (did you mean 'sdpa'?)"
                ),
                "4:38: attention[0].sparing.core[2]: must be one line of text, not 3",
            ],
        ),
        (
            HEAD + "attention:\n  - sparing: {schedule: cosine}",
            [
                (
                    "4:25: attention[0].sparing.schedule: unknown value 'cosine' "
                    "(did you mean 'linear'? known: linear, reverse, exponential)"
                )
            ],
        ),
        (
            HEAD
            + "attention:\n  - sparing: {share: 7, bits: 12}\n  - sparing: {share: 1, bits: 8}",
            [
                "4:22: attention[0].sparing.share: must be a number >= 0 and <= 1, not 7",
                "4:31: attention[0].sparing.bits: must be a whole number >= 2 and <= 8, not 12",
            ],
        ),
        (
            HEAD
            + "attention: {sparing: {core: 'their.package:Their'}}\nexclude:\n"
            + "  - {attention: {sparing: {core: softmix}}, because: slow}",
            [
                "3:29: attention.sparing.core: there is no 'Their' in their.package",
                (
                    "5:34: exclude[0].attention.sparing.core: unknown attention method 'softmix'"
                    " (did you mean 'softmax'?)"
                ),
            ],
        ),
        (
            HEAD + "attention: [softmax, monarch, monarch: {block_size: [8, 16]}]",
            ["3:31: attention[2]: monarch stands in attention[1] already"],
        ),
        (
            HEAD
            + "attention: [softmax, 'their.package:Their', {'their.package:Their': {rank: 1}}]",
            [
                "3:22: attention[1]: there is no 'Their' in their.package",
                "3:45: attention[2]: there is no 'Their' in their.package",
            ],
        ),
        (
            "name: x\nmodel: ['their.model:Broken', {name: 'their.package:Their'}]\nattention: softmax",
            [
                "2:9: model[0]: ValueError: as it was imported",
                "2:38: model[1].name: there is no 'Their' in their.package",
            ],
        ),
        (
            HEAD + "attention: softmax\nbatch_size: -1",
            ["4:13: batch_size: must be a whole number >= 1, not -1"],
        ),
        (
            HEAD + "attention: softmax\nsteps: [1, 1.0]",
            ["4:12: steps[1]: must be a whole number >= 1 and <= 1000, not 1.0"],
        ),
        (
            HEAD + "attention: softmax\nbatch_size: []",
            ["4:13: batch_size: an empty list: nothing would run"],
        ),
        (
            HEAD + "attention: softmax\nsteps: [4, 8, 4]",
            ["4:15: steps[2]: the same as steps[0]"],
        ),
        (
            HEAD + "attention: softmax\nblocks: [0-27, 28]",
            ["4:16: blocks[1]: no block 28 in a model of depth 28 (0 to 27)"],
        ),
        (
            HEAD + "attention: softmax\nweights: no/such/folder",
            [
                (
                    "4:10: weights: no folder 'no/such/folder'"
                    f" (looked for from {Path.cwd()}, where ditbench was started)"
                )
            ],
        ),
        (
            HEAD + "attention: softmax\nweights: [embedded, 'hub:owner']",
            [
                "4:11: weights[0]: no weights of large ship with ditbench",
                "4:21: weights[1]: 'hub:owner' is not hub:owner/name@revision",
            ],
        ),
        (
            "name: x\nmodel: [lage, {name: large, depth: 2}, {hidden: 8}]\nattention: softmax",
            [
                "2:9: model[0]: unknown model 'lage' (did you mean 'large'?)",
                "2:15: model[1]: large has a fixed architecture: only a model such as dit takes settings",
                "2:40: model[2]: must be a registered name or a mapping such as {name: dit, hidden: 192}",
            ],
        ),
        (
            "name: x\nmodel: {name: dit, depth: 1000000000}\nattention: softmax",
            ["2:8: model: a model of 1,000,000,000 blocks; at most 10,000"],
        ),
        (
            HEAD + "attention: softmax\nsampling: {guidance_scale: 0.5, dtype: float23, sede: 1}",
            [
                "4:28: sampling.guidance_scale: must be a number >= 1, not 0.5",
                (
                    "4:40: sampling.dtype: unknown dtype 'float23' (did you mean 'float32'? "
                    "known: float32, bfloat16, float16)"
                ),
                "4:49: sampling: unknown key 'sede' (did you mean 'seed'?)",
            ],
        ),
        (
            HEAD + "attention: softmax\ntiming: {repeats: 0, processes: [3], timeout_s: 0}",
            [
                "4:19: timing.repeats: must be a whole number >= 1, not 0",
                "4:33: timing.processes: must be a whole number >= 1, not a list",
                "4:49: timing.timeout_s: must be a number > 0, not 0",
            ],
        ),
        (
            HEAD + "attention: softmax\ntiming: {timeout_s: {gates: 1, time: 0}, memory_limit: 4}",
            [
                "4:22: timing.timeout_s: unknown key 'gates' (did you mean 'gate'?)",
                "4:38: timing.timeout_s.time: must be a number > 0, not 0",
                "4:56: timing.memory_limit: must be at least 256 MiB, not 4.00 B",
            ],
        ),
        (
            HEAD + "attention: softmax\ntiming: {memory_limit: a lot}",
            [
                "4:24: timing.memory_limit: must be a size in bytes, or one such as 4 GiB, not 'a lot'"
            ],
        ),
        (
            HEAD + "attention: softmax\ntiming: {warmup_cap_s: -1, most_repeats: 30, cap_s: 0}",
            [
                "4:24: timing.warmup_cap_s: must be a number >= 0, not -1",
                "4:28: timing: most_repeats says where the way to a precision ends: set precision too",
                "4:53: timing.cap_s: must be a number > 0, not 0",
            ],
        ),
        (
            HEAD + "attention: softmax\ntiming: {precision: 0%, repeats: 5, most_repeats: 30}",
            ["4:21: timing.precision: must be above 0"],
        ),
        (
            HEAD + "attention: softmax\ntiming: {precision: 1%, repeats: 5, most_repeats: 4}",
            ["4:37: timing: most_repeats 4 is less than repeats 5"],
        ),
        (
            HEAD + "attention: softmax\nmetrics: [latency, psnr, frechet]",
            [
                "4:20: metrics[1]: psnr looks at pictures: set quality.samples, at least 2",
                "4:26: metrics[2]: frechet looks at pictures: set quality.samples, at least 2",
            ],
        ),
        (
            HEAD + "attention: softmax\nmetrics: [latency]\ngate: {latency: 2, energy: 1%}",
            [
                "5:17: gate.latency: must be a share such as 2% or 0.02, from 0 to 1, not 2",
                "5:20: gate: energy is gated but not among the metrics",
            ],
        ),
        (
            HEAD + "attention: softmax\nmetrics: [macs, flops]\ngate: {macs: 1%, flops: 1%}",
            [
                "5:8: gate: macs takes no threshold: any change of it is told",
                "5:18: gate: flops takes no threshold: it follows from another metric",
            ],
        ),
        (
            HEAD
            + "attention: softmax\nmetrics: [peak_reserved, device_used]\n"
            + "gate: {peak_reserved: 1%, device_used: 1%}",
            [
                "5:8: gate: peak_reserved takes no threshold: it is shown and never judged",
                "5:27: gate: device_used takes no threshold: it is shown and never judged",
            ],
        ),
        (
            HEAD
            + "attention: softmax\nmetrics: [cache_bytes, replay_latency, calibration_time]\n"
            + "gate: {cache_bytes: 1%, replay_latency: 1%, calibration_time: 50%}",
            [
                "5:8: gate: cache_bytes takes no threshold: any change of it is told",
                "5:25: gate: replay_latency takes no threshold: it is shown and never judged",
            ],
        ),
        (
            HEAD + "attention: softmax\nturbo: none\nname2: x",
            ["4:1: unknown key 'turbo'", "5:1: unknown key 'name2' (did you mean 'name'?)"],
        ),
        (
            "name: |\n  two\n  lines\nmodel: large\nattention: softmax",
            ["1:7: name: must be one line of text, not 'two\\nlines\\n'"],
        ),
        (
            HEAD + "attention: softmax\nexclude: [{attention: softmax}, {because: so}]",
            [
                "4:11: exclude[0]: 'because' is missing",
                "4:33: exclude[1]: no condition: this would exclude every cell",
            ],
        ),
        (
            HEAD
            + "attention: softmax\nclaims:\n  - {metric: macs, value: 1, tolerance: 1%, sampler: dim}",
            [
                "5:5: claims[0]: 'source' is missing",
                (
                    "5:54: claims[0].sampler: unknown sampler 'dim' (did you mean 'ddim'? "
                    "known: ddim, ddpm, dpmsolver++, flow-euler, ddim-leading)"
                ),
            ],
        ),
    ],
    ids=lambda value: (
        None if isinstance(value, list) else value.splitlines()[-1][:40] if value else "empty"
    ),
)
def test_every_mistake_is_told_at_its_place(text, expected):
    assert problems(text) == [f"s.yaml:{line}" for line in expected]


def test_mistakes_come_in_the_order_of_the_file():
    text = "steps: 0\nname: x\nattention: sofmax\nmodel: lage\n"
    assert [line.split(":")[1] for line in problems(text)] == ["1", "3", "4"]


def test_a_matrix_of_a_thousand_million_cells_is_refused_at_once():
    axis = list(range(1, 1001))
    text = (
        HEAD + f"attention: {{monarch: {{block_size: {axis}, num_steps: {axis}}}}}\nsteps: {axis}"
    )
    started = time.process_time()
    found = problems(text)
    assert time.process_time() - started < 10  # to make the cells would take hours
    assert found == [
        "s.yaml:1:1: attention x steps: 1,000,000 x 1,000 = 1,000,000,000 cells; at most 100,000"
    ]


@pytest.mark.parametrize(
    ("axis", "value", "problem"),
    [
        ("batch_size", "0", "must be a whole number >= 1, not 0"),
        (
            "batch_size",
            "1,x",
            "batch_size[1]: must be a whole number >= 1 or max, not 'x' (did you mean 'max'?)",
        ),
        ("batch_sise", "1", "unknown axis (did you mean 'batch_size'?)"),
        ("sampling.seed", "-1", "must be a whole number >= 0, not -1"),
        ("timing.repeats", "1,2", "must be a whole number >= 1, not a list"),
        ("steps", "", "an empty list: nothing would run"),
        ("steps", "&x 1", "anchors are not allowed (&x)"),
        ("attention", "monarch: {rank: 3}", "attention.monarch: unknown setting 'rank'"),
    ],
)
def test_a_mistake_on_the_command_line_has_the_option_as_its_place(axis, value, problem):
    assert problems(HEAD + "attention: softmax", {axis: value}) == [f"--set {axis}: {problem}"]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"name: \xff", "not UTF-8: byte 6 is 0xff"),
    ],
    ids=["missing", "not-utf-8"],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, content, cause):
    path = tmp_path / "s.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load(path, CATALOG)
    assert str(caught.value) == f"{path}: {cause}"


_PIECES = st.sampled_from(
    [
        *("name", "model", "attention", "blocks", "steps", "sampling", "claims", "exclude", "gate"),
        *(
            ": ",
            "\n",
            "  ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            "\t",
            "&a",
            "*a",
            "!!x",
            "|",
            ">",
            "%",
            "#",
        ),
        *(
            "large",
            "softmax",
            "monarch",
            "block_size",
            "1",
            "-1",
            "1e9",
            ".nan",
            "on",
            "'",
            '"',
            "\\U",
        ),
    ]
)
_TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(_PIECES, max_size=30).map("".join),
    st.lists(_PIECES, max_size=15).map(
        lambda pieces: HEAD + "attention: softmax\n" + "".join(pieces)
    ),
)


@settings(max_examples=400, deadline=None)
@given(text=_TEXTS, value=st.one_of(st.just("1"), st.lists(_PIECES, max_size=6).map("".join)))
def test_any_text_is_a_suite_or_a_mistake_in_lines(text, value):
    told = ("s.yaml: no problem",)
    try:
        assert parse(text, "s.yaml", CATALOG, {"blocks": value}).text == text
    except SuiteError as error:
        told = error.problems
    assert told
    assert all(len(problem.splitlines()) == 1 for problem in told)
    assert all(problem.startswith(("s.yaml:", "--set blocks")) for problem in told)


CLAIM = "claims: [{metric: METRIC, batch_size: SIZE, value: 64, tolerance: 1%, source: x}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "batch_size: maximum",
            "4:13: batch_size: must be a whole number >= 1 or max, not 'maximum' (did you mean 'max'?)",
        ),
        ("batch_size: [max, 2, max]", "4:22: batch_size[2]: the same as batch_size[0]"),
        (
            "metrics: [largest_batch]",
            (
                "4:11: metrics[0]: largest_batch is what a batch size of max finds: "
                "write batch_size: max, or [1, max]"
            ),
        ),
        (
            "gate: {largest_batch: 5%}",
            "4:8: gate: largest_batch is gated but not among the metrics",
        ),
        (
            CLAIM.replace("METRIC", "macs").replace("SIZE", "max"),
            "4:11: claims[0]: of batch_size: max only largest_batch is known, not macs",
        ),
        (
            CLAIM.replace("METRIC", "largest_batch").replace("SIZE", "8"),
            "4:34: claims[0]: largest_batch is found where batch_size is max, not 8",
        ),
    ],
)
def test_a_mistake_about_the_largest_batch_says_what_to_write(text, expected):
    assert problems(HEAD + "attention: softmax\n" + text) == [f"s.yaml:{expected}"]
