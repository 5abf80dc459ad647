"""Run a recipe on Ray: one Tuner, one queue, all tasks."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from carft.core.errors import UserError
from carft.store.failures import settled_failures
from carft.store.records import Store
from sweeps.faults.lock import NAME as SWEPT
from sweeps.faults.lock import sweep_lock
from sweeps.faults.restart import MOST, Again, Earlier, end_children
from sweeps.faults.signals import StopSignal, sigterm_as_interrupt
from sweeps.faults.storage_retry import StorageRetry
from sweeps.ray_backend.connect import COORDINATOR, Resources, concurrency, connect
from sweeps.ray_backend.head_monitor import ExitProcess, Gone, exit_process, monitor_head
from sweeps.ray_backend.preflight import require_possible
from sweeps.ray_backend.ray_monitor import KEPT, watched_ray
from sweeps.recipes import Recipe
from sweeps.search.protocol import Protocol
from sweeps.status.writer import cells_of


@dataclass(frozen=True)
class Summary:
    """What a sweep came to. cells_stopped: given up early, now or before. stopped: the number of the signal that
    stopped the sweep, 0 for none."""

    cells_done: int
    cells_failed: int
    cells_reused: int
    cells_stopped: int
    wall_s: float
    stopped: int = 0


def run_sweep(
    recipe: Recipe,
    store: Store,
    request: Resources,
    watch: Callable[[Protocol], Callable[[], None]],
    say: Callable[[str], None],
    retry_failed: bool = False,
    leave: ExitProcess = exit_process,
    earlier: Earlier | None = None,
    again: Again | None = None,
) -> tuple[Protocol, Summary]:
    """Run what the records say is missing. Ctrl-C and SIGTERM stop cleanly; the same call goes on where it stopped.

    watch: given the protocol, returns what to call after every change. say: told when the sweep has to wait for its
    results folder. retry_failed: also run what failed for a reason of its own; cells that were lost with their machine
    are always run again. leave: how to end the process when Ray is gone, whose calls may never return. earlier: what
    this sweep did before Ray was started again; again: how to start again, see ``sweeps.faults.restart``; None: never.
    ``UserError`` when another sweep works in the folder, or the folder goes away for good.
    """
    store.require_writable()
    store = store.with_sentinel(SWEPT)
    earlier = earlier or Earlier()
    with sweep_lock(store, earlier.lock) as lock, sigterm_as_interrupt() as stop, stop.heard():
        failed = {} if retry_failed else settled_failures(store)
        protocol = Protocol(recipe, store, failed_before={**failed, **earlier.failed}, own=earlier.done)

        def gone(refusal: UserError) -> None:
            """Ray can run nothing any more; called in a thread."""
            own = request.address is None
            if own:
                end_children()
            if number := stop.asked():
                leave(UserError("Stopped.", KEPT), 128 + number)
            if own and again is not None and earlier.times < MOST:
                say(f"{refusal.message} Ray starts again, {earlier.times + 1} of {MOST} times at most.")
                with contextlib.suppress(OSError):
                    again(earlier.with_progress(protocol, lock))
            leave(refusal, 2)

        with monitor_head(request.address, gone):
            return _run(protocol, request, watch, StorageRetry(store, say), stop, earlier, gone)


def _run(
    protocol: Protocol,
    request: Resources,
    watch: Callable[[Protocol], Callable[[], None]],
    patience: StorageRetry,
    stop: StopSignal,
    earlier: Earlier,
    gone: Gone,
) -> tuple[Protocol, Summary]:
    nothing_to_do = patience.call(protocol.finished)
    if not nothing_to_do:
        require_possible(protocol.recipe, request)
    patience.call(protocol.write_studies)
    stopped = 0
    if not nothing_to_do:
        try:
            with stop.while_ray_starts():
                connect(request)
                notify = watch(protocol)
            with watched_ray(request, gone):
                _tune(protocol, request, patience, notify, earlier.name)
            patience.call(protocol.write_studies)
        except KeyboardInterrupt:
            stopped = stop.signal
            with contextlib.suppress(OSError):  # whoever stops does not wait for a folder
                protocol.write_studies()
        finally:
            _shut_down()
    failed = sum(map(cells_of, protocol.failed))
    done = len(protocol.done) - len(protocol.reused)
    given_up, wall_s = len(protocol.stopped), round(time.monotonic() - earlier.clock, 2)
    summary = Summary(done, failed, len(protocol.reused), given_up, wall_s, stopped)
    return protocol, summary


def _tune(
    protocol: Protocol, request: Resources, patience: StorageRetry, notify: Callable[[], None], name: str
) -> None:
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
    from ray import tune

    from sweeps.ray_backend.scheduler import ACTORS_STARTING, ParallelStartScheduler
    from sweeps.ray_backend.searcher import ProtocolSearcher
    from sweeps.ray_backend.trainable import CellActor

    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(ACTORS_STARTING))
    for name in ("ray.tune", "ray.train", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # a worker that is lost is no error of Tune's, and worth no traceback: the searcher says what happens next
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)
    results, slots = protocol.store.address, lambda: concurrency(request)
    searcher = ProtocolSearcher(protocol, results, request, patience, slots, notify, name)
    resources = request.alone if request.workers_per_cell == 1 else dict(COORDINATOR)
    with tempfile.TemporaryDirectory(prefix="carft-tune-", ignore_cleanup_errors=True) as scratch:
        tuner = tune.Tuner(
            tune.with_resources(CellActor, resources),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=ParallelStartScheduler(),
                num_samples=-1,
                reuse_actors=True,
                metric="failure",
                mode="max",
            ),
            run_config=tune.RunConfig(
                name=f"sweep-{os.getpid()}",
                storage_path=scratch,
                verbose=0,
            ),
        )
        tuner.fit()


def _shut_down() -> None:
    import ray

    with contextlib.suppress(KeyboardInterrupt):
        ray.shutdown()
