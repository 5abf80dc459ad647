"""When a GPU is set aside, and what becomes of its jobs. Without Ray and without a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from carft.core.errors import DeviceFailed, UserError
from carft.store.records import Store
from carft.training.device import CUBLAS_WORKSPACE, gpu_name, probe_gpu
from carft.training.execution import Execution
from sweeps.faults import watchdog
from sweeps.faults.process import StopSignal
from sweeps.faults.storage import StorageRetry
from sweeps.plan.resources import Resources
from sweeps.ray_backend.connect import require_resources
from sweeps.ray_backend.gpus import GpuHealth
from sweeps.ray_backend.jobs import Payload
from sweeps.ray_backend.searcher import ProtocolSearcher
from sweeps.recipes.loading import load_recipe
from sweeps.search.protocol import Protocol
from tests.support.helpers import TASK, environment

A, B, C = "GPU-a", "GPU-b", "GPU-c"


def failed(gpus: GpuHealth, gpu: str, job: str, reason: str = "why") -> None:
    gpus.ended(gpu, job, "device", reason)


def test_a_gpu_is_set_aside_after_two_failures_in_a_row() -> None:
    gpus = GpuHealth()
    failed(gpus, A, "first")
    gpus.ended(A, "another", "", "")
    failed(gpus, A, "second")
    gpus.ended(A, "third", "error", "of its own")
    assert not gpus.aside
    failed(gpus, A, "second", "why again")
    assert gpus.aside == {A: "why again"}


def test_a_job_that_fails_everywhere_costs_one_gpu_at_most() -> None:
    gpus = GpuHealth()
    for gpu in (A, A, B, B, C, C):
        failed(gpus, gpu, "faulty")
    assert set(gpus.aside) == {A}
    failed(gpus, B, "other")
    assert set(gpus.aside) == {A}
    failed(gpus, B, "another")
    assert set(gpus.aside) == {A, B}


def test_a_gpu_that_does_not_compute_in_a_new_process_is_set_aside_at_once() -> None:
    gpus = GpuHealth({B: "before"})
    gpus.held(A, "a small product is wrong")
    gpus.held(B, "later")
    assert gpus.aside == {A: "a small product is wrong", B: "before"}
    message = gpus.none_left().message
    assert A in message and B in message and "before" in message


def test_the_probe_does_nothing_on_a_cpu_and_names_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    probe_gpu("cpu", A)
    monkeypatch.setenv(CUBLAS_WORKSPACE, ":4096:8")
    monkeypatch.setattr("torch.ones", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("CUDA error: lost\nmore")))
    with pytest.raises(DeviceFailed, match=f"{A}: .*CUDA error: lost$"):
        probe_gpu("cuda", A)


def test_a_gpu_is_named_by_its_uuid_where_the_driver_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '0, GPU-zero\\n3, GPU-three\\n'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-given,7")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert [gpu_name(0), gpu_name(1)] == ["GPU-three", "GPU-given"]
    assert gpu_name(2).startswith("GPU 7 of ")


def test_gpus_that_torch_does_not_see_are_told_from_gpus_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(UserError, match="lists 0 GPUs, and torch sees 0"):
        require_resources(Resources(gpus=4))
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '470.57.02\\n470.57.02\\n'\n")
    smi.chmod(0o755)
    with pytest.raises(UserError, match=r"lists 2 GPUs, and torch sees 0 .* driver is 470\.57\.02") as refused:
        require_resources(Resources(gpus=2))
    assert torch.__version__ in refused.value.message


@pytest.mark.parametrize(("by_job", "kind"), [(True, "device"), (False, "lost")])
def test_a_process_that_ends_for_its_gpu_says_so_in_the_log(tmp_path: Path, by_job: bool, kind: str) -> None:
    log = watchdog.log_path(tmp_path, "search-1")
    code = (
        "import sys; from pathlib import Path; from sweeps.faults.watchdog import *\n"
        f"begin_job_log(sys.argv[1], 'search-1', 's', '{A}')\n"
        f"end_process(log_path(sys.argv[1], 'search-1'), 'CUDA error:\\n illegal', {by_job})"
    )
    (tmp_path / "logs").mkdir()
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment())
    assert ended.returncode == 1
    found, reason = watchdog.how_it_ended(log)
    assert found == kind and reason.endswith("CUDA error: illegal") and watchdog.gpu_of(log) == A


def test_a_job_that_printed_much_before_it_hung_is_one_that_hung(tmp_path: Path) -> None:
    log = tmp_path / "log"
    begin = f"now process 1 [job s]\nGPU of the job: {A}\n"
    stack = "Timeout (0:30:00)!\nThread 0x1 (most recent call first):\n"
    log.write_text(begin.replace(A, B) + begin + "a line of output\n" * watchdog.SEARCHED + stack)
    assert watchdog.how_it_ended(log)[0] == "hang" and watchdog.gpu_of(log) == A


def test_a_crash_after_an_error_of_cuda_is_one_of_the_device(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "now process 1 [job s]\nwhat():  CUDA error: unspecified launch failure\nFatal Python error: Aborted\n"
    )
    assert watchdog.how_it_ended(log)[0] == "device"
    log.write_text("now process 1 [job s]\nFatal Python error: Aborted\n")
    assert watchdog.how_it_ended(log)[0] == "crash"


class Sweep:
    """A searcher on pretended GPUs, whose trials a test starts and ends."""

    def __init__(self, root: Path, gpus: int) -> None:
        recipe = load_recipe("miniature").smoked().changed([TASK], ["ft"], 4, 1)
        self.protocol, self.said = Protocol(recipe, Store(root)), list[str]()
        self.gpus, retry = GpuHealth(log=self.said.append), StorageRetry(self.protocol.store, self.said.append)
        request, stop = Resources(gpus, Execution("cuda")), StopSignal()
        self.searcher = ProtocolSearcher(self.protocol, request, retry, lambda: None, self.gpus, stop)
        self.searcher.slots = lambda: gpus - len(self.gpus.aside)  # type: ignore[method-assign]

    def start(self, trial: str) -> Payload:
        return self.searcher.suggest(trial)["job"]


def held(gpu: str, broken: str = "") -> dict[str, Any]:
    return {"failure": "", "holds": gpu, "broken": broken, "done": False}


def test_a_job_is_taken_back_from_an_actor_that_holds_its_gpu_and_goes_elsewhere(store: Store) -> None:
    sweep = Sweep(store.root, gpus=2)
    first = sweep.start("one")
    assert first.aside == frozenset()
    sweep.searcher.on_trial_result("one", held(A, "it computes nothing"))
    assert A in sweep.said[0] and "it computes nothing" in sweep.said[0]
    again = sweep.start("two")
    assert (again.job.key, again.aside) == (first.job.key, {A})
    assert sweep.searcher.suggest("three") is None  # one GPU is left, and it is taken
    sweep.searcher.on_trial_result("one", held(A))
    assert len(sweep.said) == 1 and not sweep.searcher.is_over()
    assert not sweep.searcher.attempts


def test_a_job_fails_for_good_after_three_attempts_on_gpus(store: Store) -> None:
    sweep = Sweep(store.root, gpus=4)
    keys = []
    for number, gpu in enumerate((A, A, B)):
        keys.append(sweep.start(str(number)).job.key)
        result = {"failure": "CUDA error: why", "kind": "device", "gpu": gpu}
        sweep.searcher.on_trial_complete(str(number), result)
    assert len(set(keys)) == 1 and sweep.protocol.failed == {keys[0]: "CUDA error: why"}
    assert set(sweep.gpus.aside) == {A}


def test_a_sweep_without_gpus_ends_in_words(store: Store) -> None:
    sweep = Sweep(store.root, gpus=1)
    sweep.start("one")
    sweep.searcher.on_trial_result("one", held(A, "it computes nothing"))
    with pytest.raises(UserError, match="Too few GPUs work for one more cell; set aside: GPU-a"):
        sweep.searcher.suggest("two")
    assert sweep.searcher.is_over()
