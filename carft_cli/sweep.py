"""Many cells: a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from carft.core.errors import typed, typed_report
from carft_cli.answer import Answer, Shown, answering
from carft_cli.console import counted, err, typed_again
from carft_cli.options import begin_run
from carft_cli.plan import accept_changes, time_line, too_few_cores
from carft_cli.status import busy_line
from carft_cli.sweep_settings import SweepSettings

if TYPE_CHECKING:
    from carft.store.records import Store
    from sweeps.plan.planning import Plan
    from sweeps.plan.resources import Resources
    from sweeps.recipes.recipe import Recipe
    from sweeps.running import SweepResult
    from sweeps.search.protocol import Protocol

#: what `--json` says of the run, as of the summary
FACTS = ("cells_done", "cells_failed", "cells_reused", "cells_pruned", "wall_s", "gpus_set_aside", "head")


@answering
def sweep(settings: SweepSettings) -> Answer:
    """Search, select on validation, confirm with fresh seeds, evaluate on the held-out sets. Runs only what is missing.

    Exit code: 0 when everything is done, 1 when cells failed, 2 when refused, 130 after Ctrl-C, 143 after SIGTERM.

    Example: `python cli.py sweep downstream --gpus 8 --space lr=3e-6:1e-4 --space kl_weight=0.01:10`
    """
    from reports.claims.ledger import ledger
    from sweeps import sweep as run
    from sweeps.ray_backend.connect import require_resources, with_nodes
    from sweeps.search.protocol import Protocol

    recipe = settings.chosen_recipe()
    request = settings.resources(recipe)
    require_resources(request)
    accept_changes(recipe, settings)
    store = begin_sweep(recipe, settings)
    if request.gpus:
        left = Protocol(recipe, store, settings.retry_failed)
        request = settings.choose_workers(with_nodes(request, err.say), left)
    done = run(
        recipe,
        store,
        request,
        retry_failed=settings.retry_failed,
        trackers=settings.log,
        margins={name: claim.margin for name, claim in ledger().items()},
        console=err,
        announce=partial(announce, request=request),
    )
    summary = done.summary
    facts: dict[str, Any] = {name: getattr(summary, name) for name in FACTS}
    code = 128 + summary.stopped if summary.stopped else int(bool(summary.cells_failed))
    return Answer({**facts, "failed": done.protocol.failed}, _outcome_lines(done, settings), code)


def begin_sweep(recipe: Recipe, settings: SweepSettings) -> Store:
    """Begin the run of a recipe; see :func:`carft_cli.options.begin_run`."""
    first = recipe.cell(recipe.tasks[0], "zeroshot", {})  # with the model and weights of all
    where = ""
    if settings.gpus and settings.cluster.get("address") is None:
        where = f" On {counted(settings.gpus, 'GPU')} of this machine (--gpus 0: on none)."
    return begin_run(settings.results, recipe.catalog, recipe.tasks, recipe.methods, first, settings.data, where)


def announce(plan: Plan, request: Resources) -> None:
    """Print what is to run, how long it takes, and what slows it."""
    from sweeps.ray_backend.gpus import cores_per_process

    err.say(f"{plan.cells} cells to run. {time_line(plan)}")
    if request.gpus:
        cores = request.execution.cells_per_gpu * cores_per_process(request)
        warning = too_few_cores(plan.needs, cores)
        if warning:
            err.say(warning, style="yellow")


def _outcome_lines(done: SweepResult, settings: SweepSettings) -> Iterator[Shown]:
    """Counts, failures with reasons, and the next commands."""
    from sweeps.status.trackers import TRACKERS

    protocol, summary, state, results = done.protocol, done.summary, done.state, settings.results
    pruned = f"{summary.cells_pruned} pruned, " if summary.cells_pruned else ""
    yield (
        f"{summary.cells_done} cells done, {summary.cells_reused} found done, {summary.cells_failed} failed, "
        f"{pruned}{summary.wall_s:.0f} s. Records: {results}"
    )
    if state is not None and state.busy:
        yield busy_line(state.busy)
    for gpu, reason in summary.gpus_set_aside.items():
        yield f"{gpu} was set aside: {reason}"
    kinds: set[str] = set()
    yield from _failure_lines(protocol, kinds)
    if protocol.failed:
        yield f"Why, with the ends of their logs: {results}/failures/; logs: {results}/logs/"
    for name in dict.fromkeys(settings.log):
        yield f"{name}: {TRACKERS[name].shown_by.format(results=protocol.store.root)}"
    if summary.stopped:
        yield "Stopped. Finished cells are kept; the same command goes on where it stopped."
        return
    yield from _remedy_lines(kinds)
    if not protocol.recipe.grid:
        yield f"Winners: {typed('ls studies', results=results)}"
    if protocol.done:
        yield f"Next: {typed_report(results)}"


def _failure_lines(protocol: Protocol, kinds: set[str]) -> Iterator[Shown]:
    """Failed jobs and studies without a winner, with reasons; adds the kinds of the failures to ``kinds``."""
    from carft.store.failures import failures
    from sweeps.faults.policy import PASSING

    failure_of = {failure.key: failure for failure in failures(protocol.store)}
    for key, reason in protocol.failed.items():
        if key in protocol.damaged:
            yield f"damaged: {reason}"
            continue
        if key in failure_of:
            failure = failure_of[key]
            kinds.add(failure.kind)
            reason = f"{failure.title}: {failure.kind}: {reason}"
        else:
            kinds.add(PASSING[0])
        yield f"failed: {key}: {reason}"
    for study in protocol.studies:
        progress = protocol.progress(study)
        if progress.no_winner:
            words = progress.no_winner
            if progress.code_error:
                words += f": {progress.code_error}"
            yield f"no winner: {study.method.name} on {study.task}: {words}"


def _remedy_lines(kinds: set[str]) -> Iterator[Shown]:
    """How failed cells are run again. kinds: of their failures."""
    from carft.core.failure_kinds import REPEATED, FailureKind
    from sweeps.faults.policy import PASSING

    if FailureKind.UNREADABLE in kinds:
        left_out = typed_again(more="--skip-unreadable")
        yield "Replace the images that cannot be read; the same command then runs these cells again."
        yield f"Or leave the images out; records then name them: {left_out}"
    if kinds - {*PASSING, *REPEATED}:
        again = typed_again(more="--retry-failed")
        yield f"The same command does not run failed cells again. Once their cause is removed: {again}"
    elif kinds - {*REPEATED, FailureKind.UNREADABLE}:
        yield f"Run the failed cells again: {typed_again()}"
