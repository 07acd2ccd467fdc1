from pathlib import Path

import pytest
from catalogs import CATALOG

from ditbench.errors import SuiteError
from ditbench.jobs import Timeouts
from ditbench.plan import expand
from ditbench.records import LARGEST, Cell, Choice, Sampling
from ditbench.suite.parse import from_outside, load, parse

SUITES = Path(__file__).parents[2] / "suites"
TEXT = """
name: "any thing: [at] all"
model: [small, {name: dit, hidden: 192, prediction: v_prediction}]
attention:
  - softmax
  - monarch: {block_size: [8, 16], num_steps: 1}
  - nystromformer: {reuse_az: off, ridge: 1}
  - their.package:Theirs
blocks: [all, 5, 0-3, "0,1,5", first-half]
batch_size: [1, 8]
steps: 4
compile: [off, on]
sampling: {guidance_scale: [1, 2], seed: 7}
timing: {warmup: 0, repeats: 2, processes: 1, timeout_s: 60}
metrics: [latency, frechet]
quality: {samples: 2, reference: softmax}
exclude:
  - {attention: {monarch: {block_size: 8}}, compile: on, blocks: 5, guidance_scale: 2, because: slow}
gate: {latency: 2%}
claims:
  - {metric: core_macs, attention: {monarch: {block_size: 16}}, model: small, blocks: all, guidance: on,
     value: 3.44e9, tolerance: 0.5%, source: a table}
"""


def suite(text=TEXT, **overrides):
    given = {axis.replace("__", "."): value for axis, value in overrides.items()}
    return parse(text, "s.yaml", CATALOG, given)


def test_labels_show_what_differs_from_the_default():
    assert [choice.label for choice in suite().attentions] == [
        "softmax",
        "monarch[block_size=8,num_steps=1]",
        "monarch[num_steps=1]",
        "nystromformer[reuse_az=false,ridge=1]",
        "their.package:Theirs",
    ]
    assert [choice.label for choice in suite().models] == [
        "small",
        "dit[hidden=192,prediction=v_prediction]",
    ]


def test_every_setting_is_resolved():
    monarch, nystrom = suite().attentions[2], suite().attentions[3]
    assert dict(monarch.settings) == {"block_size": 16, "num_steps": 1}
    assert dict(nystrom.settings) == {"rank": 32, "reuse_az": False, "ridge": 1.0}
    assert dict(suite().models[1].settings) == {
        "hidden": 192,
        "depth": 12,
        "heads": 6,
        "patch": 2,
        "size": 32,
        "channels": 4,
        "prediction": "v_prediction",
    }


def test_a_whole_number_for_a_float_gives_the_same_key():
    texts = [
        f"name: x\nmodel: small\nattention: {{nystromformer: {{ridge: {r}}}}}" for r in ("1", "1.0")
    ]
    first, second = (expand(suite(text))[0].key for text in texts)
    assert first == second


def test_the_parts_without_axes_are_read():
    read = suite()
    assert read.name == "any thing: [at] all"
    assert read.blocks == ("all", "5", "0-3", "0,1,5", "first-half")
    assert read.compiles == (False, True)
    assert read.samplings == tuple(Sampling(guidance_scale=g, seed=7) for g in (1.0, 2.0))
    assert (read.timing.warmup, read.timing.timeout_s) == (0, Timeouts(*[60.0] * 5))
    assert read.quality.reference == ("softmax",)
    assert read.exact == {"softmax", "sdpa"}
    assert dict(read.gate) == {"latency": 0.02}


def test_limits_of_time_go_by_stage_and_a_stage_without_one_keeps_its_own():
    timing = suite(
        "name: x\nmodel: small\nattention: softmax\ntiming: {timeout_s: {quality: 7200}}"
    )
    assert timing.timing.timeout_s == Timeouts(quality=7200.0)


@pytest.mark.parametrize(
    ("written", "limit"),
    [("4 GiB", 2**32), ("1.5GiB", 3 * 2**29), ("512 MB", 512_000_000), ("1000000000", 10**9)],
)
def test_a_limit_of_memory_is_bytes_or_has_a_unit(written, limit):
    read = suite(f"name: x\nmodel: small\nattention: softmax\ntiming: {{memory_limit: {written}}}")
    assert read.timing.memory_limit == limit


def test_an_exclusion_takes_out_the_cells_that_meet_all_of_it():
    read = suite()
    (exclusion,) = read.exclude
    covered = [cell for cell in expand(read) if exclusion.covers(cell)]
    assert {(cell.attention["block_size"], cell.compile, cell.blocks) for cell in covered} == {
        (8, True, (5,))
    }
    assert (exclusion.because, exclusion.place) == ("slow", "s.yaml:18:5")


def test_a_claim_says_what_it_is_about():
    (claim,) = suite().claims
    assert (claim.metric, claim.per, claim.value, claim.tolerance) == (
        "core_macs",
        "step",
        3.44e9,
        0.005,
    )
    assert dict(claim.where) == {
        "attention": "monarch",
        "attention.block_size": 16,
        "model": "small",
        "blocks": "all",
        "guidance": True,
    }


def test_without_pictures_the_default_metrics_look_at_none():
    least = "name: x\nmodel: small\nattention: softmax\n"
    assert suite(least).metrics == ("latency", "macs")
    assert suite(least + "quality: {samples: 2}").metrics == ("latency", "macs", "latent_drift")


def test_the_command_line_replaces_an_axis():
    read = suite(
        batch_size="2,4",
        steps="8",
        attention="softmax, monarch: {block_size: [4, 8]}",
        blocks="'0,1'",
        sampling__dtype="[bfloat16, float32]",
        timing__repeats="9",
        quality__reference="dataset,softmax",
    )
    assert (read.batch_sizes, read.steps, read.blocks) == ((2, 4), (8,), ("0,1",))
    assert [choice.label for choice in read.attentions] == [
        "softmax",
        "monarch[block_size=4]",
        "monarch[block_size=8]",
    ]
    assert [sampling.dtype for sampling in read.samplings] == ["bfloat16", "float32"] * 2
    assert (read.timing.repeats, read.timing.warmup) == (9, 0)
    assert read.quality.reference == ("dataset", "softmax")
    assert read.overrides["steps"] == "8"


def test_a_precision_goes_to_four_times_the_repeats_unless_told():
    timings = [
        suite("name: x\nmodel: small\nattention: softmax\ntiming: {" + text + "}\n").timing
        for text in ("repeats: 5", "repeats: 5, precision: 1%", "precision: 0.5%, most_repeats: 25")
    ]
    assert [timing.most for timing in timings] == [5, 20, 25]
    assert [timing.precision for timing in timings] == [None, 0.01, 0.005]


def test_the_command_line_adds_a_part_that_the_file_lacks():
    read = suite("name: x\nmodel: small\nattention: softmax", sampling__seed="3")
    assert read.samplings == (Sampling(seed=3),)


def test_mistake_35_reordering_a_suite_changes_no_key():
    text = "name: x\nmodel: small\nattention: [softmax, monarch: {block_size: [8, 16]}]\nsteps: [1, 2]\n"
    turned = "steps: [2, 1]\nattention: [monarch: {block_size: [16, 8]}, softmax]\nmodel: small\nname: x\n"
    keys = [[cell.key for cell in expand(suite(one))] for one in (text, turned)]
    assert keys[0] != keys[1]
    assert set(keys[0]) == set(keys[1])
    assert len(keys[0]) == 6


def test_mistake_08_halves_are_resolved_for_each_model():
    text = "name: x\nmodel: [small, large]\nattention: monarch\nblocks: [first-half, second-half]"
    resolved = [cell.blocks for cell in expand(suite(text))]
    assert resolved == [
        tuple(range(3)),
        tuple(range(3, 6)),
        tuple(range(14)),
        tuple(range(14, 28)),
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("attention: [softmax, a.b:C, {d:E: {rank: 1}}, a.b:C]", ("a.b:C", "d:E")),
        ("attention: a:B", ("a:B",)),
        ("attention: 5", ()),
        ("attention: [", ()),
        ("- a:B", ()),
        ("name: a:B", ()),
        ("attention: {dqar: {core: a:B, policy: c:D}}", ("a:B",)),
        ("attention: [dqar: {core: [sdpa, a.b:C]}]", ("a.b:C",)),
    ],
)
def test_methods_from_outside_are_found_without_a_catalog(text, names):
    assert from_outside(text, "s.yaml", "attention") == names


@pytest.mark.parametrize("model", ["a.b:C", "[small, a.b:C]", "{name: a.b:C, depth: 3}"])
def test_models_from_outside_are_found_without_a_catalog(model):
    text = f"model: {model}\nattention: d:E"
    assert from_outside(text, "s.yaml", "model") == ("a.b:C",)


def test_the_settings_of_a_broken_method_are_nobodys_mistake():
    given = "{'their.package:Broken': {rank: [1, 2]}}"
    (choice,) = suite(f"name: x\nmodel: small\nattention: {given}").attentions
    assert choice == Choice("their.package:Broken", (), "their.package:Broken")


def test_weights_may_be_a_folder(tmp_path):
    text = f"name: x\nmodel: small\nattention: softmax\nweights: [embedded, '{tmp_path}']"
    assert suite(text).weights == ("embedded", str(tmp_path))


@pytest.fixture(scope="module")
def real():
    from ditbench.measure.catalog import catalog

    return catalog()


@pytest.mark.parametrize("name", ["quickstart", "gpu/dit-xl-2-256", "golden/attention-core"])
def test_the_suites_that_ship_are_right(name, real):
    read = load(SUITES / f"{name}.yaml", real)
    cells = expand(read)
    assert cells
    for claim in read.claims:
        where = {key: value for key, value in claim.where.items() if key.startswith("attention.")}
        told = [cell for cell in cells if cell.attention.name == claim.where["attention"]]
        assert any(
            all(cell.attention[key.partition(".")[2]] == value for key, value in where.items())
            for cell in told
        )


def test_a_suite_with_a_mistake_gives_no_suite():
    with pytest.raises(SuiteError):
        suite("name: x")


MINIMAL = "name: x\nmodel: small\nattention: softmax\n"


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("max", (LARGEST,)), ("[1, 8, max]", (1, 8, LARGEST))],
)
def test_a_batch_size_of_max_is_one_value_among_others(text, sizes):
    read = parse(f"{MINIMAL}batch_size: {text}\nmetrics: [latency]", "s.yaml", CATALOG)
    assert read.batch_sizes == sizes
    assert read.metrics == ("latency", "largest_batch")


def test_the_command_line_may_ask_for_the_largest_batch():
    read = parse(MINIMAL, "s.yaml", CATALOG, {"batch_size": "8,max"})
    assert read.batch_sizes == (8, LARGEST)


def test_what_max_finds_may_be_gated_claimed_and_excluded():
    read = parse(
        f"{MINIMAL}batch_size: [1, max]\ngate: {{largest_batch: 5%}}\n"
        "exclude: [{batch_size: max, because: slow}]\n"
        "claims: [{metric: largest_batch, batch_size: max, value: 64, tolerance: 10%, source: x}]\n",
        "s.yaml",
        CATALOG,
    )
    assert read.gate == {"largest_batch": 0.05}
    given, asked = (
        Cell(Choice("large", (("depth", 28),)), Choice("softmax"), batch_size=size)
        for size in (1, LARGEST)
    )
    assert [read.exclude[0].covers(one) for one in (given, asked)] == [False, True]
    assert [read.claims[0].is_about(one) for one in (given, asked)] == [False, True]
