"""What is written down of a machine, and what of it forbids a comparison."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fakes_git import commit as committed
from fakes_git import git

import ditbench
from ditbench.environment import (
    Environment,
    code_identity,
    code_label,
    collect,
    differences,
    incompatible,
    packages,
    refusals,
)

GPU = {"gpu": "H200", "gpu_uuid": "GPU-1", "gpu_driver": "580.65", "gpu_power_limit": 700.0}


def where(**facts):
    return Environment({"device": "cuda", "cpu": "Some CPU", "torch": "2.13.0", **GPU} | facts)


def test_facts_of_the_machine_are_collected_as_scalars():
    facts = collect("cuda", GPU, {"OMP_NUM_THREADS": "2", "HOME": "/root"}).facts
    assert facts["gpu_uuid"] == "GPU-1"
    assert facts["OMP_NUM_THREADS"] == "2"
    assert facts["cpus"] >= 1
    assert facts["memory"] > 2**20
    assert "HOME" not in facts
    assert all(isinstance(value, bool | int | float | str) for value in facts.values())


def test_the_versions_of_distributions_that_bring_plug_ins_are_collected(tmp_path, monkeypatch):
    """A kernel or a plug-in of another version is other code, whatever the suite's repository says."""
    for name, points in {
        "our-attention": "[ditbench.attention]\nours = ours:Ours\n",
        "sageattention": "",
        "unrelated": "[console_scripts]\nx = x:x\n",
    }.items():
        folder = tmp_path / f"{name.replace('-', '_')}-1.5.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (folder / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    here = collect("cpu", {}, {})
    assert here.facts["plugin.our-attention"] == "1.5"
    found = packages(here)
    assert {"our-attention": "1.5", "sageattention": "1.5"}.items() <= found.items()
    assert "unrelated" not in found


def test_collecting_asks_for_versions_without_importing_torch(fresh_python):
    code = (
        "import sys, ditbench.environment as e\n"
        "assert e.collect('cpu', {}, {}).facts['torch']\n"
        "assert 'torch' not in sys.modules"
    )
    fresh_python(code)


def test_mistake_40_a_variable_that_changes_the_reference_too_is_refused_with_the_way_out():
    told = refusals(collect("cpu", {}, {"DIFFUSERS_ATTN_BACKEND": "flash", "OMP_NUM_THREADS": "1"}))
    way_out = "unset it and name the kernel in the suite, as in `sdpa: {backend: flash}`"
    assert told == [
        f"DIFFUSERS_ATTN_BACKEND=flash changes the attention of every method, softmax too: {way_out}"
    ]
    assert len(refusals(collect("cpu", {}, {"NVIDIA_TF32_OVERRIDE": "0"}))) == 1


def test_mistake_40_an_empty_variable_is_not_refused():
    assert refusals(collect("cpu", {}, {"DIFFUSERS_ATTN_BACKEND": ""})) == []


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("TORCHDYNAMO_DISABLE=1", "makes compiled cells eager ones"),
        ("TORCH_COMPILE_DISABLE=1", "makes compiled cells eager ones"),
        ("TORCHDYNAMO_SUPPRESS_ERRORS=0", "lets compiled cells go on as eager ones"),
        ("TORCH_COMPILE_OVERRIDE_BACKENDS=>0:eager", "compiles by another backend"),
        ("TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE=1", "from elsewhere"),
        ("TORCHINDUCTOR_AUTOTUNE_REMOTE_CACHE=1", "from elsewhere"),
        ("TORCHINDUCTOR_BUNDLED_AUTOTUNE_REMOTE_CACHE=1", "from elsewhere"),
        ("DIFFUSERS_ATTN_BACKEND=sage", "changes the attention of every method"),
        ("NVIDIA_TF32_OVERRIDE=0", "changes the precision of every product"),
        ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1", "changes the precision of every product"),
        ("CUDA_LAUNCH_BLOCKING=1", "makes the CPU wait for every kernel"),
        ("PYTORCH_NO_CUDA_MEMORY_CACHING=0", "allocates anew for every tensor"),
        ("TORCH_CUDA_SANITIZER=", "watches every kernel"),
    ],
)
def test_mistake_40_each_variable_that_would_falsify_a_run_is_refused_with_the_way_out(
    variable, told
):
    name, _, value = variable.partition("=")
    (said,) = refusals(collect("cuda", GPU, {name: value}))
    assert said.startswith(f"{variable} ")
    assert told in said
    assert "unset it" in said


@pytest.mark.parametrize(
    "variable",
    [
        "TORCHDYNAMO_DISABLE=0",
        "TORCH_COMPILE_DISABLE=0",
        "TORCHDYNAMO_SUPPRESS_ERRORS=",
        "TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE=0",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=0",
        "CUDA_LAUNCH_BLOCKING=0",
        "CUBLAS_WORKSPACE_CONFIG=:4096:8",
        "TORCH_LOGS=+all",
        "TRITON_CACHE_DIR=/tmp/kept",
    ],
)
def test_what_does_nothing_or_only_has_to_agree_is_not_refused(variable):
    name, _, value = variable.partition("=")
    assert refusals(collect("cuda", GPU, {name: value})) == []


def test_what_only_matters_on_a_gpu_is_not_refused_on_the_cpu():
    for name in (
        "CUDA_LAUNCH_BLOCKING",
        "PYTORCH_NO_CUDA_MEMORY_CACHING",
        "TORCH_CUDA_SANITIZER",
    ):
        assert refusals(collect("cpu", {}, {name: "1"})) == []


@pytest.mark.parametrize(
    "name",
    [
        "ATEN_CPU_CAPABILITY",
        "CUBLASLT_WORKSPACE_SIZE",
        "CUDA_MODULE_LOADING",
        "MKL_CBWR",
        "ONEDNN_MAX_CPU_ISA",
        "PYTORCH_ALLOC_CONF",
        "PYTORCH_JIT",
        "PYTORCH_TUNABLEOP_ENABLED",
        "PYTORCH_USE_CUDA_DSA",
        "TORCHINDUCTOR_MAX_AUTOTUNE",
        "TORCH_BLAS_PREFER_CUBLASLT",
        "TORCH_LOGS",
        "TORCH_MKLDNN_MATMUL_MIN_DIM",
        "XFORMERS_FORCE_DISABLE_TRITON",
    ],
)
def test_mistake_40_each_variable_that_moves_a_figure_must_agree(name):
    one, other = (collect("cpu", {}, environ) for environ in ({}, {name: "1"}))
    assert incompatible(one, other) == [f"{name}: not set -> 1"]
    assert one.id != other.id


@pytest.mark.parametrize("name", ["TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"])
def test_where_a_compiler_keeps_its_cache_is_told_and_free_to_differ(name):
    """A timed process has a folder of its own."""
    one, other = (collect("cpu", {}, environ) for environ in ({}, {name: "/tmp/kept"}))  # noqa: S108 (a value, never opened)
    assert differences(one, other) == [f"{name}: not set -> /tmp/kept"]
    assert incompatible(one, other) == []


def test_differences_name_the_fact_and_both_values():
    then, now = where(python="3.11"), where(torch="2.14.0", OMP_NUM_THREADS="8", python="3.11")
    assert differences(then, now) == ["torch: 2.13.0 -> 2.14.0", "OMP_NUM_THREADS: not set -> 8"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param({"torch": "2.14.0"}, ["torch: 2.13.0 -> 2.14.0"], id="torch"),
        pytest.param({"gpu": "A100"}, ["gpu: H200 -> A100"], id="another GPU"),
        pytest.param({"gpu_driver": "590.1"}, ["gpu_driver: 580.65 -> 590.1"], id="driver major"),
        pytest.param({"gpu_power_limit": 500.0}, ["gpu_power_limit: 700.0 -> 500.0"], id="power"),
        pytest.param({"OMP_NUM_THREADS": "8"}, ["OMP_NUM_THREADS: not set -> 8"], id="threads"),
        pytest.param(
            {"TORCHINDUCTOR_MAX_AUTOTUNE": "1"},
            ["TORCHINDUCTOR_MAX_AUTOTUNE: not set -> 1"],
            id="compiler",
        ),
        pytest.param({"gpu_driver": "580.99"}, [], id="driver minor"),
        pytest.param({"gpu_uuid": "GPU-2"}, [], id="another card of the same kind"),
        pytest.param({"CUDA_VISIBLE_DEVICES": "1"}, [], id="which card is seen"),
        pytest.param({"python": "3.12"}, [], id="python"),
    ],
)
def test_what_forbids_a_comparison(changed, told):
    assert incompatible(where(), where(**changed)) == told
    assert (where().id == where(**changed).id) == (not told)


def test_the_order_of_facts_changes_no_id():
    facts = dict(where().facts)
    assert Environment(dict(reversed(facts.items()))).id == where().id


def test_code_of_a_checkout_has_commit_and_dirty_flag(monkeypatch, tmp_path):
    package = tmp_path / "ditbench"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "a", "--no-gpg-sign"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(ditbench, "__file__", str(package / "__init__.py"))
    clean = code_identity()
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (package / "method.py").write_text("")
    assert code_identity()["dirty"] is True


@pytest.mark.parametrize("checkout", [True, False], ids=["git is missing", "no history"])
def test_code_without_git_has_its_version_only(monkeypatch, tmp_path, checkout):
    if checkout:
        (tmp_path / ".git").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ditbench, "__file__", str(Path(tmp_path, "ditbench", "__init__.py")))
    assert code_identity() == {"version": ditbench.__version__, "commit": "", "dirty": None}


def test_code_of_a_suite_is_that_of_its_repository(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit = committed(folder, suites__toy_yaml="name: toy", plug_py="")
    suite = folder / "suites" / "toy.yaml"
    (folder / "results").mkdir()
    (folder / "results" / "run.json").write_text("{}")  # lies there, and is no code
    found = code_identity(suite)
    assert (found["suite_commit"], found["suite_dirty"]) == (commit, False)
    (folder / "new.py").write_text("")
    assert code_identity(suite)["suite_dirty"] is True
    (folder / "new.py").unlink()
    (folder / "plug.py").write_text("changed")
    assert code_identity(suite)["suite_dirty"] is True


def test_code_of_a_suite_in_no_repository_says_nothing_of_it(tmp_path):
    assert code_identity(tmp_path / "toy.yaml") == code_identity()


def test_code_on_one_line():
    assert code_label({"version": "0.1.0", "commit": "0123abcdef", "dirty": True}) == (
        "0.1.0+0123abcd.dirty"
    )
    assert code_label({"version": "0.1.0", "commit": "", "dirty": None}) == "0.1.0"
