"""Many cells: sweep."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, NoReturn

from carft_cli.asking import ask
from carft_cli.console import AsJson, Results, err, out, print_json
from carft_cli.options import (
    FEATURES,
    Accumulation,
    Activation,
    Address,
    CellsPerGpu,
    CheckpointEvery,
    Compile,
    Data,
    EarlyStopping,
    FeatureCache,
    FeatureDtype,
    Gpus,
    HangAfter,
    IdDomains,
    LeaveOneOut,
    Methods,
    Model,
    OodDomains,
    Oracle,
    Precision,
    RandomWeights,
    RecipeName,
    RetryFailed,
    Seeds,
    SkipUnreadable,
    Smoke,
    Tasks,
    Trials,
    Weights,
    WorkersPerCell,
    say_setting,
    writable,
)
from carft_cli.plan import time_line
from carft_cli.status import busy_line

if TYPE_CHECKING:
    from carft.core.errors import UserError
    from sweeps.ray_backend.run import Summary
    from sweeps.search.protocol import Protocol
    from sweeps.status.state import SweepState


def sweep(
    recipe: RecipeName,
    tasks: Tasks = None,
    methods: Methods = None,
    trials: Trials = None,
    seeds: Seeds = None,
    model: Model = None,
    pretrained: Weights = None,
    activation: Activation = None,
    random_weights: RandomWeights = False,
    precision: Precision = None,
    gpus: Gpus = 0,
    workers_per_cell: WorkersPerCell = 1,
    cells_per_gpu: CellsPerGpu = 1,
    address: Address = None,
    accumulation: Accumulation = 1,
    compile_: Compile = False,
    checkpoint_every: CheckpointEvery = 0,
    data: Data = None,
    skip_unreadable: SkipUnreadable = False,
    feature_cache: FeatureCache = FEATURES,
    feature_dtype: FeatureDtype = "float32",
    id_domains: IdDomains = None,
    ood_domains: OodDomains = None,
    leave_one_out: LeaveOneOut = False,
    oracle: Oracle = False,
    early_stopping: EarlyStopping = None,
    retry_failed: RetryFailed = False,
    hang_after: HangAfter = 1800,
    results: Results = "results",
    smoke: Smoke = False,
    as_json: AsJson = False,
) -> None:
    """Search, select on validation, confirm with fresh seeds, unseal. Runs only what is missing.

    Exit code: 0 when everything is done, 1 when cells failed, 2 when refused, 130 after Ctrl-C, 143 after SIGTERM.

    Example: `python cli.py sweep downstream --gpus 8`
    """
    chosen, request = ask(**locals())  # every option, in this one place
    request.check()
    store = writable(results)
    from carft.spec.resolve import specify

    first = specify(chosen.tasks[0], "zeroshot", {}, model=chosen.model, pretrained=chosen.pretrained)
    say_setting(chosen.tasks, first.model, first.pretrained, data)

    from sweeps.plan.planning import plan_of
    from sweeps.ray_backend.connect import concurrency
    from sweeps.ray_backend.head_monitor import exit_process
    from sweeps.ray_backend.preflight import require_space
    from sweeps.ray_backend.run import run_sweep
    from sweeps.status.progress import ProgressDisplay
    from sweeps.status.writer import StatusWriter

    board, reporter, plans = ProgressDisplay(err), StatusWriter(store, chosen.name), []

    def watch(protocol: Protocol) -> Callable[[], None]:
        plans.append(plan_of(protocol, request, concurrency(request)))
        require_space(store.root, plans[0].forecast.bytes)
        err.print(f"{plans[0].forecast.cells} cells to run. {time_line(plans[0].forecast)}", soft_wrap=True)
        shown, kept = board.watch(protocol), reporter.watch(protocol)
        if reporter.dashboard:
            err.print(f"Ray's dashboard: {reporter.dashboard}", soft_wrap=True)

        def update() -> None:
            with suppress(OSError):  # what is printed may go to a file on a disk that is full
                shown()
            kept()

        return update

    def say(words: str) -> None:
        with suppress(OSError):
            err.print(words, soft_wrap=True, markup=False, highlight=False)

    def leave(refusal: UserError) -> NoReturn:
        board.close()
        reporter.close("broken")
        exit_process(refusal)

    outcome = "broken"
    try:
        protocol, summary = run_sweep(chosen, store, request, watch, say, retry_failed, leave)
        outcome = "stopped" if summary.stopped else "done"
    finally:
        board.close()
        state = reporter.close(outcome)
    came = None
    if plans and state is not None:
        over = summary.cells_done + summary.cells_stopped - plans[0].forecast.stopped
        came = plans[0].close(protocol, state.name, over, summary.cells_failed, summary.wall_s, outcome)
    if as_json:
        counts = ("cells_done", "cells_failed", "cells_reused", "cells_stopped", "wall_s")
        plan = None if came is None else asdict(came)
        print_json({**{name: getattr(summary, name) for name in counts}, "failed": protocol.failed, "plan": plan})
    else:
        _say_outcome(protocol, summary, results, state)
        if came is not None:
            out.print(f"Plan: {came.words}.", soft_wrap=True, highlight=False)
    if summary.stopped:
        raise SystemExit(128 + summary.stopped)
    if summary.cells_failed:
        raise SystemExit(1)


def _say_outcome(protocol: Protocol, summary: Summary, results: str, state: SweepState | None) -> None:
    """What a sweep came to, for people: winners, counts, what failed and why, and what to do next."""
    from carft.store.failures import PASSING, failures
    from sweeps.status.progress import winners_table

    given_up = f"{summary.cells_stopped} stopped early, " if summary.cells_stopped else ""
    out.print(winners_table(protocol))
    out.print(
        f"{summary.cells_done} cells done, {summary.cells_reused} found done, {summary.cells_failed} failed, {given_up}"
        f"{summary.wall_s:.0f} s. Records: {results}",
        soft_wrap=True,
    )
    if state is not None and state.busy:
        out.print(busy_line(state.busy), highlight=False)
    known = {failure.key: failure for failure in failures(protocol.store)}
    for key, reason in protocol.failed.items():
        said = f"{known[key].title}: {known[key].kind}: " if key in known else ""
        out.print(f"failed: {key}: {said}{reason}", soft_wrap=True, markup=False, highlight=False)
    for study in protocol.studies:
        if too_few := protocol.too_few(study):
            out.print(f"no winner: {study.method.name} on {study.task}: {too_few}", soft_wrap=True, highlight=False)
    if summary.stopped:
        out.print("Stopped. Finished cells are kept; the same command goes on where it stopped.")
    again = shlex.join(["python", "cli.py", *sys.argv[1:]])
    if any(key in known and known[key].kind not in PASSING for key in protocol.failed):
        out.print("The same command does not run failed cells again; with --retry-failed it does.", soft_wrap=True)
        again = again if "--retry-failed" in sys.argv else f"{again} --retry-failed"
    nothing_left = not (summary.stopped or summary.cells_failed)
    if protocol.failed:
        out.print(f"Why, with the ends of their logs: {results}/failures/; logs: {results}/logs/", soft_wrap=True)
    if state is not None:
        out.print(f"Curves and studies: python cli.py results events --results {shlex.quote(results)}", soft_wrap=True)
    following = f"python cli.py report --results {shlex.quote(results)}" if nothing_left else again
    out.print(f"Next: {following}", soft_wrap=True)
