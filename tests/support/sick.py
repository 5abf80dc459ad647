"""GPUs that fail, for the workers of a sweep of dry cells that a test starts on GPUs that Ray was only told of.

``RAY_RUNTIME_ENV_HOOK=tests.support.sick.runtime_env`` makes Ray call :func:`install` in every worker. ``CARFT_SICK``
is JSON, number of a GPU -> ``job`` (every job on it ends with CUDA's own error) or ``probe`` (it computes nothing).
Jobs on other GPUs wait until each of these has failed as often as sets it aside, so that nothing rests on time.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from carft.core.errors import DeviceFailed
from carft.training.execution import Execution
from sweeps.ray_backend.gpus import MAX_FAILURES
from tests.support import dry

VARIABLE, MARKS = "CARFT_SICK", "CARFT_SICK_MARKS"
#: how often a GPU fails until it is set aside
OFTEN = {"job": MAX_FAILURES, "probe": 1}
#: what torch raises, with its own advice after the first line
SAID = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported"


def environment(sick: dict[str, str], marks: Path) -> dict[str, str]:
    """What the environment of a sweep needs for these GPUs. marks: a new folder, for a file for each failure."""
    marks.mkdir()
    hook = "tests.support.sick.runtime_env"
    return {"RAY_RUNTIME_ENV_HOOK": hook, VARIABLE: json.dumps(sick), MARKS: str(marks)}


def runtime_env(asked: dict[str, Any] | None) -> dict[str, Any]:
    """Ray's hook. Workers of a cluster do not inherit the environment of the sweep."""
    given = asked or {}
    variables = {**given.get("env_vars", {}), **{name: os.environ[name] for name in (VARIABLE, MARKS)}}
    return {**given, "worker_process_setup_hook": "tests.support.sick.install", "env_vars": variables}


def install() -> None:
    """As ``dry.install``, but GPUs fail."""
    dry.install()
    import carft.training.device
    import sweeps.ray_backend.jobs

    sick: dict[str, str] = json.loads(os.environ[VARIABLE])
    marks, run = Path(os.environ[MARKS]), sweeps.ray_backend.jobs.compute_job
    sweeps.ray_backend.jobs.Payload.on_one_worker = lambda message: Execution()

    def fails(how: str) -> bool:
        if sick.get(os.environ.get("CUDA_VISIBLE_DEVICES", "")) != how:
            return False
        (marks / f"{how}-{time.monotonic_ns()}").touch()
        return True

    def run_on_gpu(*job: Any) -> None:
        if fails("job"):
            raise RuntimeError(SAID)
        while len(list(marks.iterdir())) < sum(OFTEN[how] for how in sick.values()):
            time.sleep(0.05)
        run(*job)

    def probe(device: str, gpu: str) -> None:
        if fails("probe"):
            raise DeviceFailed("a small product could not be computed", gpu)

    sweeps.ray_backend.jobs.compute_job = run_on_gpu
    carft.training.device.probe_gpu = probe
