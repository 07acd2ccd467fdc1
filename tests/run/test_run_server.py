"""Workers as processes: what each end of one becomes, and that nothing outlives its parent."""

from __future__ import annotations

import fcntl
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import fakes_run
import pytest

from ditbench.devices import lock
from ditbench.devices.processes import alive, gone, parent_of
from ditbench.errors import DitbenchError, SuiteError, UnfitError
from ditbench.jobs import Timeouts
from ditbench.metrics import LARGEST_BATCH
from ditbench.records import Stage, Status
from ditbench.run import fit, logs

HERE = Path(__file__).parent


@pytest.fixture
def run(server, tmp_path):
    def run(attention, **more):
        return server.run_job(
            fakes_run.job(attention, **more), tmp_path / "logs" / "a.log"
        ).findings

    return run


def test_findings_of_a_job_come_back_whole(server, tmp_path):
    heard = []
    answer = server.run_job(fakes_run.job(), tmp_path / "a.log", heard.append)
    assert answer.findings.metrics == {"latency": (0.25,)}
    assert heard == ["loading"]
    assert answer.started.endswith("+00:00")
    assert 0 < answer.seconds < 30


@pytest.mark.parametrize(
    ("attention", "status"),
    [
        ("fills_its_caches_and_hangs", Status.TIMEOUT),
        ("fills_its_caches_and_dies", Status.CRASHED),
    ],
)
def test_a_worker_that_was_killed_leaves_no_caches(run, attention, status):
    found = run(attention, timeout_s=2.0)
    assert (found.status, "in phase cached" in found.reason) == (status, True)
    assert not fakes_run.job(attention).caches.exists()


def test_a_job_has_caches_of_its_own_and_the_same_at_each_attempt():
    attempts = [fakes_run.job(replicate=number).caches for number in (0, 1, 0)]
    assert attempts[0] == attempts[2] != attempts[1]
    elsewhere = replace(fakes_run.job(), pictures=Path("elsewhere"))
    assert elsewhere.caches != attempts[0]


def test_a_job_costs_little_beside_its_own_work(server, tmp_path):
    server.run_job(fakes_run.job(), tmp_path / "a.log")
    assert min(server.run_job(fakes_run.job(), tmp_path / "a.log").seconds for _ in range(3)) < 0.4


@pytest.mark.parametrize(
    ("attention", "status", "told"),
    [
        (
            "leaves",
            Status.CRASHED,
            "exited with 7 and no answer, in phase loading; log: logs/a.log",
        ),
        (
            "segfaults",
            Status.CRASHED,
            "segmentation fault (SIGSEGV), in phase loading; log: logs/a.log",
        ),
        (
            "killed_from_outside",
            Status.CRASHED,
            "killed from outside (SIGKILL), in phase loading; log: logs/a.log",
        ),
        ("raises", Status.CRASHED, "ZeroDivisionError: first line"),
        ("answers_with_an_object", Status.CRASHED, "TypeError: Object of type object is not JSON"),
        ("fails_without_reason", Status.CRASHED, "ValueError: findings of status not finite"),
        ("takes_all_memory", Status.OUT_OF_MEMORY, "MemoryError (a worker may hold 1.00 GiB)"),
        ("torch_cannot_allocate", Status.OUT_OF_MEMORY, "can't allocate memory"),
        ("aborts_on_bad_alloc", Status.OUT_OF_MEMORY, "aborted (SIGABRT)"),
        ("cuda_cannot_allocate", Status.OUT_OF_MEMORY, "CUDA error: out of memory"),
        ("cublas_cannot_allocate", Status.OUT_OF_MEMORY, "CUBLAS_STATUS_ALLOC_FAILED"),
        ("runs_out_inside_a_compiler", Status.OUT_OF_MEMORY, "BackendError: could not compile"),
        ("cannot_fork", Status.OUT_OF_MEMORY, "Cannot allocate memory"),
        (
            "ended_from_outside",
            Status.CRASHED,
            "killed from outside (SIGTERM), in phase loading; log: logs/a.log",
        ),
        ("not_finite", Status.NOT_FINITE, "NaN"),
    ],
)
def test_each_bad_end_is_a_finding_and_the_next_job_runs(run, attention, status, told):
    findings = run(attention)
    assert findings.status is status
    assert told in findings.reason
    assert "\n" not in findings.reason
    assert run("softmax").status is Status.OK


def test_a_hang_costs_its_time_limit_and_names_the_last_phase(run):
    begin = time.monotonic()
    findings = run("hangs", timeout_s=0.5)
    assert time.monotonic() - begin < 60
    assert findings.status is Status.TIMEOUT
    assert findings.reason == (
        "no answer within 500 ms, the limit of time, in phase timing 3/20; log: logs/a.log"
    )
    assert run("softmax").status is Status.OK


def test_a_record_of_the_cpu_says_what_its_worker_might_hold(run):
    assert run("softmax").facts["memory_limit"] == fakes_run.LIMIT
    assert run("raises").facts["memory_limit"] == fakes_run.LIMIT


def test_a_segmentation_fault_leaves_its_stack_in_the_log(run, tmp_path):
    run("segfaults")
    assert "Segmentation fault" in (tmp_path / "logs" / "a.log").read_text()


def test_a_traceback_goes_to_the_log_and_not_to_the_reason(run, tmp_path):
    run("raises")
    assert "Traceback" in (tmp_path / "logs" / "a.log").read_text()


def test_a_flood_of_output_lands_in_the_log(run, tmp_path):
    assert run("floods").status is Status.OK
    text = (tmp_path / "logs" / "a.log").read_text()
    assert text.count("a line that nobody wants") == 20_000
    assert "and one from C" in text


def test_mistake_14_every_job_has_a_fresh_process(run):
    assert run("softmax").facts["pid"] != run("softmax").facts["pid"]


def test_mistake_40_a_cpu_job_sees_no_gpu_whatever_the_environment_says(run, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert run("tells_environment").facts["CUDA_VISIBLE_DEVICES"] == ""


def test_mistake_40_a_gpu_job_is_pinned_by_uuid(run):
    facts = run("tells_environment", device="GPU-of-a-test-1").facts
    assert facts["CUDA_VISIBLE_DEVICES"] == "GPU-of-a-test-1"
    assert facts["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    lock.path_of("GPU-of-a-test-1").unlink()


def test_the_kernel_kills_for_want_of_memory_and_nobody_else_is_blamed(run, monkeypatch):
    counts = iter([3, 4])
    monkeypatch.setattr("ditbench.run.server.memory.kills", lambda: next(counts))
    findings = run("killed_from_outside")
    assert findings.status is Status.OUT_OF_MEMORY
    assert findings.reason.startswith("killed by the kernel for want of memory, in phase loading")


def test_a_worker_that_ignores_sigterm_is_killed_after_the_grace(run):
    begin = time.monotonic()
    findings = run("ignores_sigterm", timeout_s=0.5)
    assert findings.status is Status.TIMEOUT
    assert 1.0 <= time.monotonic() - begin < 60
    assert gone(int(findings.reason.split("in phase ")[1].split(";")[0]), 1)


def test_each_stage_has_its_own_time_limit(run):
    asked = {"timeout_s": 0.4, "stage": Stage.TIME}
    assert "within 400 ms, the limit of time" in run("hangs", **asked).reason
    assert run("takes_a_second", stage=Stage.GATE, timeout_s=0.4).status is Status.OK


def test_a_log_that_floods_ends_its_worker_and_keeps_head_and_tail(run, tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "MOST", 2**20)
    begin = time.monotonic()
    findings = run("floods_without_end")
    assert time.monotonic() - begin < 60
    assert findings.status is Status.CRASHED
    told = "wrote more than 1.00 MiB to its log, in phase loading; log: logs/a.log"
    assert findings.reason == told
    text = (tmp_path / "logs" / "a.log").read_bytes()
    assert 2**20 <= len(text) < 2**20 + 100
    assert text.startswith(b"line 0\nline 1\n")
    assert re.search(rb"\n\.\.\. \d+ bytes left out \.\.\.\n", text)
    assert run("softmax").status is Status.OK


def test_of_a_long_log_the_first_and_the_last_half_are_left(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "MOST", 20)
    log = tmp_path / "a.log"
    log.write_text("0123456789" * 3)
    logs.trim(log)
    assert log.read_text() == "0123456789\n... 10 bytes left out ...\n0123456789"
    log.write_text("0123456789" * 2)
    logs.trim(log)
    assert log.read_text() == "0123456789" * 2


def test_a_worker_leads_its_own_session_so_that_ctrl_c_does_not_reach_it(run):
    facts = run("tells_environment").facts
    assert facts["session"] == facts["pid"]


def test_what_a_worker_started_ends_with_it(run):
    assert gone(run("leaves_a_child").facts["child"], 10)


@pytest.mark.parametrize("daemon", ["leaves_a_daemon", "leaves_a_daemon_and_dies"])
def test_what_a_worker_hid_from_it_ends_with_it_too(run, tmp_path, daemon):
    run(daemon)
    pid = int((tmp_path / "logs" / "a.log").read_text())
    assert gone(pid, within_s=2.0)  # killed when the job ended, and then reaped by who adopted it


def test_a_worker_of_another_device_is_no_stray(server, tmp_path):
    """What one worker left is swept away while another works: that one is left alone."""
    answers = {}

    def work(name, device, log):
        answers[name] = server.run_job(fakes_run.job(name, device=device), tmp_path / log)

    slow = threading.Thread(target=work, args=("takes_a_second", "GPU-of-a-test-3", "slow.log"))
    slow.start()
    for _ in range(3):
        work("leaves_a_daemon", "GPU-of-a-test-4", "quick.log")
    slow.join()
    assert {answer.findings.status for answer in answers.values()} == {Status.OK}


def test_two_devices_run_their_jobs_at_the_same_time(server, tmp_path):
    """Each worker waits until it sees the other's file."""

    def work(device):
        answers.append(server.run_job(fakes_run.job("meets", device=device), tmp_path / device))

    answers = []
    threads = [threading.Thread(target=work, args=(f"GPU-meets-{name}",)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.findings.status for answer in answers] == [Status.OK, Status.OK]


def test_a_wait_for_the_device_is_no_time_of_the_job(server, tmp_path):
    path = lock.path_of("GPU-of-a-test-5")
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(1.5, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        job = fakes_run.job(device="GPU-of-a-test-5", timeout_s=0.5)
        answer = server.run_job(job, tmp_path / "a.log")
    assert answer.findings.status is Status.OK
    assert answer.findings.facts["waited_s"] >= 1.0
    assert answer.seconds < 1.0


def test_of_two_runs_on_one_device_the_second_waits_and_says_for_whom(tmp_path):
    """Two processes as two people start them; the first is killed, and its lock with it."""
    body = (
        "print(server.run_job(fakes_run.job({!r}, device='GPU-of-two-runs'), Path({!r}), "
        "lambda phase: print(phase, flush=True)).findings.status)"
    )
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = script(
        tmp_path / "first", "light_preload", body.format("hangs", str(tmp_path / "1.log"))
    )
    with first:
        while "timing" not in first.stdout.readline():
            pass
        second = script(
            tmp_path / "second", "light_preload", body.format("softmax", str(tmp_path / "2.log"))
        )
        with second:
            assert second.stdout.readline() == "the script runs\n"
            said = second.stdout.readline()
            who = f"process {first.pid} (console_script)"
            assert said == f"waiting for GPU-of-two-runs, which {who} holds\n"
            assert second.poll() is None
            first.kill()
            rest, _ = second.communicate(timeout=180)
    assert rest == "loading\nok\n"


@pytest.mark.parametrize("attention", ["lingers", "lingers_and_raises"])
def test_the_device_is_held_until_the_process_has_ended(run, tmp_path, attention):
    """After its answer too: what it holds of a GPU is not free before."""
    run(attention)
    assert "process" in (tmp_path / "logs" / "a.log").read_text().splitlines()[-1]


def test_the_cpu_is_locked_as_a_gpu_is(server, tmp_path):
    with lock.take("cpu", print) as held:
        heard = []

        def hear(phase):
            heard.append(phase)
            fcntl.flock(held, fcntl.LOCK_UN)

        assert server.run_job(fakes_run.job(), tmp_path / "a.log", hear).findings.facts["waited_s"]
    assert heard[0].startswith(f"waiting for cpu, which process {os.getpid()} (")


def test_a_lock_file_that_somebody_left_behind_holds_nobody_up(server, tmp_path):
    path = lock.path_of("GPU-of-a-test-6")
    path.write_text("what an earlier run left")
    path.chmod(0o444)  # as another user's looks
    answer = server.run_job(fakes_run.job(device="GPU-of-a-test-6"), tmp_path / "a.log")
    assert answer.findings.status is Status.OK
    assert "waited_s" not in answer.findings.facts


def test_a_lock_file_can_be_waited_for_by_others_whatever_the_umask(server, tmp_path):
    before = os.umask(0o077)
    try:
        lock.take("GPU-of-a-test-7", print).close()
    finally:
        os.umask(before)
    assert lock.path_of("GPU-of-a-test-7").stat().st_mode & 0o777 == 0o644


def test_a_lock_that_cannot_be_opened_ends_the_run_with_one_line(server, tmp_path):
    path = lock.path_of("GPU-of-a-test-8")
    path.mkdir(exist_ok=True)
    with pytest.raises(UnfitError, match="no lock on the device can be taken by it: Is a dir"):
        server.run_job(fakes_run.job(device="GPU-of-a-test-8"), tmp_path / "a.log")


def test_a_fork_server_that_was_killed_costs_its_job_and_is_started_anew(server, tmp_path):
    def hear(phase):
        if phase.isdigit():
            os.kill(parent_of(int(phase)), signal.SIGKILL)

    findings = server.run_job(fakes_run.job("ignores_sigterm"), tmp_path / "a.log", hear).findings
    assert findings.status is Status.CRASHED
    assert findings.reason.startswith(
        "the fork server was killed, and its worker with it, in phase"
    )
    assert server.run_job(fakes_run.job(), tmp_path / "a.log").findings.status is Status.OK


def test_a_worker_waits_for_a_locked_gpu_and_says_who_holds_it(server, tmp_path):
    path = lock.path_of("GPU-of-a-test-2")
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        heard = []

        def hear(phase):
            heard.append(phase)
            fcntl.flock(file, fcntl.LOCK_UN)

        answer = server.run_job(fakes_run.job(device="GPU-of-a-test-2"), tmp_path / "a.log", hear)
    path.unlink()
    assert answer.findings.status is Status.OK
    assert heard[0].startswith(f"waiting for GPU-of-a-test-2, which process {os.getpid()} (")
    assert heard[0].endswith(") holds")


class TestCall:
    def test_gives_the_result(self, server):
        assert server.call("fakes_run:add", 2, 3) == 5

    def test_carries_an_error_of_ours_over_as_it_is(self, server):
        with pytest.raises(SuiteError) as caught:
            server.call("fakes_run:refuse")
        assert caught.value.problems == ("a.yaml:1:1: one", "a.yaml:2:1: two")
        assert str(caught.value) == "a.yaml:1:1: one\na.yaml:2:1: two"

    def test_says_what_another_error_was(self, server):
        with pytest.raises(DitbenchError, match="fakes_run:stumble: KeyError: 'nothing there'"):
            server.call("fakes_run:stumble")

    def test_ends_with_its_time_limit(self, server):
        with pytest.raises(DitbenchError, match="fakes_run:sleep: no answer within 300 ms"):
            server.call("fakes_run:sleep", timeout_s=0.3)

    def test_mistake_40_is_pinned_to_the_device_it_is_about(self, server):
        assert server.call("fakes_run:where")[0] == ""
        assert server.call("fakes_run:where", device="GPU-of-a-test-3")[0] == "GPU-of-a-test-3"

    def test_has_the_device_to_itself_only_if_it_asks(self, server):
        name = "GPU-of-a-test-4"
        shared = server.call("fakes_run:where", name, device=name)
        alone = server.call("fakes_run:where", name, device=name, alone=True)
        lock.path_of(name).unlink()
        assert (shared[1], alone[1]) == (False, True)

    def test_a_wait_for_the_device_is_told_and_no_time_of_its_own(self, server):
        name = "GPU-of-a-test-9"
        heard = []
        with lock.take(name, print) as held:
            threading.Timer(1.5, lambda: fcntl.flock(held, fcntl.LOCK_UN)).start()
            answer = server.call(
                "fakes_run:where", device=name, alone=True, timeout_s=0.7, hear=heard.append
            )
        assert answer[0] == name
        assert [line.partition(",")[0] for line in heard] == [f"waiting for {name}"]


# From here on each test needs a server of its own, and so a process of its own.

SCRIPT = """
import sys
print("the script runs", flush=True)
import fakes_run
from pathlib import Path
from ditbench.errors import DitbenchError
from ditbench.run.server import Server
with Server({preload!r}, "fakes_run:measure") as server:
    try:
        {body}
    except DitbenchError as error:
        print(type(error).__name__, error, flush=True)
"""


def script(tmp_path, preload, body, modules=None, **popen):
    for name, text in (modules or {}).items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    path = tmp_path / "console_script"
    path.write_text(SCRIPT.format(preload=preload, body=body))
    environment = os.environ | {"PYTHONPATH": f"{HERE}:{tmp_path}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, text=True, env=environment, **popen
    )


RUN = "print(server.run_job(fakes_run.job({!r}), Path({!r})).findings)"


def told(tmp_path, preload, modules=None, attention="softmax"):
    body = RUN.format(attention, str(tmp_path / "a.log"))
    out, _ = script(tmp_path, preload, body, modules).communicate(timeout=180)
    return out


def test_an_import_that_fails_inside_the_server_is_told_with_its_text(tmp_path):
    modules = {"broken": "from ditbench.run import guard\nguard.arm('no_such_module')"}
    out = told(tmp_path, "broken", modules)
    assert "UnfitError the fork server could not import what broken names" in out
    assert "No module named 'no_such_module'" in out


def test_a_preload_that_multiprocessing_could_not_import_is_told_with_its_text(tmp_path):
    out = told(tmp_path, "broken", {"broken": "import no_such_module"})
    assert "UnfitError the fork server has not imported broken" in out
    assert "No module named 'no_such_module'" in out


def test_a_server_with_more_than_one_thread_is_refused(tmp_path):
    threaded = """
        import threading, time
        from ditbench.run import guard
        guard.arm()
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    """
    assert "UnfitError the fork server had 2 threads" in told(
        tmp_path, "threaded", {"threaded": threaded}
    )


def test_a_server_that_has_touched_cuda_is_refused(tmp_path):
    touched = """
        import sys, types
        from ditbench.run import guard
        cuda = types.SimpleNamespace(is_initialized=lambda: {}, _is_in_bad_fork=lambda: {})
        sys.modules["torch"] = types.SimpleNamespace(cuda=cuda)
        guard.arm()
    """
    # torch calls a CUDA that was only asked uninitialised
    for answers in ((True, False), (False, True)):
        modules = {"touched": touched.format(*answers)}
        assert "UnfitError the fork server has initialised CUDA" in told(
            tmp_path, "touched", modules
        )


AS_WITH_CUDA = """
import os, torch, torch._dynamo, torch._inductor  # these need CUDA's own names once it is there
asked = []
torch._C._cuda_getDeviceCount = lambda: asked.append("CUDA") or 1
torch._C._accelerator_getAccelerator = lambda: torch.device("cuda")
torch.cuda._is_compiled = lambda: True
from ditbench.run import guard, preload
variables = [os.environ.get(name) for name in ("PYTORCH_NVML_BASED_CUDA_CHECK", "CUDA_VISIBLE_DEVICES")]
print(len(asked), repr(guard.MARK.failure), variables, torch.accelerator.is_available(), len(asked))
"""


def test_the_real_server_asks_cuda_nothing_while_it_imports(tmp_path):
    """torch for the CPU made to look like one for CUDA; what it would ask of CUDA is counted."""
    path = tmp_path / "script.py"
    path.write_text(AS_WITH_CUDA)
    variables = {"CUDA_VISIBLE_DEVICES": "GPU-1", "OMP_NUM_THREADS": "1"}
    out = subprocess.check_output(
        [sys.executable, str(path)], text=True, timeout=120, env=os.environ | variables
    )
    assert out == "0 '' [None, 'GPU-1'] True 1\n"


def test_a_child_does_not_run_the_parents_script_again(tmp_path):
    out = told(tmp_path, "light_preload", attention="softmax")
    assert out.count("the script runs") == 1
    assert "status=<Status.OK" in out


def test_a_lower_limit_from_outside_bounds_a_worker_and_is_told(tmp_path):
    """As `ulimit -d` sets it, which nobody but root may raise again."""
    body = RUN.format("takes_all_memory", str(tmp_path / "a.log"))
    limit = fakes_run.LIMIT // 2
    process = script(
        tmp_path,
        "light_preload",
        body,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
    )
    out, _ = process.communicate(timeout=180)
    assert "MemoryError (a worker may hold 512 MiB)" in out
    assert f"'memory_limit': {limit}" in out


def started(tmp_path):
    """A parent in a process of its own, with its worker's id and its server's; the worker hangs."""
    body = f"fakes_run.execute_a_hang(server, Path({str(tmp_path)!r}))"
    process = script(tmp_path, "light_preload", body)
    assert process.stdout.readline() == "the script runs\n"
    return process, *map(int, process.stdout.readline().split())


def test_a_killed_parent_takes_its_server_and_its_hanging_worker_along(tmp_path):
    process, worker, forker = started(tmp_path)
    with process:
        assert alive(worker)
        assert alive(forker)
        process.kill()
    assert gone(worker, 10)
    assert gone(forker, 10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_stop_kills_its_worker_and_says_so(tmp_path, number):
    process, worker, _ = started(tmp_path)
    with process:
        process.send_signal(number)
        out, _ = process.communicate(timeout=180)
    assert out.startswith("InterruptedRunError interrupted after 0 jobs; what has ended is saved")
    assert gone(worker, within_s=1)


def test_the_real_server_is_fit_to_fork_and_gives_torch_to_its_workers(tmp_path):
    body = "print(server.call('seen:seen'))"
    seen = """
        import sys
        def seen():
            wanted = ("torch", "diffusers.models.transformers.dit_transformer_2d", "ditbench.measure")
            return [name in sys.modules for name in wanted], "ditbench.cli" in sys.modules
    """
    out, _ = script(tmp_path, "ditbench.run.preload", body, {"seen": seen}).communicate(timeout=120)
    assert out.splitlines()[-1] == "([True, True, True], False)"


def searched(server, tmp_path, attention, timeout_s=60.0):
    """A search by real processes, all within LIMIT."""

    def trial(job):
        return server.run_job(job, tmp_path / f"{job.cell.batch_size}.log")

    asked = fakes_run.job(attention, Stage.FIT)
    timing = replace(asked.timing, timeout_s=Timeouts(fit=timeout_s))
    return fit.find(replace(asked, timing=timing), trial).findings


def test_the_largest_batch_is_what_the_memory_limit_leaves_room_for(server, tmp_path):
    """Sixteen chunks are the whole limit, and Python itself needs less than one of them."""
    found = searched(server, tmp_path, "takes_a_chunk_a_picture")
    assert found.metrics == {LARGEST_BATCH: (15.0,)}
    assert (found.facts["fails"], found.facts["wavering"]) == (16, [])
    assert found.facts["memory_limit"] == fakes_run.LIMIT
    assert [trial[:3] for trial in found.facts["trials"]][-2:] == [
        [15, "fits", 15 * fakes_run.CHUNK],
        [16, "out of memory", None],
    ]


def test_a_trial_that_hangs_ends_the_search_by_its_own_time_limit(server, tmp_path):
    found = searched(server, tmp_path, "takes_chunks_and_hangs_at_four", 2.0)
    assert found.status is Status.TIMEOUT
    assert found.reason.startswith("batch 4: no answer within 2.00 s")
    assert found.reason.endswith("; a batch of 2 fitted")


def test_a_record_tells_how_long_each_phase_took(run):
    findings = run("takes_its_time")
    assert findings.facts["phase_s"] == pytest.approx(
        {"loading": 0.0, "timing": 0.2, "judging": 0.1}, abs=0.09
    )


def test_a_worker_that_raises_tells_its_phases_too(run):
    findings = run("raises")
    assert list(findings.facts["phase_s"]) == ["loading"]
