"""Many cells: a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from carft.core.errors import typed, typed_report
from carft_cli.answer import Answer, Shown, answering
from carft_cli.console import err, typed_again
from carft_cli.options import print_run_header, say_left_out
from carft_cli.plan import accept_changes, time_line
from carft_cli.sweep_settings import SweepSettings

if TYPE_CHECKING:
    from sweeps.running import SweepResult

#: what `--json` says of the run, as of the summary
FACTS = ("cells_done", "cells_failed", "cells_reused", "cells_pruned", "wall_s", "gpus_set_aside", "head")


@answering
def sweep(settings: SweepSettings) -> Answer:
    """Search, select on validation, confirm with fresh seeds, evaluate on the held-out sets. Runs only what is missing.

    Exit code: 0 when everything is done, 1 when cells failed, 2 when refused, 130 after Ctrl-C, 143 after SIGTERM.

    Example: `python cli.py sweep downstream --gpus 8 --space lr=3e-6:1e-4 --space kl_weight=0.01:10`
    """
    if find_spec("torch") is None:  # before a folder is made
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    from carft.store.mirror import open_for_runs
    from reports.judge.claims.ledger import ledger
    from sweeps import sweep as run
    from sweeps.ray_backend.connect import require_resources, with_nodes
    from sweeps.search.protocol import Protocol

    recipe = settings.chosen_recipe()
    request = settings.resources(recipe)
    require_resources(request)
    accept_changes(recipe, settings)
    first = recipe.cell(recipe.tasks[0], "zeroshot", {})  # with the model and weights of all
    store = open_for_runs(settings.folder.results, recipe.catalog, recipe.tasks, recipe.methods, first)
    say_left_out(store)
    print_run_header(recipe.catalog, recipe.tasks, first)
    if request.gpus:
        left = Protocol(recipe, store, settings.retry_failed)
        request = settings.choose_workers(with_nodes(request, err.say), left)
    done = run(
        recipe,
        store,
        request,
        retry_failed=settings.retry_failed,
        trackers=settings.log or [],
        margins={name: claim.margin for name, claim in ledger().items()},
        console=err,
        announce=lambda plan: err.say(f"{plan.cells} cells to run. {time_line(plan)}"),
    )
    summary = done.summary
    facts: dict[str, Any] = {name: getattr(summary, name) for name in FACTS}
    code = 128 + summary.stopped if summary.stopped else int(bool(summary.cells_failed))
    return Answer({**facts, "failed": done.protocol.failed}, _outcome_lines(done, settings), code)


def _outcome_lines(done: SweepResult, settings: SweepSettings) -> Iterator[Shown]:
    """Counts, failures with reasons, and the next commands."""
    from carft.core.failure_kinds import FailureKind
    from carft.store.failures import failures
    from sweeps.status.trackers import TRACKERS

    protocol, summary, results = done.protocol, done.summary, settings.folder.results
    pruned = f"{summary.cells_pruned} pruned, " if summary.cells_pruned else ""
    yield (
        f"{summary.cells_done} cells done, {summary.cells_reused} found done, {summary.cells_failed} failed, "
        f"{pruned}{summary.wall_s:.0f} s. Records: {results}"
    )
    for gpu, reason in summary.gpus_set_aside.items():
        yield f"{gpu} was set aside: {reason}"
    kinds = set()
    failure_of = {failure.key: failure for failure in failures(protocol.store)}
    for key, reason in protocol.failed.items():
        if key in failure_of:
            kinds.add(failure_of[key].kind)
            reason = f"{failure_of[key].title}: {failure_of[key].kind}: {reason}"
        yield f"failed: {key}: {reason}"
    for study in protocol.studies:
        progress = protocol.progress(study)
        if progress.no_winner:
            cause = ": ".join(filter(None, (progress.no_winner, progress.code_error)))
            yield f"no winner: {study.method.name} on {study.task}: {cause}"
    for name in dict.fromkeys(settings.log or []):
        yield f"{name}: {TRACKERS[name].shown_by.format(results=protocol.store.root)}"
    if summary.stopped:
        yield "Stopped. Finished cells are kept; the same command goes on where it stopped."
        return
    if FailureKind.UNREADABLE in kinds:
        yield "Replace the images that cannot be read; the same command then runs these cells again."
    if protocol.failed:
        yield f"Why, with the ends of their logs: {results}/failures/; logs: {results}/logs/"
        yield f"Once the causes are removed, run failed cells again: {typed_again(more='--retry-failed')}"
    if not protocol.recipe.grid:
        yield f"Winners: {typed('ls', 'studies', results=results)}"
    if protocol.done:
        yield f"Next: {typed_report(results)}"
