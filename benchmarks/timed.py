"""An actor that notes what it spends its time on: the sweep's own, with clocks around what computes."""

from __future__ import annotations

import functools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sweeps.ray_backend.trainable import CellActor

#: names the file that every actor appends its lines to
NOTES = "CARFT_BENCHMARK_NOTES"
#: what counts as computing; "step" is forward, backward and optimiser
COMPUTE = ("step", "evaluate")
#: what a store does for a cell
RECORDS = ("write", "add_evaluation", "metrics", "read")


class Clock:
    """Wall seconds by name. A span inside another is taken off the outer one."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.inner = [0.0]

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = self.enter()
            try:
                return function(*args, **kwargs)
            finally:
                self.leave(name, started)

        return timed

    def around_each(self, name: str, function: Callable[..., Iterator]) -> Callable[..., Iterator]:
        """The same for a generator: what waiting for each of its items takes."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Iterator:
            items = function(*args, **kwargs)
            while True:
                started = self.enter()
                try:
                    item = next(items)
                except StopIteration:
                    return
                finally:
                    self.leave(name, started)
                yield item

        return timed

    def enter(self) -> float:
        self.inner.append(0.0)
        return time.perf_counter()

    def leave(self, name: str, started: float) -> None:
        taken = time.perf_counter() - started
        self.spent[name] += taken - self.inner.pop()
        self.inner[-1] += taken


@contextmanager
def clocks() -> Iterator[Clock]:
    """Clocks around training steps, evaluation, data, records and the opening of tasks, in this process."""
    import carft.data.views
    import carft.posthoc.wise_ft
    import carft.training.loop
    from carft.store.records import Store
    from carft.training.context import CellContext

    clock = Clock()
    around = (
        (carft.training.loop.Trainer, "update", clock.around("step", carft.training.loop.Trainer.update)),
        (carft.data.views, "batches", clock.around_each("data", carft.data.views.batches)),
        (CellContext, "predict_each", clock.around("evaluate", CellContext.predict_each)),
        (CellContext, "of", staticmethod(clock.around("open", CellContext.of))),
        (CellContext, "sealed", clock.around("open", CellContext.sealed)),
        (CellContext, "network", clock.around("network", CellContext.network)),
        *((Store, name, clock.around("records", getattr(Store, name))) for name in RECORDS),
    )
    with ExitStack() as stack:
        for owner, name, timed in around:
            stack.enter_context(patch.object(owner, name, timed))
        yield clock


class TimedActor(CellActor):
    """Appends a line per job: kind, start, end, CPU seconds, and wall seconds by what they were spent on."""

    def step(self) -> dict[str, Any]:
        began, worked = time.time(), time.process_time()
        with clocks() as clock:
            result = super().step()
        line = {
            "kind": self.message.job.kind,
            "task": self.message.job.cell.task,
            "method": self.message.job.cell.method,
            "began": began,
            "ended": time.time(),
            "cpu": time.process_time() - worked,
            "spent": dict(clock.spent),
        }
        with Path(os.environ[NOTES]).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        return result
