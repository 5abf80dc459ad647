"""Before time is paid for: what a sweep would take, and what stands in its way."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from carft.core.errors import UserError, duration, size_words, typed_report
from carft_cli.answer import Answer, Rows, Shown, answering, bold, without_constant
from carft_cli.console import err, headed, typed_again
from carft_cli.data import split_rows, tables_of
from carft_cli.declare import WHERE, option
from carft_cli.sweep_settings import SweepSettings

if TYPE_CHECKING:
    from carft.store.records import Store
    from sweeps.plan.planning import Plan
    from sweeps.plan.resources import Resources
    from sweeps.recipes.recipe import Recipe


@answering
def plan(
    settings: SweepSettings,
    measure: Annotated[
        bool, option(WHERE, "Train a few batches now, and look at driver and memory of this machine.", "--measure")
    ] = False,
) -> Answer:
    """What a sweep would take, and what stands in its way: cells, steps, time, disk, data, weights. Runs no cell.

    With --measure it trains a few batches for the forecast: on a cluster run it on every node. Exit code 1 when
    something stands in the way.

    Example: `python cli.py plan downstream --gpus 8 --data ROOT`
    """
    from sweeps.plan.planning import plan_of
    from sweeps.ray_backend.preflight import obstacles, require_space
    from sweeps.search.after_opening import changes_after_opening

    if measure and settings.cluster.get("address"):
        raise UserError("--measure looks at this machine alone.", "Run it on every node, without --address.")
    protocol, request = settings.prepared()
    refusals = obstacles(protocol.recipe, request, err.say)
    slots, checks = slots_of(request), list[dict[str, str]]()
    if measure:
        from sweeps.plan.measuring import measured_plan

        made, checks = measured_plan(protocol, request, slots, refusals, err.say)
    else:
        made = plan_of(protocol, request, slots)
    try:
        require_space(protocol.store.root, made.bytes + made.needs.checkpoint_bytes)
    except UserError as refusal:
        refusals.append(refusal)
    changes = changes_after_opening(protocol.recipe, protocol.store)
    facts = {**_as_json(made, refusals, protocol.store), "checks": checks, "after_opening": changes}
    following = _following(made, refusals, settings.folder.results)
    return Answer(facts, _lines(made, facts, following), code=int(bool(refusals)))


#: how a sentence on a search begins that would change after its held-out sets were opened
OPENED = "Held-out sets are open, and every report will say that the search changed after that:"


def accept_changes(recipe: Recipe, settings: SweepSettings) -> None:
    """Ask before searches change after their held-out sets were opened.

    Raises ``UserError`` where the answer is no, and without a terminal unless ``--yes`` is given.
    """
    from sweeps.search.after_opening import changes_after_opening

    changes = changes_after_opening(recipe, settings.folder.store)
    for words in changes:
        err.say(f"{OPENED} {words}.", style="yellow")
    if not changes or settings.yes:
        return
    if not (sys.stdin.isatty() and typer.confirm("Go on?", err=True)):
        raise UserError(
            "Nothing was run: held-out sets are open, and this sweep would change what they are to test.",
            "Give another --results, or --yes: the change cannot be undone.",
        )


def _following(made: Plan, refusals: list[UserError], results: str) -> str:
    """The command that a person runs next; empty where something is in the way."""
    if not (made.cells or made.failed):
        return typed_report(results)
    if refusals:
        return ""
    return typed_again("--json", "--measure", more="" if made.cells else "--retry-failed", command="sweep")


def time_line(plan: Plan) -> str:
    """How long a sweep will take, in words."""
    if not plan.cells:
        return "Time: none, since nothing is left to run."
    if not plan.wall_s:
        return f"Time: not known; from {plan.rate.basis}."
    range_ = f"{duration(plan.low_s)} to {duration(plan.high_s)}"
    time = f"Time: about {duration(plan.wall_s)} ({range_}), {plan.slots} at a time; from {plan.rate.basis}."
    return f"{time} {plan.device_hours:.3g} {plan.hardware.unit}-hours."


def slots_of(request: Resources) -> int:
    """Cells at a time: on the GPUs that are asked for, whether they are here or not, else on the cores of this
    machine."""
    from sweeps.ray_backend.gpus import concurrency_here

    if request.gpus:
        return max(1, request.gpus * request.execution.cells_per_gpu // request.execution.workers)
    return concurrency_here(request)


#: facts of a plan that its JSON has by their names
FACTS = (
    *("total", "done", "failed", "pruned", "cells", "steps", "bytes", "slots"),
    *("busy_s", "wall_s", "low_s", "high_s", "device_hours", "model"),
)


def _as_json(made: Plan, refusals: list[UserError], store: Store) -> dict[str, Any]:
    recipe = made.recipe
    facts = {name: getattr(made, name) for name in FACTS}
    return {
        "recipe": recipe.name,
        "searches": recipe.searches,
        "selection": recipe.selection,
        "hardware": str(made.hardware),
        **facts,
        "basis": made.rate.basis,
        "estimate": made.rate.estimate,
        "needs": asdict(made.needs),
        "tasks": _rows(made),
        "splits": split_rows(tables_of(recipe.tasks, recipe.catalog)),
        "unknown_classes": _unknown_classes(recipe, store),
        "obstacles": [{"what": one.message, "how": one.hint} for one in refusals],
    }


def _rows(made: Plan) -> list[dict[str, Any]]:
    """A row per task: what is left of it."""
    kinds = ["search", "confirm", "curve", "soup"]
    if made.recipe.grid:
        kinds = ["grid"]
    cells: Counter[tuple[str, str]] = Counter()
    steps: Counter[str] = Counter()
    for work in made.left:
        cells[work.task, work.kind] += work.cells
        steps[work.task] += work.jobs * work.steps
    rows = []
    for task in made.recipe.tasks:
        rows.append({"task": task, **{kind: cells[task, kind] for kind in kinds}, "steps": steps[task]})
    return rows


def _unknown_classes(recipe: Recipe, store: Store) -> dict[str, str]:
    """Task -> that the model does not know its classes, in a sentence, where the zero-shot cell is on record."""
    from reports.judge.levels import Recognition, unknown_classes
    from reports.read.folder import read_cells

    unknown = {}
    for task in recipe.tasks:
        cell = recipe.cell(task, "zeroshot", {})
        results = read_cells(store, [cell.id] if store.is_done(cell.id) else [])
        words = unknown_classes(Recognition.of_cell(results, cell, "top1"))
        if words:
            unknown[task] = words
    return unknown


def _lines(made: Plan, facts: dict[str, Any], following: str) -> Iterator[Shown]:
    """The plan for people. facts: as of :func:`_as_json`, with checks. following: the command that is typed next."""
    recipe = made.recipe
    yield bold(f"{recipe.name}: {recipe.question}")
    yield (
        f"{made.total} cells: {made.done} done, {made.failed} failed before or wait for those, {made.pruned} pruned, "
        f"{made.cells} to run, with {made.steps:,} optimisation steps. Searches: {recipe.searches}, "
        f"{recipe.selection}. Model: {made.model}."
    )
    yield facts["tasks"]
    if facts["splits"]:
        yield without_constant(facts["splits"], "task")
    yield time_line(made)
    yield need_rows(made)
    if facts["checks"]:
        yield facts["checks"]
    for task, words in facts["unknown_classes"].items():
        yield f"{task}: {words}"
    for words in facts["after_opening"]:
        yield Text(f"{OPENED} {words}.", "yellow")
    for obstacle in facts["obstacles"]:
        yield headed("In the way:", f" {obstacle['what']}", "bold red")
        if obstacle["how"]:
            yield f"  {obstacle['how']}"
    if following:
        yield f"Next: {following}"


def need_rows(made: Plan) -> Rows:
    """What the machines need, by the plan's estimate. A device is a GPU, or without one a cell at a time."""
    rows = [{"needed, an estimate": "disk for results", "": size_words(made.bytes)}]
    for name, value in asdict(made.needs).items():
        words = size_words(value) if name.endswith(("_bytes", "memory_per_device")) else f"{value:g}"
        rows.append({"needed, an estimate": name.replace("_", " "), "": words})
    return rows
