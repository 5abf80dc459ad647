"""Run a recipe on Ray: one Tuner, one queue, all tasks."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from carft.core.errors import UserError
from carft.store.journal import JOURNAL, journal_digest
from carft.store.mirror import MirroredStore
from carft.store.records import Store
from sweeps.faults.process import StopSignal, sigterm_as_interrupt
from sweeps.faults.storage import LOCK, StorageRetry, sweep_lock
from sweeps.plan.resources import Resources
from sweeps.ray_backend.connect import connect, kill_child_processes
from sweeps.ray_backend.gpus import GpuHealth, actor_resources, cores_per_process
from sweeps.ray_backend.preflight import require_possible
from sweeps.ray_backend.ray_monitor import RESUME_HINT, OnRayLost, monitor_head, monitor_ray
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol

if TYPE_CHECKING:
    from sweeps.ray_backend.searcher import ProtocolSearcher

#: variables of Tune: no loggers of its own, hardly any checkpoints of the experiment, and many actors that start at a
#: time, by default one; the searcher limits the number of jobs to the slots
TUNE = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",
}


@dataclass(frozen=True)
class Summary:
    """Outcome of a sweep: cells that it finished, that failed and that were on record before; wall time in seconds.

    Pruned trials have no record; they are counted whichever sweep pruned them.
    """

    cells_done: int
    cells_failed: int
    cells_reused: int
    wall_s: float
    cells_pruned: int = 0
    stopped: int = 0
    """Number of the signal that stopped the sweep; 0 for none."""
    gpus_set_aside: Mapping[str, str] = field(default_factory=dict)
    """GPU -> why the sweep did not use it any more."""
    head: str = ""
    """Digest of the journal when the sweep ended."""


def run_sweep(
    recipe: Recipe,
    store: Store,
    request: Resources,
    watch: Callable[[Protocol], Callable[[], None]],
    log: Callable[[str], None],
    retry_failed: bool = False,
    leave: Callable[[UserError, int], object] = lambda error, code: os._exit(code),
    aside: dict[str, str] | None = None,
    claims: Mapping[str, float] | None = None,
) -> tuple[Protocol, Summary]:
    """Run what is not on record. Ctrl-C and SIGTERM stop cleanly; the same call then goes on.

    watch: gets the protocol, returns a callback for every change. log: gets one sentence when the sweep waits or tries
    a job again. retry_failed: also run cells that failed before for a reason of their own; cells that were lost with
    their machine always run again. leave: ends the process when calls into Ray may not return. aside: gets the GPUs
    that fail, and why. claims: claim -> margin as a share of 1, which the journal keeps.

    Raises ``UserError`` when another sweep uses the folder, or the folder cannot be used for too long.
    """
    store.require_writable()
    if not isinstance(store, MirroredStore):  # a mirror is on a local disk, which cannot be unmounted
        store = copy(store)
        store.sentinel = LOCK
    started = time.monotonic()
    aside = {} if aside is None else aside
    with sweep_lock(store), sigterm_as_interrupt() as stop:
        retry = StorageRetry(store, log)
        protocol = retry.call(lambda: Protocol(recipe, store, retry_failed))
        for remark in protocol.remarks.values():
            log(remark)

        def on_lost(error: UserError) -> None:
            if request.address is None:
                kill_child_processes()
            number = stop.received()
            if number:
                leave(UserError("Stopped.", RESUME_HINT), 128 + number)
            else:
                leave(error, 2)

        with monitor_head(request.address, on_lost) as end:
            stopped = run_protocol(protocol, request, watch, retry, stop, end, aside, claims or {})
        return protocol, Summary(
            cells_done=len(protocol.done) - len(protocol.reused),
            cells_failed=sum(protocol.cells_of(key) for key in protocol.failed),
            cells_reused=len(protocol.reused),
            cells_pruned=len(protocol.pruned),
            wall_s=round(time.monotonic() - started, 2),
            stopped=stopped,
            gpus_set_aside=dict(aside),
            head=journal_digest(store.root / JOURNAL),
        )


def run_protocol(
    protocol: Protocol,
    request: Resources,
    watch: Callable[[Protocol], Callable[[], None]],
    retry: StorageRetry,
    stop: StopSignal,
    on_lost: OnRayLost,
    aside: dict[str, str],
    claims: Mapping[str, float],
) -> int:
    """Run the jobs of the protocol; returns the number of the signal that stopped them, 0 for none."""
    if protocol.finished():
        retry.call(protocol.write_studies)
        return 0
    require_possible(protocol.recipe, request, retry.log)
    retry.call(lambda: protocol.commit(claims))
    retry.call(protocol.write_studies)
    try:
        with stop.while_ray_starts():
            connect(request, retry.log)
        with monitor_ray(request, on_lost):
            notify = watch(protocol)
            os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
            for name, value in TUNE.items():
                os.environ.setdefault(name, value)
            from sweeps.ray_backend.searcher import ProtocolSearcher

            used = replace(request, execution=replace(request.execution, decoders=cores_per_process(request)))
            # of a cell of several workers no actor of the sweep holds a GPU
            gpus = GpuHealth(aside, retry.log, holds=request.execution.workers > 1)
            run_on_tune(ProtocolSearcher(protocol, used, retry, notify, gpus, stop))
        retry.call(protocol.write_studies)
        retry.call(lambda: protocol.store.note("ended"))
    except KeyboardInterrupt:
        writes_checkpoints = request.execution.checkpoint_every or request.execution.checkpoint_minutes
        if stop.signal == signal.SIGTERM and writes_checkpoints:
            from sweeps.ray_backend.stopping import let_checkpoint

            trained = [job.cell.id for job in protocol.running.values() if job.trains]
            let_checkpoint(trained, protocol.store)
        with contextlib.suppress(OSError):  # no retry: the user wants to stop now
            protocol.write_studies()
            protocol.store.note("ended")
        return stop.signal
    finally:
        import ray

        with contextlib.suppress(OSError, UserError):  # of a sweep that cannot go on; the next one makes them anew
            protocol.write_studies()
        with contextlib.suppress(KeyboardInterrupt):
            ray.shutdown()
    return 0


def run_on_tune(searcher: ProtocolSearcher) -> None:
    """Run the jobs that a searcher suggests, until it suggests no more."""
    from ray import tune
    from ray.tune.execution.placement_groups import resource_dict_to_pg_factory

    from sweeps.ray_backend.searcher import ParallelStartScheduler
    from sweeps.ray_backend.trainable import CellActor

    for logger in ("ray.tune", "ray.train", "ray"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    # a lost worker is no error of Tune's and needs no traceback: the searcher reports it
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)
    request = searcher.request

    def resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return resource_dict_to_pg_factory(actor_resources(request, config["job"].job.cell.plugin))

    with tempfile.TemporaryDirectory(prefix="carft-tune-", ignore_cleanup_errors=True) as scratch:
        tuner = tune.Tuner(
            tune.with_resources(CellActor, resources),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=ParallelStartScheduler(searcher.stops),
                num_samples=-1,
                reuse_actors=True,
                metric="failure",
                mode="max",
            ),
            run_config=tune.RunConfig(
                name=f"sweep-{os.getpid()}",
                storage_path=scratch,
                verbose=0,
                # otherwise Tune asks an actor once more after each job, and keeps an empty checkpoint
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()
