"""At SIGTERM the cells that train write checkpoints before their driver ends, whatever machine they are on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import ray

from carft.store.records import Store
from carft.training.preemption import GRACE_S
from sweeps.ray_backend.connect import probe

#: seconds between two looks at the checkpoints
LOOK_S = 0.2
#: name of the actor; Ray keeps the names of one driver apart from those of another
NAME = "carft-stop"


class Stop:
    """An actor that does nothing: that there is one tells the processes of a driver that it ends."""


def is_stopping() -> bool:
    """Whether the driver of this process ends."""
    try:
        ray.get_actor(NAME)
    except Exception:  # there is none, or Ray does not answer
        return False
    return True


def let_checkpoint(cells: Iterable[str], store: Store) -> None:
    """Tell the cells that train to write a checkpoint and end; return when all have, or are finished.

    cells: ids of those to wait for, :data:`GRACE_S` seconds at most. What cells write on another machine is seen in a
    shared results folder only.
    """
    waiting = {cell: _changed(store.checkpoint_path(cell)) for cell in cells}
    if not waiting or not ray.is_initialized():  # Ray would start itself for the actor
        return
    end = time.monotonic() + GRACE_S
    with suppress(Exception):  # a Ray that has died has no cells
        # where it does not answer, the start of the actor would block until Ray ends this process
        probe(ray.get_runtime_context().gcs_address)
        stop = ray.remote(num_cpus=0)(Stop).options(name=NAME).remote()  # noqa: F841  (it lives as long as its handle)
        while waiting and time.monotonic() < end:
            time.sleep(LOOK_S)
            waiting = {
                cell: before
                for cell, before in waiting.items()
                if _changed(store.checkpoint_path(cell)) == before and not store.is_done(cell)
            }


def _changed(path: Path) -> float:
    """When a file was written last, in seconds of the epoch; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
