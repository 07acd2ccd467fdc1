"""What every registered attention method promises. A new method is tested by existing."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
import typing
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from fakes_attention import CountedIntegers, CountsHalf, Integers, Keeps, LosesBits
from fakes_trial import FakeTrial
from torch.utils.flop_counter import FlopCounterMode

from ditbench.attention.base import METHODS, Moment, Shape, Site
from ditbench.attention.diffusers import _BACKENDS, Diffusers
from ditbench.digests import sealed
from ditbench.measure import flags
from ditbench.measure.core import check_core
from ditbench.measure.cost import _count_core
from ditbench.measure.evidence import Evidence
from ditbench.registry import settings_of
from ditbench.reuse.plans import Plan
from ditbench.reuse.policy import Policy

# 40 tokens: more than the default rank, and no multiple of the default block size.
SHAPE = Shape(batch=3, heads=2, tokens=40, head_dim=8)
SITE = Site(block=0, depth=4, heads=2, head_dim=8, grid=(5, 8))
SQUARE = Shape(batch=2, heads=2, tokens=100, head_dim=8)
WITH_TEXT = Shape(batch=3, heads=2, tokens=40, head_dim=8, grid=(5, 8), plane=False)
DIT_XL = Shape(batch=2, heads=16, tokens=256, head_dim=72)
# Every method is tested with its defaults, and with these.
MORE_SETTINGS = {
    "sdpa": [{"backend": name} for name in ("flash", "efficient", "cudnn", "math")],
    "monarch": [
        {"block_size": 7, "pad": "post"},
        {"block_size": 8, "num_steps": 1},
        {"block_size": 1},
    ],
    "nystromformer": [
        {"rank": 7},
        {"rank": 10, "iterations": 2, "reuse_az": False},
        {"rank": 40},
    ],
    "performer": [
        {"features": 7, "orthogonal": False},
        {"features": 20, "stabilised": False, "seed": 3},
    ],
    "linformer": [{"rank": 7, "seed": 3}],
    "gqa": [{"kv_heads": 2}],
    "window": [{"size": 2}, {"size": 1}],
    "flex": [{"window": 3}],
    "diffusers": [{"backend": name} for name in ("_native_math", "_native_flash")],
    "agent": [{"side": 1}],
    "sliding-tile": [{"tile": 1, "window": 3}, {"tile": 1, "window": 5}],
    "top-k": [{"keep": 1.0}, {"keep": 0.01}],
    "token-merge": [{"ratio": 0.5}],
    "static-reuse": [{"core": "monarch"}, {"schedule": "steps", "every": 2}],
    "int8-qk": [{"scale_per": "head", "smooth": False}],
    "dqar": [{"core": "monarch"}, {"mode": "output"}, {"guidance": "apart", "precision": "int8"}],
}
# Relative L2 distance from float64 that rounding explains.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
DTYPES = [pytest.param(dtype, id=str(dtype).removeprefix("torch.")) for dtype in TOLERANCE]


def cases(most=None):
    for name, plugin in METHODS.discover().items():
        for settings in ({}, *MORE_SETTINGS.get(name, ()))[:most]:
            told = "-".join(f"{key}-{value}" for key, value in settings.items())
            yield pytest.param(plugin(**settings), id=f"{name}-{told}".rstrip("-"))


every_method = pytest.mark.parametrize("method", list(cases()))
every_exact_method = pytest.mark.parametrize(
    "method", [case for case in cases() if case.values[0].is_exact]
)
every_plugin = pytest.mark.parametrize(
    "plugin", [pytest.param(plugin, id=name) for name, plugin in METHODS.discover().items()]
)


def inputs(shape=SHAPE, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    sizes = (shape.batch, shape.heads, shape.tokens, shape.head_dim)
    return tuple(torch.randn(sizes, generator=generator).to(dtype) for _ in range(3))


def runnable(method, dtype=torch.float32):
    """Skip, with the method's own reasons, what it says it cannot do here."""
    reasons = method.unsupported(SHAPE, str(dtype).removeprefix("torch."), "cpu")
    if reasons:
        pytest.skip("; ".join(reasons))
    return method


def distance(out, true):
    return float((out.double() - true.double()).norm() / true.double().norm())


def counted_macs(method, shape, device):
    """torch counts two operations per multiply-add."""
    sizes = (shape.batch, shape.heads, shape.tokens, shape.head_dim)
    q, k, v = (torch.empty(sizes, device=device) for _ in range(3))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        method.attend(q, k, v)
    return counter.get_total_flops() / 2


def dependence_on_neighbours(method):
    """How far a sample's or a head's result moves when the others are permuted or taken away."""
    q, k, v = inputs()
    # A sample with other scores than its neighbours': what is shared over the batch would show.
    q = q * torch.tensor([1.0, 3.0, 0.1])[:, None, None, None]
    out = method.attend(q, k, v)
    order = torch.tensor([2, 0, 1])
    heads = torch.tensor([1, 0])
    alone = torch.cat([method.attend(q[i : i + 1], k[i : i + 1], v[i : i + 1]) for i in range(3)])
    others = (
        (method.attend(q[order], k[order], v[order]), out[order]),
        (method.attend(q[:, heads], k[:, heads], v[:, heads]), out[:, heads]),
        (alone, out),
    )
    return max(float((one - other).abs().max()) for one, other in others)


@pytest.fixture
def poisoned_memory():
    """torch.empty gives NaN, so memory that nobody wrote cannot pass for a result."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(1).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@every_method
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("poisoned_memory")
def test_keeps_shape_and_dtype_and_is_finite(method, dtype):
    q, k, v = inputs(dtype=dtype)
    out = runnable(method, dtype).attend(q, k, v)
    assert (out.shape, out.dtype) == (q.shape, dtype)
    assert out.isfinite().all()


@every_exact_method
@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_methods_equal_softmax_in_float64(method, dtype):
    q, k, v = inputs(dtype=dtype)
    scores = q.double() @ k.double().mT / SHAPE.head_dim**0.5
    true = scores.softmax(dim=-1) @ v.double()
    assert distance(runnable(method, dtype).attend(q, k, v), true) < TOLERANCE[dtype]


@every_method
def test_mistake_26_no_sample_or_head_depends_on_another(method):
    assert dependence_on_neighbours(runnable(method)) < 1e-5


def test_mistake_26_a_norm_taken_over_the_batch_is_caught():
    assert (
        dependence_on_neighbours(METHODS.get("nystromformer")(rank=7, normalised_by="batch")) > 1e-3
    )


@every_method
@pytest.mark.parametrize("shape", [SHAPE, DIT_XL], ids=["small", "dit-xl"])
def test_mistake_05_declared_macs_are_those_that_a_counter_finds(method, shape):
    """On `meta`, where torch writes fused attention out as two products whatever backend and dtype are
    asked for, so one dtype is enough and no kernel has to exist."""
    if reasons := method.unsupported(shape, "bfloat16", "cuda"):
        pytest.skip("; ".join(reasons))
    counted, uncounted, own = _count_core(method, shape)
    assert (counted, uncounted) == (method.macs(shape), ())
    assert set(own) <= set(method.operator_macs)


def test_a_core_is_counted_and_checked_on_the_grid_of_its_site():
    """4 x 12 tokens hold tiles of 4 x 4; the squarest grid of as many, 6 x 8, does not."""
    tiles = METHODS.get("sliding-tile")(tile=4, window=1)
    shape = Shape(batch=1, heads=2, tokens=48, head_dim=8, grid=(4, 12))
    assert _count_core(tiles, shape) == (tiles.macs(shape), (), ())
    check_core(tiles, shape, torch.float32, torch.device("cpu"), Evidence({}))


def test_mistake_05_a_count_on_the_cpu_is_not_asked_for_fused_attention():
    """It is zero in torch 2.13, and may be right one day; the declared one does not depend on that."""
    sdpa = METHODS.get("sdpa")()
    assert counted_macs(sdpa, SHAPE, "cpu") <= sdpa.macs(SHAPE) == counted_macs(sdpa, SHAPE, "meta")


def test_mistake_05_integer_products_are_counted_by_the_formula_of_the_method_that_uses_them():
    shape = Shape(batch=1, heads=1, tokens=32, head_dim=16)
    product = 32 * 32 * 16
    assert _count_core(Integers(), shape) == (product, ("aten._int_mm",), ())
    assert _count_core(CountedIntegers(), shape) == (2 * product, (), ("aten._int_mm",))


def test_mistake_05_a_method_that_declares_half_is_caught():
    assert counted_macs(CountsHalf(), SHAPE, "meta") == 2 * CountsHalf().macs(SHAPE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fvcore scripts a loss at import
@pytest.mark.parametrize("name", ["softmax", "monarch", "nystromformer"])
def test_a_second_counter_agrees_on_methods_written_out(name):
    """fvcore counts multiply-adds as one, and cannot see fused attention."""
    from fvcore.nn import FlopCountAnalysis

    class Core(torch.nn.Module):
        def forward(self, q, k, v):
            return method.attend(q, k, v)

    method = METHODS.get(name)()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # sizes are constants here
        count = FlopCountAnalysis(Core(), inputs()).unsupported_ops_warnings(False).total()
    assert count == method.macs(SHAPE)


@every_method
def test_leaves_nothing_behind(method):
    """Not in its inputs, its results, torch's random numbers, a switch of the process, or memory."""
    q, k, v = inputs()
    first = runnable(method).attend(q, k, v)
    switches, state = flags.read(), torch.get_rng_state()
    out = method.attend(q, k, v)
    assert torch.equal(out, first)
    assert all(torch.equal(one, other) for one, other in zip((q, k, v), inputs(), strict=True))
    assert not flags.changed(switches)
    assert torch.equal(torch.get_rng_state(), state)
    kept = [weakref.ref(x) for x in (q, k, v, first, out)]
    del q, k, v, first, out
    assert not any(ref() is not None for ref in kept)
    assert not tensors_kept(method)


def tensors_kept(method):
    """Names in the method's module and class under which a tensor, or a collection with one, is kept."""
    places = {**vars(sys.modules[type(method).__module__]), **vars(type(method))}
    return [name for name, value in places.items() if holds_a_tensor(value)]


def holds_a_tensor(value):
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple, set)):
        return any(map(holds_a_tensor, value))
    return isinstance(value, torch.Tensor)


@pytest.mark.parametrize(
    "attend", [Keeps.in_a_dict, Keeps.in_the_class], ids=lambda one: one.__name__
)
def test_mistake_16_a_method_that_keeps_what_it_saw_is_caught(attend):
    keeper = Keeps(attend)
    q, k, v = inputs()
    keeper.attend(q, k, v)
    assert tensors_kept(keeper)
    Keeps.forget()


def loss_in_bfloat16(method):
    """How far bfloat16 moves the result, and how far moving float32's inputs by one such rounding does."""
    rounded = tuple(x.float() for x in inputs(dtype=torch.bfloat16))
    true = runnable(method, torch.bfloat16).attend(*rounded)
    generator = torch.Generator().manual_seed(2)
    moved = (x * (1 + 2**-8 * torch.randn(x.shape, generator=generator)) for x in rounded)
    out = method.attend(*(x.bfloat16() for x in rounded))
    return float((out - true).norm()), float((method.attend(*moved) - true).norm())


@every_method
def test_bfloat16_loses_at_most_three_times_what_its_own_rounding_of_the_inputs_does(method):
    """So the bound is each method's own: a method that is unsteady by nature, as top-k is, may move more."""
    lost, moved = loss_in_bfloat16(method)
    assert lost <= 3 * moved


def test_a_method_that_loses_more_bits_than_bfloat16_has_is_caught():
    lost, moved = loss_in_bfloat16(LosesBits())
    assert lost > 3 * moved


@pytest.mark.slow
@pytest.mark.parametrize("method", [case for case in cases(most=2) if case.values[0].compiles])
def test_compiles_whole(method):
    """As a model calls it: opened, so that what is drawn once has been drawn."""
    torch.compiler.reset()  # each method is a recompilation of the same function, and these are counted
    q, k, v = inputs()
    layer = runnable(method).open(Site(0, 1, SHAPE.heads, SHAPE.head_dim, (5, 8)))

    x = torch.zeros(SHAPE.batch, SHAPE.tokens, SHAPE.heads * SHAPE.head_dim)

    def attend(q, k, v):
        return layer(x, lambda _: (q, k, v), lambda out: out, Moment())

    compiled = torch.compile(attend, fullgraph=True, dynamic=False, backend="aot_eager")
    with torch.inference_mode():
        torch.testing.assert_close(compiled(q, k, v), method.attend(q, k, v))


def place(name, told, shape=SHAPE, *, of, reasons=()):
    """A method with one setting, where it would run, and words of each reason why it cannot."""
    method = METHODS.get(name)(**({told[0]: told[1]} if told[0] else {}))
    dtype, device = of.split(" on ")
    words = "-and-".join(reasons) or "nothing"
    label = f"{name}-{told[1]}-{of}-for-{words}".replace(" ", "-")
    return pytest.param(method, (shape, dtype, device), reasons, id=label)


def wide(head_dim):
    return Shape(1, 1, 4, head_dim)


@pytest.mark.parametrize(
    ("method", "where", "reasons"),
    [
        place("monarch", ("block_size", 41), of="float32 on cpu", reasons=("more than the 40",)),
        place("monarch", ("block_size", 40), of="float32 on cpu"),
        place("nystromformer", ("rank", 41), of="float32 on cpu", reasons=("more than the 40",)),
        place("nystromformer", ("rank", 40), of="float32 on cpu"),
        place("linformer", ("rank", 40), of="float32 on cpu", reasons=("less than the 40",)),
        place("gqa", ("kv_heads", 3), of="float32 on cpu", reasons=("2 heads do not fall into 3",)),
        place("window", ("size", 6), of="float32 on cpu", reasons=("does not fit the 5 x 8",)),
        place("window", ("size", 5), of="float32 on cpu"),
        place("ditfastattn", ("window", 7.5), of="float32 on cpu", reasons=("no share",)),
        place("ditfastattn", ("window", 7.0), of="float32 on cpu"),
        place("ditfastattn", ("core", "zero"), of="float32 on cpu", reasons=("could be a part",)),
        *(
            place(*told, WITH_TEXT, of="float32 on cpu", reasons=("tokens of one picture",))
            for told in (
                ("window", ("size", 5)),
                ("agent", ("side", 2)),
                ("sliding-tile", ("tile", 1)),
                ("flex", ("window", 3)),
                ("ditfastattn", ("window", 0.25)),
            )
        ),
        place("flex", ("window", 0), WITH_TEXT, of="float32 on cpu"),
        place("flex", ("window", 6), of="float32 on cpu", reasons=("does not fit the 5 x 8",)),
        place("flex", ("window", 0), of="bfloat16 on cuda", reasons=("at least 16",)),
        place("agent", ("side", 6), of="float32 on cpu", reasons=("too many for 5 x 8",)),
        place("sliding-tile", ("tile", 4), of="float32 on cpu", reasons=("do not fill the 5 x 8",)),
        place("sliding-tile", ("tile", 5), SQUARE, of="float32 on cpu", reasons=("do not fit",)),
        place(
            "sage",
            ("", None),
            wide(129),
            of="float32 on cpu",
            reasons=("no sageattention", "CUDA device", "float16 or bfloat16", "at most 128"),
        ),
        place("top-k", ("keep", 1.5), of="float32 on cpu", reasons=("no share",)),
        place("token-merge", ("ratio", 0.6), of="float32 on cpu", reasons=("merges 24 of 40",)),
        place("token-merge", ("ratio", 0.0), of="float32 on cpu", reasons=("merges 0 of 40",)),
        place("token-merge", ("ratio", 0.5), of="float32 on cpu"),
        place(
            "int8-qk", ("smooth", True), wide(1041), of="float32 on cpu", reasons=("at most 1040",)
        ),
        place("int8-qk", ("smooth", True), wide(1040), of="float32 on cpu"),
        place(
            "flash",
            ("release", "2"),
            wide(257),
            of="float32 on cpu",
            reasons=("release 2", "CUDA device", "float16 or bfloat16", "at most 256"),
        ),
        place("sdpa", ("backend", "efficient"), of="float32 on cpu", reasons=("CUDA device",)),
        place(
            "sdpa",
            ("backend", "cudnn"),
            wide(301),
            of="float32 on cpu",
            reasons=("CUDA device", "float16 or bfloat16", "at most 256", "multiple of 4"),
        ),
        place(
            "sdpa",
            ("backend", "flash"),
            wide(512),
            of="float32 on cuda",
            reasons=("float16 or bfloat16", "at most 256"),
        ),
        place(
            "sdpa",
            ("backend", "efficient"),
            wide(12),
            of="bfloat16 on cuda",
            reasons=("multiple of 8",),
        ),
        place("sdpa", ("backend", "efficient"), wide(12), of="float32 on cuda"),
        place("sdpa", ("backend", "flash"), DIT_XL, of="bfloat16 on cuda"),
        place("sdpa", ("backend", "flash"), wide(301), of="float32 on cpu"),
        place("sdpa", ("backend", "cudnn"), DIT_XL, of="float16 on cuda"),
        place("sdpa", ("backend", "math"), wide(301), of="float32 on cuda"),
        place("sdpa", ("backend", "auto"), wide(301), of="float32 on cuda"),
    ],
)
def test_refuses_with_every_reason_at_once(method, where, reasons):
    refusals = method.unsupported(*where)
    assert len(refusals) == len(reasons)
    assert all(part in refusal for part, refusal in zip(reasons, refusals, strict=True))


REFUSED_HERE = [
    ("flash", {}),
    ("sage", {}),
    ("xformers", {}),
    *(("sdpa", {"backend": name}) for name in ("efficient", "cudnn")),
    *(
        ("diffusers", {"backend": name})
        for name in _BACKENDS
        if Diffusers(name).unsupported(SHAPE, "float32", "cpu")
    ),
]


@pytest.mark.parametrize(("name", "settings"), REFUSED_HERE, ids=str)
def test_mistake_19_what_is_refused_on_the_cpu_does_not_run_there(name, settings):
    """No other kernel steps in."""
    method = METHODS.get(name)(**settings)
    assert method.unsupported(SHAPE, "float32", "cpu")
    with pytest.raises((RuntimeError, ImportError, TypeError, AttributeError)):
        method.attend(*inputs())


# A file that a setting names; written where a test wants it.
UNTRAINED = "an untrained policy"
BY_HAND = "a plan by hand"
PLAN = Plan("fake", 2.0, 0.125, (0, 1), ("FF", "W=", "wf", "=="))
WRITES = {
    UNTRAINED: lambda: Policy.untrained().write(),
    BY_HAND: lambda: json.dumps(PLAN.as_json()).encode(),
}
# Settings beside the one that is tried, where the defaults do not fit 10 x 10 tokens or take long.
_DQAR = {"threshold": 100.0, "warmup": 0, "snr_low": 0.0, "snr_high": 1e9}
USUAL = {
    "static-reuse": {"share": 1.0},
    "static-reuse snr": {"share": 1.0, "snr": 1.0},
    "dqar": _DQAR,
    "dqar warmup": _DQAR | {"warmup": 4},
    "dqar scheduler": _DQAR | {"early": 1},
    "dqar early": _DQAR | {"early": 1},
    "dqar middle": _DQAR | {"middle": 1},
    "dqar policy": _DQAR | {"min_probability": 1.0},
    "dqar min_probability": _DQAR | {"policy": UNTRAINED, "min_probability": 0.0},
    "dqar granularity": _DQAR | {"precision": "int8"},
    "dqar bits": _DQAR | {"precision": "int8"},
    "dqar balance": _DQAR | {"precision": "int8"},
    # Between the entropies of the two halves.
    "dqar guidance": _DQAR | {"threshold": 14.0},
    "dqar across": _DQAR | {"threshold": 14.0, "guidance": "apart"},
    "ditfastattn samples": {"threshold": 0.06},
    "ditfastattn warmup": {"warmup": 0.5},
    "sliding-tile": {"tile": 1},
    "monarch kernel": {"num_steps": 1, "block_size": 10},
}


def knobs():
    for name, plugin in METHODS.discover().items():
        for setting in settings_of(plugin):
            yield pytest.param(plugin, setting, id=f"{name}-{setting.name}")


def another(setting):
    """A value that is not the default."""
    if setting.name == "core":
        return "identity"
    if setting.file:
        return {"policy": UNTRAINED, "plan": BY_HAND}[setting.name]
    if setting.choices:
        return next(one for one in setting.choices if one != setting.default)
    if isinstance(setting.default, bool):
        return not setting.default
    if isinstance(setting.default, float):
        return 2 * setting.default
    return setting.default // 2 if setting.default > 1 else setting.default + 1


def with_files(settings, folder):
    """The settings, with a file that was written in the place of each that stands for one."""
    for name, written in WRITES.items():
        (folder / name).write_bytes(written())
    return {
        name: sealed(str(folder / value)) if value in WRITES else value
        for name, value in settings.items()
    }


def over_steps(method, shape):
    """What its layers give, of two blocks of four, in a run whose q, k and v grow calmer.

    The first row, which has its condition, looks at fewer tokens than the second.
    """
    if method.calibrated:
        method = method.with_calibration(method.calibrate(FakeTrial(shape)))
    q, k, v = inputs(shape)
    q = q * torch.linspace(3, 1, shape.batch)[:, None, None, None]
    layers = [method.open(replace(SITE, block=block, grid=shape.places)) for block in (0, 1)]
    x = torch.arange(shape.batch)[:, None, None].float()
    x = x.expand(shape.batch, shape.tokens, shape.heads * shape.head_dim)
    given, steps = [], 2 if method.compiles else 8  # what compiles keeps nothing from step to step
    for step in range(steps):
        now = Moment(step, steps, log_snr=2.0 * step - steps, guided=True)
        parts = {"q": q * (1 + 1 / (1 + step)), "k": k, "v": v + step}

        def project(of, asked="qkv", step=step, parts=parts):
            rows = (of[:, 0, 0] - step).long()
            return tuple(parts[part][rows] for part in asked)

        given += [layer(x + step, project, lambda out: out, now) for layer in layers]
    return torch.stack(given)


@pytest.mark.parametrize(("plugin", "setting"), list(knobs()))
def test_mistake_15_every_setting_of_every_method_is_wired_to_something(plugin, setting, tmp_path):
    """To the result; or to the cost or the kernel alone, which no picture shows."""
    usual = USUAL.get(f"{plugin.name} {setting.name}", USUAL.get(plugin.name, {}))
    one = plugin(**with_files(usual, tmp_path))
    other = plugin(**with_files(usual | {setting.name: another(setting)}, tmp_path))
    for method in (one, other):
        if reasons := method.unsupported(SQUARE, "float32", "cpu"):
            pytest.skip("; ".join(reasons))
    moved = not torch.equal(over_steps(one, SQUARE), over_steps(other, SQUARE))
    assert moved or one.macs(SQUARE) != other.macs(SQUARE) or one.kernels != other.kernels


@every_plugin
def test_the_page_says_paper_formula_cost_and_what_it_is_not(plugin):
    page = inspect.getdoc(sys.modules[plugin.__module__])
    first = page.splitlines()[0]
    assert any(told in first for told in ("arXiv", "(ours)", "(after "))
    assert any(line.startswith("    ") and "=" in line for line in page.splitlines())
    assert "cost" in page
    assert "confused" in page
    assert all((plugin.name, plugin.paper, plugin.formula, plugin.cost, plugin.__doc__))
    assert plugin.formula in " ".join(page.split())


@every_plugin
def test_the_file_imports_no_other_method(plugin):
    tree = ast.parse(inspect.getsource(sys.modules[plugin.__module__]))
    imported = {
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    } | {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    ours = {name for name in imported if name.startswith("ditbench.attention")}
    assert "ditbench.attention.base" in ours
    assert ours <= {"ditbench.attention.base", "ditbench.attention.memory"}


@every_plugin
def test_nothing_optional_is_imported_with_the_file(plugin):
    """Only inside a function, when it is used: other packages are slow, or broken, or open the GPU."""
    tree = ast.parse(inspect.getsource(sys.modules[plugin.__module__]))
    modules = {
        name
        for node in tree.body
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    outside = {name.split(".")[0] for name in modules} - set(sys.stdlib_module_names)
    assert outside <= {"torch", "ditbench"}


@every_plugin
def test_settings_are_scalars_with_limits_that_the_defaults_satisfy(plugin):
    hints = typing.get_type_hints(plugin)
    for setting in settings_of(plugin):
        assert hints[setting.name] in (int, float, bool, str)
        assert not setting.choices or setting.default in setting.choices
        assert setting.least is None or setting.default >= setting.least
        assert setting.most is None or setting.default <= setting.most
        assert setting.method is (setting.name == "core")


@every_plugin
def test_whoever_names_a_file_says_who_can_read_it_without_torch(plugin):
    for setting in settings_of(plugin):
        assert bool(setting.reader) is setting.file
        if setting.reader:
            code = (
                f"import {setting.reader.partition(':')[0]}, sys; sys.exit('torch' in sys.modules)"
            )
            subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("static-reuse", {"share": 1, "warmup": 1}),
        ("dqar", {"min_probability": 1, "bits": 8}),
        ("ditfastattn", {"warmup": 1}),
    ],
)
def test_no_share_of_a_method_with_memory_is_above_one(name, most):
    told = {one.name: one.most for one in settings_of(METHODS.get(name)) if one.most is not None}
    assert told == most
