"""A small believable run, its summary and its comparison, every part replaceable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ditbench.compare import Comparison, Finding, Verdict
from ditbench.compare.verdicts import Duel, Step
from ditbench.environment import Environment
from ditbench.records import Cell, Choice, Record, Sampling, Stage, Status
from ditbench.stats import Interval
from ditbench.store import Run, pictures, shelf
from ditbench.summary import Answered, ClaimResult, Estimate, Reuse, Row, Summary
from ditbench.summary.history import History, Point
from ditbench.summary.speed import REPLAY_BOUND

FD = "fd_fashion_cnn_1000"
MODEL = Choice(
    "fashion-dit",
    (("hidden", 128), ("depth", 6), ("heads", 4), ("patch", 2), ("size", 32), ("channels", 1)),
)
SUITE = "name: fashion\nmodel: fashion-dit\nattention: [softmax, sdpa]\n"
# name, settings, label, relative speed, drift, exact
METHODS = (
    ("softmax", (), "softmax", 1.0, 0.0, True),
    ("sdpa", (("backend", "auto"),), "sdpa", 2.1, 1.2e-7, True),
    ("sdpa", (("backend", "flash"),), "sdpa {backend: flash}", 1.9, 1.3e-7, True),
    ("identity", (), "identity", 3.0, 0.92, False),
    ("nystromformer", (("rank", 16),), "nystromformer {rank: 16}", 2.4, 0.31, False),
    ("nystromformer", (("rank", 32),), "nystromformer {rank: 32}", 2.2, 0.19, False),
    ("nystromformer", (("rank", 64),), "nystromformer {rank: 64}", 1.7, 0.08, False),
    ("linear", (), "linear", 2.6, 0.55, False),
    ("window", (("size", 4),), "window {size: 4}", 2.45, 0.22, False),
    ("window", (("size", 8),), "window {size: 8}", 2.15, 0.11, False),
)


def cell(method=METHODS[0], *, batch_size=8, steps=20, model=MODEL, **axes) -> Cell:
    name, settings, label, *_ = method
    return Cell(
        model=model,
        attention=Choice(name, settings, label),
        weights="embedded",
        blocks=tuple(range(6)),
        batch_size=batch_size,
        steps=steps,
        sampling=Sampling(),
        **axes,
    )


def estimate(value: float, spread: float = 0.02) -> Estimate:
    return Estimate(value, value * (1 - spread), value * (1 + spread), processes=3, samples=60)


def exactly(value: float) -> Estimate:
    return Estimate(value, value, value, processes=1, samples=1)


def row(method=METHODS[0], **axes) -> Row:
    _, _, _, speed, drift, exact = method
    of = cell(method, **axes)
    slow = 0.08 * of.batch_size**0.9 * of.steps / 20
    latency = slow / speed
    core = 6.3e6 * of.rows * (0.05 + drift) / 0.5
    name = method[0]
    return Row(
        cell=of,
        status=Status.OK,
        reason="",
        estimates={
            "latency": estimate(latency),
            "throughput": estimate(of.batch_size / latency),
            "macs": exactly(9.1e7 * of.rows + core),
            "core_macs": exactly(core),
            "macs_shared_embedder": exactly(8.9e7 * of.rows + core),
            "peak_resident": estimate(2.1e8 / speed + 1e7 * of.batch_size, 0.01),
            "latent_drift": estimate(drift) if drift else exactly(0.0),
            "psnr": estimate(60 - 50 * drift) if drift > 1e-3 else exactly(float("inf")),
            f"{FD}@dataset": exactly(21.4 + 40 * drift),
            f"{FD}@softmax": exactly(40 * drift),
        },
        per_process={"latency": (latency * 0.99, latency, latency * 1.01)},
        speedup=estimate(speed / 2.1),
        against="sdpa",
        versus_softmax=estimate(speed),
        bound=estimate(3.0 / 2.1),
        softmax_bound=estimate(3.0),
        bound_by="identity",
        ceiling=1.25,
        module_ceiling=1.75,
        exact=exact,
        kernels=("math",) if name == "softmax" else ("flash",),
        pictures=f"images/{of.quality_key}",
        doubts=("speed-up within noise of the measured bound",) if name == "linear" else (),
    )


def remembering(one: Row, share: float = 0.5) -> Row:
    """The same of a method with memory: the first blocks spare every step but the first."""
    of, steps = one.cell, one.cell.steps
    spared = round(share * len(of.blocks))
    rows = tuple(
        (f"blocks.{block}", "a" + ("c" if block < spared else "b") * (steps - 1))
        for block in of.blocks
    )
    reused, first = spared * (steps - 1), len(of.blocks)
    forwards = first * steps
    counted = (
        ("nothing kept", False, first),
        ("too different", False, forwards - first - reused),
        ("close enough", True, reused),
    )
    latency = one.estimates["latency"].value
    cost = {"reuse_ratio": exactly(reused / forwards), "cache_bytes": exactly(share * 2**23)}
    return replace(
        one,
        estimates=one.estimates | cost,
        reuse=Reuse(
            forwards, reused, counted, rows, (0.0, *(0.01 * n for n in range(1, steps + 1)))
        ),
        profile=(latency / steps,) * steps,
        bound_by=REPLAY_BOUND,
    )


def failed(status=Status.CRASHED, reason="segmentation fault (SIGSEGV)", **axes) -> Row:
    method = ("broken", (), "broken", 1.0, 0.0, False)
    return Row(cell(method, **axes), status, reason)


def rows() -> tuple[Row, ...]:
    good = tuple(row(m, batch_size=b) for b in (1, 8) for m in METHODS)
    bad = (
        failed(batch_size=8),
        failed(Status.FAILED_GATE, "is declared exact, but lies 0.31 from softmax", batch_size=1),
        replace(
            failed(Status.UNSUPPORTED, "needs a GPU", batch_size=1),
            cell=cell(METHODS[0], batch_size=64),
        ),
    )
    return good + bad


def summary(**parts) -> Summary:
    plain = {
        "rows": rows(),
        "claims": claims(),
        "notes": ("The CPU was at 40 % load before the run.",),
    }
    return Summary(**(plain | parts))


def claims() -> tuple[ClaimResult, ...]:
    return (
        ClaimResult(
            "core_macs",
            "step",
            "Nystromformer paper, table 2",
            3.44e9,
            0.005,
            cell(METHODS[4]),
            3.45e9,
            Answered.REPRODUCED,
        ),
        ClaimResult(
            "latency", "step", "a blog post", 0.5, 0.1, cell(METHODS[5]), 0.9, Answered.CONTRADICTED
        ),
        ClaimResult(
            "macs",
            "image",
            "DiT paper, table 4",
            1.19e11,
            0.005,
            None,
            None,
            Answered.NOT_MEASURED,
            "no cell of this run is of that kind",
        ),
    )


def finding(method=METHODS[1], verdict=Verdict.REGRESSED, change=0.12, **parts) -> Finding:
    plain = {
        "cell": cell(method),
        "metric": "latency",
        "verdict": verdict,
        "reason": "both the ratio and the best process moved",
        "change": change,
        "floor": 0.02,
        "baseline": estimate(0.3),
        "candidate": estimate(0.3 * (1 + (change or 0))),
    }
    return Finding(**(plain | parts))


STEPS = (
    Step("gate", "suite 2 %, measured floor 0.8 %", "2 %: the suite's, above twice the floor"),
    Step("screen", "+12 % against 10 clean runs", "beyond the gate: to be confirmed"),
    Step("confirm", "B / A 1.121, best modes 1.118", "both beyond the gate"),
)


def duel(change: float = 0.12, value: float = 0.3, **parts) -> Duel:
    plain = {
        "base": tuple(value * (1 + share) for share in (0.004, -0.003, 0.0, 0.006, -0.005)),
        "judged": tuple(
            value * (1 + change) * (1 + share) for share in (0.002, -0.004, 0.001, 0.005, 0.0)
        ),
        "ratio": Interval(1 + change, 1 + change - 0.006, 1 + change + 0.007),
        "best": 1 + change - 0.002,
        "witness": Interval(1 + change - 0.001, 1 + change - 0.004, 1 + change + 0.003),
        "slow": (0.0, 0.2),
    }
    return Duel(**(plain | parts))


def confirmed(method=METHODS[1], verdict=Verdict.REGRESSED, change=0.12, **parts) -> Finding:
    """A finding with all its evidence."""
    plain = {
        "steps": STEPS,
        "duel": duel(change),
        "then": (0.299, 0.3, 0.302),
        "now": tuple(share * (1 + change) for share in (0.299, 0.3, 0.302)),
    }
    return finding(method, verdict, change, **(plain | parts))


def nights(values=(), method=METHODS[1], metric="latency", unclean=()) -> History:
    """A history of one figure; unclean: numbers of nights that no gate looks at."""
    key = cell(method).key
    points = tuple(
        Point(
            run=f"202602{day:02d}-020000-aaaa",
            started=f"2026-02-{day:02d}T02:00:00+00:00",
            value=value,
            processes=(value * 0.99, value, value * 1.01),
            clean=day - 1 not in unclean,
            code=f"commit {day:07x}",
        )
        for day, value in enumerate(values, start=1)
    )
    return History(tuple(point.run for point in points), {(key, metric): points})


def comparison(**parts) -> Comparison:
    plain = {
        "baseline": "baselines/main.jsonl",
        "findings": (
            finding(METHODS[9], Verdict.IMPROVED, -0.31),
            finding(METHODS[1], Verdict.REGRESSED, 0.12),
            finding(METHODS[4], Verdict.TRADED, -0.06),
            *(finding(m, Verdict.UNCHANGED, 0.004) for m in METHODS[5:9]),
            finding(METHODS[0], Verdict.NEW, None, metric="", baseline=None, candidate=None),
        ),
        "differences": ("torch: 2.12.1 -> 2.13.0",),
        "incomparable": False,
        "exit_codes": frozenset({3, 4}),
    }
    return Comparison(**(plain | parts))


NOTHING = Comparison("", (), (), incomparable=False, exit_codes=frozenset())


def records(of: Summary) -> tuple[Record, ...]:
    made = []
    for one in of.rows:
        if one.status is not Status.OK:
            made.append(Record(one.cell, Stage.GATE, one.status, reason=one.reason))
            continue
        gate = {
            "numeric_error": 3e-7,
            "numeric_tolerance": 1e-5,
            "calls": 24,
            "expected_calls": 24,
            "rerun_error": 0.0,
            "attention_effect": 0.9,
            "kernels": list(one.kernels),
        }
        made.append(Record(one.cell, Stage.GATE, Status.OK, facts=gate))
        made += [
            Record(
                one.cell,
                Stage.TIME,
                Status.OK,
                replicate=number,
                metrics={"latency": (value,) * 20},
                warmups={"latency": (value,) * 3},
                facts={"threads": 2, "peak_without_warmup": True},
            )
            for number, value in enumerate(one.per_process.get("latency", ()))
        ]
        if "latent_drift" not in one.estimates:
            continue
        price = one.estimates["latent_drift"].value
        made.append(
            Record(
                one.cell,
                Stage.QUALITY,
                Status.OK,
                metrics={"psnr": tuple(60 - 50 * price + n / 10 for n in range(-20, 20))},
                facts={
                    "samples": 1000,
                    "micro_batch": 16,
                    "extractor": {"name": "fashion_cnn", "sha256": "ab" * 32},
                    "paired": {f"{FD}@dataset": {"change": 40 * price, "error": 0.4}},
                },
            )
        )
    return tuple(made)


def run(folder: Path, of: Summary | None = None, **parts) -> Run:
    of = of or summary()
    plain = {
        "id": "20260301-120000-1f2e",
        "folder": folder,
        "suite": "fashion",
        "suite_path": "suites/fashion.yaml",
        "suite_text": SUITE,
        "command": "ditbench run suites/fashion.yaml --set batch_size=1,8",
        "started": "2026-03-01T12:00:00+00:00",
        "finished": True,
        "environment": Environment(
            {"cpu": "Some CPU, 2 cores", "torch": "2.13.0", "OMP_NUM_THREADS": "2"}
        ),
        "code": {"version": "0.1.0", "commit": "0123abcd", "dirty": False},
        "planned": tuple(one.cell for one in of.rows),
        "records": records(of),
        "gate": {"latency": 0.02},
    }
    return Run(**(plain | parts))


def keep(run: Path, cell: Cell, images: np.ndarray, *, shard: int = 16, **more: object) -> None:
    """Pictures of a cell in a run's folder, in shards; their latents are zeros. more: see `paint`."""
    folder = shelf.folder_of(run / "images", cell)
    identity = pictures.identity(cell, "5f2c", 8, "pixels")
    told = (
        np.asarray(more.get("labels", ()), np.int64),
        np.asarray(more.get("classes", ()), np.str_),
    )
    for start in range(0, len(images), shard):
        part = slice(start, start + shard)
        made = pictures.Made(
            np.zeros((len(images[part]), 1), np.float32),
            images[part],
            *(values[part] for values in told),
        )
        stop = start + len(images[part])
        pictures.keep(shelf.file_of(folder, start, stop), made, identity)


def paint(of: Run, methods: Summary, side: int = 32, count: int = 24, **more: object) -> None:
    """Pictures for every row with a result: a blurred blob a seed, moved a little by each method.

    more: what is told of them, as `labels` and `classes`.
    """
    axis = np.arange(side)
    for one in methods.rows:
        if one.status is Status.OK:
            shift = one.estimates["latent_drift"].value * side / 6
            at = np.random.default_rng(0).uniform(side / 4, 3 * side / 4, (count, 2)) + shift
            near = (axis[None, :, None] - at[:, 0, None, None]) ** 2
            near = near + (axis[None, None, :] - at[:, 1, None, None]) ** 2
            images = (255 * np.exp(-near / side)).astype(np.uint8)[..., None]
            keep(of.folder, one.cell, images, **more)
