"""Batches of image files from processes, by torch's DataLoader.

Decoding in threads shares Python's lock with the thread that starts the kernels of a GPU, and holds it up.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from carft.core.errors import UserError
from carft.data import views
from carft.data.decoding import decoders, set_decoders
from carft.data.image_files import Files

#: what DataLoader says of a process that ended or was killed, and of memory that it shares with this one
LOST = ("DataLoader worker (pid", "Pin memory thread exited", "shared memory", "Too many open files")


class Batches(Dataset[torch.Tensor | UserError]):
    """An array of rows -> the views (B, 3, side, side) uint8 of these files, or why one of them cannot be read."""

    def __init__(self, files: Files, view: views.View) -> None:
        self.files, self.view = files, view

    def __getitem__(self, rows: np.ndarray) -> torch.Tensor | UserError:
        try:
            return next(views.read_ahead(self.files, [rows], self.view, pinned=False))
        except UserError as error:
            return error  # raised here, it would lose what to do


def from_processes(
    files: Files, plan: Sequence[np.ndarray], view: views.View, pinned: bool, processes: int
) -> Iterator[torch.Tensor]:
    """Yield what :func:`carft.data.views.read_ahead` yields, made by processes that share the decoding threads.

    Where they are lost, to a kill or a full shared memory, threads of this process make the batches that are left.
    """
    made = 0
    for batch in _delivered(files, plan, view, pinned, processes):
        if isinstance(batch, UserError):
            raise batch
        yield batch
        made += 1
    yield from views.read_ahead(files, plan[made:], view, pinned)


def _delivered(
    files: Files, plan: Sequence[np.ndarray], view: views.View, pinned: bool, processes: int
) -> Iterator[torch.Tensor | UserError]:
    """Yield one batch after the other until all are made or the processes are lost."""
    context = multiprocessing.get_context("forkserver")  # a fork of this process would hold its GPU and its threads
    context.set_forkserver_preload([__name__])
    loader = DataLoader(
        Batches(files, view),
        batch_size=None,
        sampler=plan,
        num_workers=processes,
        pin_memory=pinned,
        multiprocessing_context=context,
        worker_init_fn=partial(_begin, max(1, decoders() // processes)),
        generator=torch.Generator(),  # else it would draw from that of the process
    )
    try:
        with _without_main():
            made = iter(loader)
    except (OSError, EOFError):  # none could be started
        return
    while True:
        try:
            batch = next(made)
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError) as error:
            del made  # its processes would stay as long as somebody keeps the error
            if _is_loss(error):
                return
            raise error.with_traceback(None) from None
        yield batch


def _is_loss(error: Exception) -> bool:
    """Return whether an error of a DataLoader says that its processes are gone, and not that their work failed.

    What is raised in a process is raised here again, with "Caught" before its words.
    """
    says = str(error).partition("\n")[0]
    if says.startswith("Caught "):
        return False
    return not isinstance(error, RuntimeError) or any(words in says for words in LOST)


def _begin(threads: int, number: int) -> None:
    """Set up a process; it stays at SIGTERM, since its training takes one more step before it ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_decoders(threads)


def _end_with_parent() -> None:
    """End this process when the training is gone. DataLoader looks at the server of forks, which this one keeps."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _without_main() -> Iterator[None]:
    """Within the block new processes do not import the program that runs here, which might begin anew in them."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
