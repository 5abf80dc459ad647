"""One sweep from start to end: its cells, its progress for people, its state on disk, its trackers."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from rich.console import Console

from carft.core.errors import UserError
from carft.store.records import Store
from carft.store.sweep_state import SweepState
from sweeps.faults.process import redirect_stdio
from sweeps.plan.planning import Plan, plan_of
from sweeps.plan.resources import Resources
from sweeps.ray_backend.driver import Summary, run_sweep
from sweeps.ray_backend.gpus import concurrency
from sweeps.ray_backend.preflight import require_space
from sweeps.recipes.recipe import Recipe
from sweeps.search.learning import require_learning
from sweeps.search.protocol import Protocol
from sweeps.status.live import LiveTrackers
from sweeps.status.progress import ProgressDisplay
from sweeps.status.writer import StatusWriter


@dataclass(frozen=True)
class SweepResult:
    """What a sweep left."""

    protocol: Protocol
    """Studies with their winners, and what failed."""
    summary: Summary
    state: SweepState | None
    """As `status` reads it; None when nothing was to do."""


def sweep(
    recipe: Recipe,
    store: Store,
    request: Resources,
    *,
    retry_failed: bool = False,
    trackers: Iterable[str] = (),
    margins: Mapping[str, float] | None = None,
    console: Console | None = None,
    announce: Callable[[Plan], None] = lambda plan: None,
) -> SweepResult:
    """Run what is missing of a recipe in a results folder. The same call goes on where it was stopped.

    retry_failed: also run cells that failed before for a reason of their own. trackers: names of
    ``sweeps.status.trackers``. margins: claim -> margin as a share of 1, for the journal. console: where progress and
    waiting are told; default: standard error. announce: gets the plan once Ray runs. Until the end all that the
    process prints goes to a log in ``sweeps/`` of the folder.

    Raises ``UserError`` when the sampler does not learn, another sweep uses the folder, the disk has too little room,
    or a node fails.
    """
    require_learning(recipe)
    console = console or Console(stderr=True, markup=False)
    aside: dict[str, str] = {}
    display, writer = ProgressDisplay(console), StatusWriter(store, recipe.name, time.time(), aside)

    def log(message: str) -> None:
        with suppress(OSError):  # standard error may be a file on a full disk
            console.print(message, soft_wrap=True, highlight=False)

    live = LiveTrackers(trackers, store, log)

    def watch(protocol: Protocol) -> Callable[[], None]:
        """Plan the sweep once Ray runs; returns the callback for every change."""
        plan = plan_of(protocol, request, concurrency(request))
        require_space(store.root, plan.bytes + plan.needs.checkpoint_bytes)
        announce(plan)
        write = writer.watch(protocol, plan)
        show = display.watch(protocol, writer.seconds_left)

        def update() -> None:
            write()
            with suppress(OSError):
                show()
            live.update(protocol)

        return update

    def leave(error: UserError, code: int) -> NoReturn:
        """End the process, whose main thread may be blocked."""
        display.close()
        writer.close("broken" if code == 2 else "stopped")
        log(str(error))
        os._exit(code)

    outcome, people = "broken", console._file
    with redirect_stdio(store.root / "sweeps" / f"{writer.name}.log") as terminal:
        console.file = terminal
        try:
            protocol, summary = run_sweep(recipe, store, request, watch, log, retry_failed, leave, aside, margins)
            outcome = "stopped" if summary.stopped else "done"
            live.update(protocol)
        finally:
            display.close()
            state = writer.close(outcome)
            live.close(stopped=outcome != "done")
            console._file = people  # None: what standard error is then
    return SweepResult(protocol, summary, state)
