"""A job in a thread, which waits after each validated epoch until it is told to go on, or is pruned."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from carft.core.heartbeat import beating
from carft.training import preemption
from carft.training.preemption import Pruned, never, preemption_noted, told_after_epochs

#: key of a result that is no end: val/top1 after each epoch so far
EPOCH_VALUES = "validated"


class EpochSteps:
    """Runs a job up to its next validated epoch, or to its end. One thread runs at a time.

    run: the job; gets whether the process was told to end, and returns the job's result.
    """

    def __init__(self, run: Callable[[Callable[[], bool]], dict[str, Any]]) -> None:
        self._run = run
        self._said: SimpleQueue[list[float] | dict[str, Any] | BaseException] = SimpleQueue()
        self._goes_on: SimpleQueue[bool] = SimpleQueue()
        self._must_end: Callable[[], bool] = never
        self._thread = Thread(target=self._work, daemon=True)

    def step(self) -> list[float] | dict[str, Any]:
        """Go on; returns val/top1 after each epoch so far, or the result of the job. Raises what the job raises."""
        with preemption_noted() as self._must_end:
            if self._thread.ident is None:
                self._thread.start()
            else:
                self._goes_on.put(True)
            said = self._said.get()
        if isinstance(said, BaseException):
            raise said
        return said

    def close(self) -> None:
        """End a job that waits: its training is pruned, and what it holds is released."""
        self._goes_on.put(False)
        self._thread.join()

    def _work(self) -> None:
        try:
            with told_after_epochs(self._ask):
                said: dict[str, Any] | BaseException = self._run(lambda: self._must_end())
        except BaseException as error:  # also the end of the process after a checkpoint
            said = error
        self._said.put(said)

    def _ask(self, values: Sequence[float]) -> None:
        self._said.put(list(values))
        with beating(math.inf):  # the driver may wait for a disk
            goes_on = self._answer()
        if not goes_on:
            print(f"pruned after epoch {len(values)}", flush=True)
            raise Pruned

    def _answer(self) -> bool:
        """Whether the job goes on. A sweep that ends tells it no more: it then goes on to a checkpoint."""
        while True:
            with suppress(Empty):
                return self._goes_on.get(timeout=preemption.ASK_S)
            if preemption.is_ending():
                return True
