"""`monarch: {kernel: triton}` gives what the torch version gives: in Triton's interpreter, or on a GPU.

The interpreter takes some 10 ms a program, so shapes are tiny here: a launch has (blocks or offsets) x tiles
x heads x batch programs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ditbench.attention.base import Shape
from ditbench.attention.monarch import Monarch
from ditbench.kernels import interpreted
from ditbench.measure.core import CORE_TOLERANCE, check_core
from ditbench.measure.cost import _count_core
from ditbench.measure.evidence import Evidence
from ditbench.measure.kernels import kinds_run

pytest.importorskip("triton", reason="no triton: pip install triton")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Where the kernel runs."""
    reasons = Monarch(1, kernel="triton").unsupported(Shape(1, 1, 1, 16), "float32", request.param)
    if request.param == "cuda" and (interpreted() or not torch.cuda.is_available()):
        reasons.append("no CUDA device, or TRITON_INTERPRET is set")
    if reasons:
        pytest.skip("; ".join(reasons))
    return torch.device(request.param)


def drawn(tokens, head_dim, device, *, dtype=torch.float32, batch=1, heads=1):
    """As adapters give them: views of (batch, tokens, heads head_dim)."""
    generator = torch.Generator().manual_seed(tokens)
    sizes = (3, batch, tokens, heads, head_dim)
    drawn = torch.randn(sizes, generator=generator, dtype=torch.float64)
    return tuple(drawn.to(device, dtype).transpose(2, 3))


def both(method, q, k, v):
    """What the kernel and the torch version give."""
    fused = Monarch(method.block_size, method.num_steps, method.pad, "triton")
    return fused.attend(q, k, v), method.attend(q, k, v)


def relative(one, other):
    return float((one.double() - other.double()).norm() / other.double().norm())


@pytest.fixture
def poisoned_memory():
    """torch.empty gives NaN, so memory that nobody wrote cannot pass for a result."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize(
    ("method", "tokens", "head_dim"),
    [
        pytest.param(Monarch(4, 1), 12, 16, id="one turn"),
        pytest.param(Monarch(4, 2), 11, 16, id="two turns and a token before"),
        pytest.param(Monarch(4, 3, "post"), 11, 72, id="three turns, a token behind, head_dim 72"),
        pytest.param(Monarch(3, 2), 8, 64, id="head_dim 64"),
        pytest.param(Monarch(3, 1), 7, 5, id="head_dim 5"),
        pytest.param(Monarch(7, 2), 7, 16, id="one block"),
        pytest.param(Monarch(1, 2), 7, 16, id="blocks of one token"),
        pytest.param(Monarch(36, 1), 37, 16, id="a whole tile of padding"),
        pytest.param(Monarch(2, 2), 69, 16, id="more blocks than a tile has columns"),
    ],
)
def test_the_kernel_gives_what_torch_gives(method, tokens, head_dim, device):
    ours, theirs = both(method, *drawn(tokens, head_dim, device))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-6)


def test_more_blocks_than_one_program_holds_are_normalised_in_a_launch_of_their_own(
    device, monkeypatch
):
    from ditbench.kernels import monarch

    monkeypatch.setattr(monarch, "MOST_BLOCKS", 4)
    ours, theirs = both(Monarch(2, 2), *drawn(35, 16, device))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_low_precision_stays_near_float64(name, device):
    """In bfloat16 the interpreter's own products are garbage: the kernel widens there."""
    dtype = getattr(torch, name)
    q, k, v = drawn(11, 16, device, dtype=dtype)
    ours, _ = both(Monarch(4, 2), q, k, v)
    true = Monarch(4, 2).attend(q.double(), k.double(), v.double())
    assert ours.dtype == dtype
    assert relative(ours, true) < CORE_TOLERANCE[name]


def test_samples_heads_and_memory_of_any_kind(device):
    """Slices of one projection, a transposed head_dim, a q that repeats: strides that differ."""
    q, k, v = drawn(7, 16, device, batch=2, heads=2)
    qkv = torch.cat([x.transpose(1, 2).flatten(2) for x in (q, k, v)], dim=-1)
    kinds = {
        "slices": tuple(x.unflatten(-1, (2, 16)).transpose(1, 2) for x in qkv.chunk(3, dim=-1)),
        "transposed": (q.mT.contiguous().mT, k, v),
    }
    true = Monarch(4, 1).attend(q, k, v)
    fused = Monarch(4, 1, kernel="triton")
    for told, given in kinds.items():
        torch.testing.assert_close(fused.attend(*given), true, rtol=1e-5, atol=2e-6, msg=told)
    assert fused.attend(q, k, v).stride() == q.stride()  # an adapter's transpose stays free


def test_scores_that_drown_all_but_one_key_stay_finite(device):
    q, k, v = drawn(11, 16, device, dtype=torch.float16)
    ours, theirs = both(Monarch(4, 2), 30 * q, 30 * k, v)
    assert ours.isfinite().all()
    assert relative(ours, theirs) < 0.05


def test_the_core_passes_its_gates(device):
    evidence = Evidence()
    method = Monarch(3, 1, kernel="triton")
    check_core(method, Shape(1, 1, 5, 16), torch.float32, device, evidence)
    assert evidence.facts["company_error"] <= CORE_TOLERANCE["float32"]


def test_it_compiles_whole_and_is_seen_running(device):
    q, k, v = drawn(5, 16, device)
    method = Monarch(3, 1, kernel="triton")
    compiled = torch.compile(method.attend, fullgraph=True, dynamic=False, backend="aot_eager")
    with torch.inference_mode():
        torch.testing.assert_close(compiled(q, k, v), method.attend(q, k, v))
        for attend in (compiled, method.attend):
            assert kinds_run(lambda attend=attend: attend(q, k, v)) == ("triton",)


@pytest.mark.parametrize("num_steps", [1, 3])
def test_mistake_05_its_macs_are_counted_by_a_formula_that_is_told(num_steps):
    """No counter sees into a Triton kernel; it is the same work that the torch version is counted for."""
    shape = Shape(batch=2, heads=16, tokens=250, head_dim=72)
    fused = Monarch(16, num_steps, kernel="triton")
    counted, uncounted, own = _count_core(fused, shape)
    assert (counted, uncounted, own) == (fused.macs(shape), (), ("ditbench.monarch",))
    assert counted == _count_core(Monarch(16, num_steps), shape)[0]


@pytest.mark.parametrize("tokens", [128, 129])
def test_mistake_05_its_formula_is_what_its_launches_multiply(monkeypatch, tokens):
    """Each launch multiplies rows by columns once for the logits and once for each mean it takes."""
    from ditbench.kernels import monarch

    multiplied = []

    def launch(fold, x, _y, _z=None, *, across, **named):
        groups, members = fold.blocks, fold.block_size
        if across:
            groups, members = members, groups
        products = 1 + len(named.keys() & {"mean_y", "mean_z"})
        multiplied.append(groups * members**2 * x.shape[-1] * products)

    monkeypatch.setattr(monarch._Fold, "_launch", launch)
    fused = Monarch(block_size=1, num_steps=3, kernel="triton")
    fused.attend(*(torch.zeros(1, 1, tokens, 16) for _ in range(3)))
    assert fused.macs(Shape(1, 1, tokens, 16)) == sum(multiplied)


class Launches:
    """Stands for the kernel: notes what it is launched on, and does nothing."""

    def __init__(self):
        self.programs = []

    def __getitem__(self, grid):
        def launch(*_given, **_constants):
            self.programs.append(grid[0])

        return launch


@pytest.fixture
def launches(monkeypatch):
    from ditbench.kernels import monarch

    noted = Launches()
    monkeypatch.setattr(monarch, "_half_turn", noted)
    return noted


@pytest.mark.parametrize(
    ("num_steps", "tokens", "expected"),
    [(1, 256, 2), (3, 256, 6), (1, 129 * 16, 2), (3, 129 * 16, 8)],
)
def test_a_turn_is_two_launches_and_one_more_above_128_blocks(
    num_steps, tokens, expected, launches
):
    both(Monarch(16, num_steps), *drawn(tokens, 16, "cpu"))
    assert len(launches.programs) == expected


def test_nothing_larger_than_q_is_made_for_16384_tokens(launches):
    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            self.numbers = max(self.numbers, out.numel())
            return out

    q = torch.empty(1, 2, 16384, 64)
    from ditbench.kernels.monarch import monarch

    with Largest() as largest:
        monarch._init_fn(q, q, q, 128, 2, 0)
    assert largest.numbers == q.numel()
    assert len(launches.programs) == 4


@pytest.mark.parametrize(
    ("shape", "dtype", "where", "reasons"),
    [
        (Shape(1, 1, 64, 128), "bfloat16", "cuda", ()),
        (Shape(1, 1, 64, 129), "bfloat16", "cuda", ("head_dim of at most 128, not 129",)),
        (Shape(1, 1, 15, 64), "float32", "cpu", ("more than the 15", "needs a CUDA device")),
    ],
)
def test_the_kernel_refuses_with_every_reason_at_once(shape, dtype, where, reasons, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    told = Monarch(16, kernel="triton").unsupported(shape, dtype, where)
    assert len(told) == len(reasons)
    assert all(part in reason for part, reason in zip(reasons, told, strict=True))


def test_without_triton_the_reason_is_the_command_and_the_torch_version_runs(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    shape = Shape(1, 1, 64, 64)
    told = Monarch(16, kernel="triton").unsupported(shape, "float32", "cuda")
    assert told == ["no triton: pip install triton"]
    assert Monarch(16).unsupported(shape, "float32", "cpu") == []


@pytest.mark.slow
def test_it_is_imported_when_used_and_compiles_for_the_matrix_units_of_a_hopper_gpu(tmp_path):
    """What no interpreter tells: the compiler takes it, loads 16 bytes at a time, and spills no register."""
    script = """
        import pathlib
        import subprocess
        import sys
        import torch
        from ditbench.attention.base import METHODS
        METHODS.discover()
        assert "ditbench.kernels.monarch" not in sys.modules

        from triton import knobs
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource, compile
        from ditbench.kernels import monarch

        TYPES = {torch.bfloat16: "*bf16", torch.float32: "*fp32", int: "i32", float: "fp32"}
        kernel, launches, file = monarch._half_turn, [], pathlib.Path(sys.argv[1])

        class Launches:
            def __getitem__(self, grid):
                return lambda *given, **constants: launches.append((given, constants))

        def compiled(given, constants):
            named = dict(zip(kernel.arg_names, given)) | constants
            options = {name: named.pop(name) for name in ("num_warps", "num_stages")}
            fixed = {name: x for name, x in named.items() if x is None or name.isupper()}
            types = {n: TYPES[getattr(x, "dtype", type(x))] for n, x in named.items() if n not in fixed}
            signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
            sixteens = {
                (n,): [["tt.divisibility", 16]]
                for n, name in enumerate(kernel.arg_names)
                if name in types and (types[name][0] == "*" or name == "x_head")
            }
            source = ASTSource(kernel, signature, fixed, sixteens)
            return compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm

        monarch._half_turn = Launches()
        for tokens, block_size, head_dim in ((4096, 64, 64), (256, 16, 72)):
            q = torch.empty(1, tokens, 2, head_dim, dtype=torch.bfloat16).transpose(1, 2)
            monarch.monarch(q, q, q, block_size, 1, 0)
        for launch in launches:
            asm = compiled(*launch)
            unit = "wgmma.mma_async" if launch[1]["ROWS"] == 64 else "mma.sync"
            file.write_bytes(asm["cubin"])
            tool = (knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file)
            used = subprocess.run(tool, check=True, capture_output=True, text=True).stdout
            print(unit in asm["ptx"], "ld.global.v4" in asm["ptx"], " STACK:0 " in used)
    """
    without = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path / "kernel.cubin"],
        check=False,
        capture_output=True,
        text=True,
        env=without | {"TRITON_CACHE_DIR": str(tmp_path)},
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["True True True"] * 4
