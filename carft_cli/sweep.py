"""Many cells: one sweep, and all sweeps of an audit with their report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from carft.core.errors import duration, typed, typed_report
from carft_cli.console import counted, err, headed, out, print_json, printing_to, rows_table, split, typed_again
from carft_cli.declare import RUN, option, takes
from carft_cli.options import NoImages, OutputOptions, Private, begin_run, open_results
from carft_cli.plan import slots_of, time_line, too_few_cores, waiting_line
from carft_cli.report import ReportFolder, print_built
from carft_cli.status import busy_line
from carft_cli.sweep_settings import ClusterOptions, SweepSettings, ranged, with_own_tasks

if TYPE_CHECKING:
    from carft.core.errors import UserError
    from carft.store.records import Store
    from carft.store.sweep_state import SweepState
    from sweeps.plan.planning import Plan
    from sweeps.plan.resources import Resources
    from sweeps.ray_backend.driver import Summary
    from sweeps.recipes.audit import Audit, AuditPart
    from sweeps.recipes.recipe import Recipe
    from sweeps.search.protocol import Protocol


@takes(SweepSettings)
def sweep(settings: SweepSettings) -> None:
    """Search, select on validation, confirm with fresh seeds, evaluate on the held-out sets. Runs only what is missing.

    Exit code: 0 when everything is done, 1 when cells failed, 2 when refused, 130 after Ctrl-C, 143 after SIGTERM.

    Example: `python cli.py sweep downstream --gpus 8 --space lr=3e-6:1e-4 --space kl_weight=0.01:10`
    """
    from sweeps.ray_backend.connect import require_resources, with_nodes

    recipe, results = settings.chosen_recipe(), settings.results
    request = settings.resources(recipe)
    require_resources(request)
    store = begin_sweep(recipe, results, settings)
    if request.gpus:
        request = settings.choose_workers(with_nodes(request, _log), settings.protocol_in(store, recipe))
    protocol, summary, state = run_watched(recipe, store, request, settings)
    if settings.as_json:
        print_json(
            {
                "cells_done": summary.cells_done,
                "cells_failed": summary.cells_failed,
                "cells_reused": summary.cells_reused,
                "cells_pruned": summary.cells_pruned,
                "wall_s": summary.wall_s,
                "gpus_set_aside": summary.gpus_set_aside,
                "head": summary.head,
                "failed": protocol.failed,
            }
        )
    else:
        _print_outcome(protocol, summary, settings, state)
    if summary.stopped:
        raise SystemExit(128 + summary.stopped)
    if summary.cells_failed:
        raise SystemExit(1)


def begin_sweep(recipe: Recipe, results: str | Store, settings: ClusterOptions) -> Store:
    """Begin the run of a recipe; see :func:`carft_cli.options.begin_run`."""
    first = recipe.cell(recipe.tasks[0], "zeroshot", {})  # with the model and weights of all
    where = ""
    if settings.gpus and settings.cluster.get("address") is None:
        where = f" On {counted(settings.gpus, 'GPU')} of this machine (--gpus 0: on none)."
    return begin_run(results, recipe.catalog, recipe.tasks, recipe.methods, first, settings.data, where)


def run_watched(
    recipe: Recipe, store: Store, request: Resources, settings: ClusterOptions
) -> tuple[Protocol, Summary, SweepState | None]:
    """Run a sweep, its progress on the terminal and its state on disk; the state is None when nothing was to do."""
    from reports.claims.ledger import ledger
    from sweeps.faults.process import redirect_stdio
    from sweeps.ray_backend.driver import run_sweep
    from sweeps.status.live import LiveTrackers
    from sweeps.status.progress import ProgressDisplay
    from sweeps.status.writer import StatusWriter

    gpus_aside: dict[str, str] = {}
    display, writer = ProgressDisplay(err), StatusWriter(store, recipe.name, time.time(), gpus_aside)
    trackers = LiveTrackers(settings.log, store, _log)

    def watch(protocol: Protocol) -> Callable[[], None]:
        """Plan the sweep once Ray runs; returns the callback for every change."""
        write = writer.watch(protocol, announced_plan(protocol, request))
        show = display.watch(protocol, writer.seconds_left)

        def update() -> None:
            write()
            with suppress(OSError):  # standard error may be a file on a full disk
                show()
            trackers.update(protocol)

        return update

    def leave(error: UserError, code: int) -> NoReturn:
        """End the process, whose main thread may be blocked."""
        display.close()
        writer.close("broken" if code == 2 else "stopped")
        _log(str(error))
        os._exit(code)

    outcome, log_path = "broken", store.root / "sweeps" / f"{writer.name}.log"
    margins = {name: claim.margin for name, claim in ledger().items()}  # shares of 1, for the journal
    with redirect_stdio(log_path) as terminal, printing_to(terminal):
        try:
            protocol, summary = run_sweep(
                recipe, store, request, watch, _log, settings.retry_failed, leave, gpus_aside, margins
            )
            outcome = "stopped" if summary.stopped else "done"
            trackers.update(protocol)
        finally:
            display.close()
            state = writer.close(outcome)
            trackers.close(stopped=outcome != "done")
    return protocol, summary, state


def announced_plan(protocol: Protocol, request: Resources) -> Plan:
    """Make the plan of a sweep and print its time. Raises ``UserError`` if the disk has too little room."""
    from sweeps.plan.planning import plan_of
    from sweeps.ray_backend.gpus import concurrency, cores_per_process
    from sweeps.ray_backend.preflight import require_space

    plan = plan_of(protocol, request, concurrency(request))
    require_space(protocol.store.root, plan.bytes + plan.needs.checkpoint_bytes)
    err.say(f"{plan.cells} cells to run. {time_line(plan)}")
    if request.gpus:
        cores = request.execution.cells_per_gpu * cores_per_process(request)
        for warning in (too_few_cores(plan.needs, cores), waiting_line(plan.needs, plan.hardware.unit)):
            if warning:
                err.say(warning, style="yellow")
    return plan


def _log(message: str) -> None:
    with suppress(OSError):
        err.say(message)


def _print_outcome(protocol: Protocol, summary: Summary, settings: SweepSettings, state: SweepState | None) -> None:
    """Print winners, counts, failures with reasons, and the next command."""
    from sweeps.status.progress import winner_rows
    from sweeps.status.trackers import tracker_of

    results = settings.results
    if not protocol.recipe.grid:
        out.print(rows_table(winner_rows(protocol)))
    pruned = f"{summary.cells_pruned} pruned, " if summary.cells_pruned else ""
    out.say(
        f"{summary.cells_done} cells done, {summary.cells_reused} found done, {summary.cells_failed} failed, "
        f"{pruned}{summary.wall_s:.0f} s. Records: {results}",
    )
    if state is not None and state.busy:
        out.say(busy_line(state.busy))
    for gpu, reason in summary.gpus_set_aside.items():
        out.say(f"{gpu} was set aside: {reason}")
    kinds = _print_failures(protocol)
    if protocol.failed:
        out.say(f"Why, with the ends of their logs: {results}/failures/; logs: {results}/logs/")
    for name in dict.fromkeys(settings.log):
        out.say(f"{name}: {tracker_of(protocol.store, name).shown_by}")
    if state is not None and not settings.log:
        out.say(f"Curves and studies: {typed('results', 'events', results=results)}")
    if summary.stopped:
        out.say("Stopped. Finished cells are kept; the same command goes on where it stopped.")
        return
    _print_remedies(kinds)
    if protocol.done:
        out.say(f"Next: {typed_report(results)}")


def _print_failures(protocol: Protocol) -> set[str]:
    """Print failed jobs and studies without a winner, with reasons; returns the kinds of the failures."""
    from carft.store.failures import failures
    from sweeps.faults.policy import PASSING

    failure_of = {failure.key: failure for failure in failures(protocol.store)}
    kinds: set[str] = set()
    for key, reason in protocol.failed.items():
        if key in protocol.damaged:
            out.say(f"damaged: {reason}")
            continue
        if key in failure_of:
            failure = failure_of[key]
            kinds.add(failure.kind)
            reason = f"{failure.title}: {failure.kind}: {reason}"
        else:
            kinds.add(PASSING[0])
        out.say(f"failed: {key}: {reason}")
    for study in protocol.studies:
        progress = protocol.progress(study)
        if progress.no_winner:
            words = progress.no_winner
            if progress.cause:
                words += f": {progress.cause}"
            out.say(f"no winner: {study.method.name} on {study.task}: {words}")
    return kinds


def _print_remedies(kinds: set[str]) -> None:
    """Print how failed cells are run again. kinds: of their failures."""
    from carft.core.failure_kinds import REPEATED, FailureKind
    from sweeps.faults.policy import PASSING

    if FailureKind.UNREADABLE in kinds:
        left_out = typed_again(more="--skip-unreadable")
        out.say("Replace the images that cannot be read; the same command then runs these cells again.")
        out.say(f"Or leave the images out; records then name them: {left_out}")
    if kinds - {*PASSING, *REPEATED}:
        again = typed_again(more="--retry-failed")
        out.say(f"The same command does not run failed cells again. Once their cause is removed: {again}")
    elif kinds - {*REPEATED, FailureKind.UNREADABLE}:
        out.say(f"Run the failed cells again: {typed_again()}")


@dataclass(frozen=True, kw_only=True)
class AuditSettings(ClusterOptions, OutputOptions):
    """Everything that `audit` is asked for."""

    name: Annotated[str, typer.Argument(metavar="AUDIT", help="A shipped audit, or a YAML file.")] = "miniature"
    only: Annotated[str | None, option(RUN, "Comma-separated parts; default: all.", "--only")] = None
    smoke: Annotated[bool, option(RUN, "Every part at its smallest: to see that everything runs.", "--smoke")] = False
    out: ReportFolder = Path("report")
    no_images: NoImages = False
    private: Private = None
    dry_run: Annotated[bool, option(RUN, "Print parts, cells and time; run nothing.", "--dry-run")] = False


@takes(AuditSettings)
def audit(settings: AuditSettings) -> None:
    """Run every sweep of an audit into one results folder, then write the report. Runs only what is missing.

    Exit code: 0 when everything is done, 1 when cells failed, 2 when refused, 130 after Ctrl-C, 143 after SIGTERM.

    Example: `python cli.py audit --smoke`
    """
    from carft.catalog.catalog import BUILT_IN
    from reports.build import build_report
    from reports.render.pictures import PictureOptions
    from reports.words.verdict_words import as_json as verdict_json
    from sweeps.ray_backend.connect import with_nodes
    from sweeps.ray_backend.preflight import obstacles
    from sweeps.recipes.audit import load_audit

    asked = load_audit(settings.name)
    sweeps = asked.sweeps(split(settings.only), settings.smoke, with_own_tasks)
    seen = with_nodes(settings.resources(sweeps[0][1]), _log)  # all parts run on the same nodes
    parts, catalog = [], BUILT_IN
    for part, chosen in sweeps:
        recipe = chosen if "lr" in chosen.space else ranged(chosen, chosen, {})
        catalog = catalog.with_tasks(recipe.catalog.own.named.values())
        request = replace(settings.resources(recipe), gpu_model=seen.gpu_model, node_gpus=seen.node_gpus)
        parts.append((part, recipe, request))
    refusals: list[UserError] = []
    for _, recipe, request in parts:
        refusals += obstacles(recipe, request, err.say)
    if refusals and not settings.dry_run:  # before the first part starts
        raise refusals[0]
    store = open_results(settings.results, catalog, writable=not settings.dry_run)
    _print_forecasts(asked, parts, slots_of(parts[0][2], refusals), store, settings)
    if settings.dry_run:
        for message in dict.fromkeys(refusal.message for refusal in refusals):
            err.say(f"In the way: {message}")
        return
    failed = 0
    for number, (part, recipe, request) in enumerate(parts, 1):
        failed += _run(part, f"Part {number} of {len(parts)}: {part.name}", recipe, store, request, settings)
    pictures = PictureOptions(not settings.no_images, split(settings.private) or (), settings.data)
    built = build_report(store, settings.out, pictures)
    if settings.as_json:
        print_json({"cells_failed": failed, "verdicts": [verdict_json(v) for v in built.sources.verdicts]})
    else:
        print_built(built, settings.results)
    if failed:
        err.say(f"{counted(failed, 'cell')} failed. Why: {settings.results}/failures/")
        raise SystemExit(1)


def _print_forecasts(
    asked: Audit, parts: list[tuple[AuditPart, Recipe, Resources]], slots: int, store: Store, settings: AuditSettings
) -> None:
    """Say what is left of the parts and how long it takes; parts that share cells each count them."""
    from sweeps.plan.planning import plan_of

    rows: list[dict[str, Any]] = []
    middle = low = high = 0.0
    for part, recipe, request in parts:
        plan = plan_of(settings.protocol_in(store, recipe), request, slots)
        middle += plan.wall_s
        low += plan.low_s
        high += plan.high_s
        times = {"wall_s": plan.wall_s, "low_s": plan.low_s, "high_s": plan.high_s}
        rows.append({"part": part.name, "cells": plan.total, "left": plan.cells, **times})
    if settings.as_json and settings.dry_run:
        return print_json({"audit": asked.name, "parts": rows})
    people = out if settings.dry_run else err
    people.say(asked.question, style="bold")
    for row in rows:
        row["time"] = duration(row["wall_s"])
    people.print(rows_table(rows, columns=("part", "cells", "left", "time")))
    people.say(f"Together about {duration(middle)} ({duration(low)} to {duration(high)}).")


def _run(part: AuditPart, name: str, recipe: Recipe, store: Store, request: Resources, settings: AuditSettings) -> int:
    """Run a part; returns the number of its cells that failed. A signal ends the command."""
    protocol = settings.protocol_in(store, recipe)
    if protocol.finished() and not protocol.failed_before:
        err.say(f"{name}: done before.")
        return 0
    err.say(headed(f"{name}.", f" {part.answers[0].upper()}{part.answers[1:]}."))
    begin_sweep(recipe, store, settings)
    request = settings.choose_workers(request, protocol)
    _, summary, _ = run_watched(recipe, store, request, settings)
    err.say(
        f"{name}: {counted(summary.cells_done, 'cell')} done, {summary.cells_reused} found done, "
        f"{summary.cells_failed} failed, {duration(summary.wall_s)}."
    )
    if summary.stopped:
        err.say(f"Stopped. Finished cells are kept; go on: {typed_again()}")
        raise SystemExit(128 + summary.stopped)
    return summary.cells_failed
