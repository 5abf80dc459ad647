"""At SIGTERM the cells that train write checkpoints before their driver ends, whatever machine they are on."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import ray

from carft.store.records import Store
from carft.training.preemption import ending_when, never
from sweeps.ray_backend.connect import probe_head

#: seconds that cells have to write their checkpoints, of the thirty that schedulers give by default
GRACE_S = 20.0
#: seconds between two questions to the actor
LOOK_S = 0.2
#: name of the actor; Ray keeps the names of one driver apart from those of another
NAME = "carft-stop"


class Stop:
    """An actor that tells the processes of a driver, by being there, that it ends, and gets the cells that ended."""

    def __init__(self) -> None:
        self.cells: set[str] = set()

    def note(self, cell: str) -> None:
        """Note a cell whose training ended, with its checkpoint written."""
        self.cells.add(cell)

    def ended(self) -> set[str]:
        """The cells that were noted."""
        return self.cells


def is_stopping() -> bool:
    """Whether the driver of this process ends."""
    try:
        ray.get_actor(NAME)
    except Exception:  # there is none, or Ray does not answer
        return False
    return True


@contextmanager
def ending_with_driver(cell: str, told: Callable[[], bool] = never) -> Iterator[None]:
    """Within the block the training of a cell ends after a checkpoint once the driver ends, which is then told.

    told: whether it must end for another reason.
    """
    with ending_when(lambda: told() or is_stopping()):
        try:
            yield
        except SystemExit:
            with suppress(Exception):  # the process ends in any case
                ray.get(ray.get_actor(NAME).note.remote(cell), timeout=GRACE_S)
            raise


def let_checkpoint(cells: Iterable[str], store: Store) -> None:
    """Tell the cells that train to write a checkpoint and end; return when all have, or are finished.

    cells: ids of those to wait for, :data:`GRACE_S` seconds at most.
    """
    waiting = set(cells)
    if not waiting or not ray.is_initialized():  # Ray would start itself for the actor
        return
    end = time.monotonic() + GRACE_S
    with suppress(Exception):  # a Ray that has died has no cells
        # where it does not answer, the start of the actor would block until Ray ends this process
        probe_head(ray.get_runtime_context().gcs_address)
        stop: Any = cast(Any, ray.remote(num_cpus=0)(Stop)).options(name=NAME).remote()
        while waiting and (left := end - time.monotonic()) > 0:
            waiting -= ray.get(stop.ended.remote(), timeout=left)
            waiting = {cell for cell in waiting if not store.is_done(cell)}
            time.sleep(LOOK_S)
