"""Faults for the worker processes of a sweep that a test starts: what breaks is real, only its time is chosen.

``RAY_RUNTIME_ENV_HOOK=tests.support.breaking.runtime_env`` makes Ray call :func:`install` in every worker;
``CARFT_FAULTS`` is JSON, cell -> the name of a function below.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from carft.config.cell import Cell
from carft.core import heartbeat as life
from tests.support.drawn import share_drawings

Compute = Callable[..., Any]


def environment(faults: dict[str, str]) -> dict[str, str]:
    """What the environment of a sweep needs for these faults."""
    return {"RAY_RUNTIME_ENV_HOOK": "tests.support.breaking.runtime_env", "CARFT_FAULTS": json.dumps(faults)}


def runtime_env(asked: dict[str, Any] | None) -> dict[str, Any]:
    """Ray's hook."""
    return {**(asked or {}), "worker_process_setup_hook": "tests.support.breaking.install"}


def install() -> None:
    """Have the cells of ``CARFT_FAULTS`` break when they are computed in this process."""
    import carft.training.run

    share_drawings()
    faults: dict[str, str] = json.loads(os.environ["CARFT_FAULTS"])
    compute: Compute = carft.training.run.compute

    def faulty(cell: Cell, bench: Any, *rest: Any) -> Any:
        if cell.id in faults:
            return globals()[faults[cell.id]](compute, cell, bench, *rest)
        return compute(cell, bench, *rest)

    carft.training.run.compute = faulty


def diverge(compute: Compute, cell: Cell, bench: Any, *rest: Any) -> Any:
    """A learning rate that no training survives."""
    return compute(replace(cell, hyperparameters={**cell.hyperparameters, "lr": 1e38}), bench, *rest)


def crash(compute: Compute, cell: Cell, bench: Any, *rest: Any) -> Any:
    """Native code reads where nothing is."""
    print("about to crash", flush=True)
    return ctypes.string_at(0)


def hang(compute: Compute, cell: Cell, bench: Any, *rest: Any) -> Any:
    """Nothing moves any more, and this process alone is ended after a second: a cell that is only slow is not."""
    watchdog: Any = life._listener.get()
    print(f"about to hang, watched for {watchdog.period:g} s", flush=True)
    watchdog.period, watchdog.last = 1, 0
    watchdog()
    while True:
        time.sleep(60)


def kill(compute: Compute, cell: Cell, bench: Any, *rest: Any) -> Any:
    """Somebody kills the process."""
    os.kill(os.getpid(), signal.SIGKILL)


def memory_for_parts(compute: Compute, cell: Cell, bench: Any, *rest: Any) -> Any:
    """Memory for a batch in parts, but not for a whole one."""
    return no_memory(compute, cell, bench, *rest) if bench.execution.accumulation == 1 else compute(cell, bench, *rest)


def no_memory(compute: Compute, cell: Cell, bench: Any, *rest: Any) -> Any:
    """More memory than there is: torch's own error."""
    import torch

    return torch.empty(2**60)
