"""Run a recipe on Ray: one Tuner, one queue, all tasks."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from carft.store.failures import settled_failures
from carft.store.records import Store
from sweeps.faults.lock import NAME as SWEPT
from sweeps.faults.lock import sweep_lock
from sweeps.faults.signals import StopSignal, sigterm_as_interrupt
from sweeps.faults.storage_retry import StorageRetry
from sweeps.ray_backend.connect import TOKEN_CPU, Resources, concurrency, connect
from sweeps.ray_backend.head_monitor import ExitProcess, exit_process, monitor_head
from sweeps.ray_backend.preflight import require_possible
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
) -> tuple[Protocol, Summary]:
    """Run what the records say is missing. Ctrl-C and SIGTERM stop cleanly; the same call goes on where it stopped.

    watch: given the protocol, returns what to call after every change. say: told when the sweep has to wait for its
    results folder. retry_failed: also run what failed for a reason of its own; cells that were lost with their machine
    are always run again. leave: ends the process when the cluster's head is gone (``head_monitor``).
    ``UserError`` when another sweep works in the folder, or the folder goes away for good.
    """
    store.require_writable()
    store = store.with_sentinel(SWEPT)
    with sweep_lock(store), sigterm_as_interrupt() as stop, monitor_head(request.address, leave):
        return _run(recipe, store, request, watch, StorageRetry(store, say), stop, retry_failed)


def _run(
    recipe: Recipe,
    store: Store,
    request: Resources,
    watch: Callable[[Protocol], Callable[[], None]],
    patience: StorageRetry,
    stop: StopSignal,
    retry_failed: bool,
) -> tuple[Protocol, Summary]:
    started = time.monotonic()
    protocol = Protocol(recipe, store, failed_before={} if retry_failed else settled_failures(store))
    nothing_to_do = patience.call(protocol.finished)
    if not nothing_to_do:
        require_possible(recipe, request)
    patience.call(protocol.write_studies)
    stopped = 0
    if not nothing_to_do:
        try:
            with stop.while_ray_starts():
                connect(request)
                notify = watch(protocol)
            _tune(protocol, store, request, patience, notify)
            patience.call(protocol.write_studies)
        except KeyboardInterrupt:
            stopped = stop.signal
            with contextlib.suppress(OSError):  # whoever stops does not wait for a folder
                protocol.write_studies()
        finally:
            _shut_down()
    failed = sum(map(cells_of, protocol.failed))
    done = len(protocol.done) - len(protocol.reused)
    given_up, wall_s = len(protocol.stopped), round(time.monotonic() - started, 2)
    summary = Summary(done, failed, len(protocol.reused), given_up, wall_s, stopped)
    return protocol, summary


def _tune(
    protocol: Protocol, store: Store, request: Resources, patience: StorageRetry, notify: Callable[[], None]
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
    placement = request.placement
    searcher = ProtocolSearcher(protocol, store.address, placement, patience, lambda: concurrency(request), notify)
    resources = request.alone if placement.workers == 1 else {"cpu": TOKEN_CPU}
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
