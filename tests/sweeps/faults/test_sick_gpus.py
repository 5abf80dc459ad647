"""GPUs that fail in the middle of a sweep, on GPUs that Ray was only told of."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
import ray

from carft.store.records import Store
from carft.store.sweep_state import read_states
from sweeps.ray_backend.gpus import GpuHealth
from tests.support.faults import Sweep, records
from tests.support.helpers import TASK, run_cli
from tests.support.nodes import Nodes
from tests.support.sick import environment

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.ray]

ASKED = ("miniature", "--tasks", TASK, "--methods", "zeroshot,ft", "--trials", 6, "--seeds", 3)
#: zero-shot, six trials and three confirm cells
CELLS = 10


def name(number: int) -> str:
    return f"GPU {number} of {socket.gethostname()}"


def swept(nodes: Nodes, results: Path, gpus: int, sick: dict[str, str], *more: str) -> Sweep:
    marks = results.with_name(f"marks-{len(list(results.parent.glob('marks-*')))}")
    options = ("--gpus", gpus, "--address", nodes.cluster.address, *more)
    sweep = Sweep(results, *ASKED, *options, env=environment(sick, marks))
    sweep.end()
    return sweep


def attempts(log: Path) -> list[tuple[str, str]]:
    """(process, GPU) of every attempt of a job."""
    return re.findall(r"process (\d+) \[job [^]]*\]\nGPU of the job: (.+)", log.read_text())


def test_a_sweep_goes_on_without_its_sick_gpus_and_names_them(nodes: Nodes, tmp_path: Path) -> None:
    results = tmp_path / "results"
    nodes.add(cpus=4, gpus=3)
    sweep = swept(nodes, results, 3, {"0": "probe", "1": "job"}, "--json")
    assert sweep.process.returncode == 0, sweep.said
    said = sweep.answer
    assert (said["cells_done"], said["failed"], set(said["gpus_set_aside"])) == (CELLS, {}, {name(0), name(1)})
    assert "illegal memory access" in said["gpus_set_aside"][name(1)]
    assert len(records(results)) == CELLS and not Store(results).failed()
    tried = {log.stem: attempts(log) for log in results.glob("logs/*.log")}
    assert {its[-1][1] for its in tried.values()} == {name(2)}
    failed_on = [process for its in tried.values() for process, gpu in its if gpu == name(1)]
    assert len(failed_on) == len(set(failed_on)) == 2  # a process of its own for each failure, then none
    (state,) = read_states(Store(results))
    assert set(state.gpus_set_aside) == {name(0), name(1)}
    assert f" {name(1)} " in run_cli("status", "--results", results).stdout


def test_a_chosen_gpu_is_taken_out_of_rays_hands_and_no_other(nodes: Nodes) -> None:
    nodes.add(cpus=1, gpus=3)
    ray.init(nodes.cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        gpus = GpuHealth()
        assert gpus.hold(name(1)) and not gpus.hold("GPU 7 of nowhere")
        free = ray.remote(num_cpus=0, num_gpus=2)(lambda: sorted(ray.get_gpu_ids()))
        assert list(map(int, ray.get(free.remote(), timeout=120))) == [0, 2]
    finally:
        ray.shutdown()
