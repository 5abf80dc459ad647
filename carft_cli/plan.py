"""Before time is paid for: what a sweep would take, what stands in its way, and whether this machine would run it."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from carft.core.errors import UserError, duration, size_words, typed_report
from carft_cli.answer import Answer, Shown, answering, bold
from carft_cli.console import counted, err, headed, typed_again
from carft_cli.data import split_lines, split_rows, tables_of
from carft_cli.status import search_words
from carft_cli.sweep_settings import SweepSettings

if TYPE_CHECKING:
    from carft.store.records import Store
    from sweeps.doctor.checks import Measurement
    from sweeps.plan.planning import Needs, Plan
    from sweeps.plan.resources import Resources
    from sweeps.recipes.recipe import Recipe


@answering
def plan(settings: SweepSettings) -> Answer:
    """What a sweep would take, and what stands in its way: cells, steps, time, disk, data, weights. Runs no cell.

    Exit code 1 when something stands in the way.

    Example: `python cli.py plan downstream --gpus 8 --data ROOT`
    """
    from sweeps.plan.planning import plan_of
    from sweeps.ray_backend.preflight import obstacles, require_space
    from sweeps.search.after_opening import changes_after_opening

    protocol, request = settings.prepared()
    refusals = obstacles(protocol.recipe, request, err.say)
    made = plan_of(protocol, request, slots_of(request, refusals))
    changes = changes_after_opening(protocol.recipe, protocol.store)
    try:
        require_space(protocol.store.root, made.bytes + made.needs.checkpoint_bytes)
    except UserError as refusal:
        refusals.append(refusal)
    people = list(_lines(made, refusals, protocol.store))
    people += [Text(f"{OPENED} {words}.", "yellow") for words in changes]
    following = _following(made, refusals, settings.results)
    if following:
        people.append(f"Next: {following}")
    facts = {**_as_json(made, refusals, protocol.store), "after_opening": changes}
    return Answer(facts, people, code=int(bool(refusals)))


#: how a sentence on a search begins that would change after its held-out sets were opened
OPENED = "Held-out sets are open, and every report will say that the search changed after that:"


def accept_changes(recipe: Recipe, settings: SweepSettings) -> None:
    """Ask before searches change after their held-out sets were opened.

    Raises ``UserError`` where the answer is no, and without a terminal unless ``--yes`` is given.
    """
    from sweeps.search.after_opening import changes_after_opening

    changes = changes_after_opening(recipe, settings.store)
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
    if made.failed and not made.cells:
        return typed_again("--json", more="--retry-failed", command="sweep")
    return typed_again("--json", command="sweep")


def time_line(plan: Plan) -> str:
    """How long a sweep will take, in words."""
    if not plan.cells:
        return "Time: none, since nothing is left to run."
    if not plan.wall_s:
        return f"Time: not known; from {plan.rate.basis}."
    range_ = f"{duration(plan.low_s)} to {duration(plan.high_s)}"
    time = f"Time: about {duration(plan.wall_s)} ({range_}), {plan.slots} at a time; from {plan.rate.basis}."
    return f"{time} {plan.device_hours:.3g} {plan.hardware.unit}-hours."


def slots_of(request: Resources, refusals: list[UserError]) -> int:
    """Cells at a time: of this machine, or of the cluster, which is asked unless something is in the way.

    A cluster that cannot be reached is added to the refusals.
    """
    from sweeps.ray_backend.connect import connect
    from sweeps.ray_backend.gpus import concurrency, concurrency_here

    if refusals and request.gpus:
        # nobody can be asked: count as if all GPUs that were asked for were there
        return max(1, request.gpus * request.execution.cells_per_gpu // request.execution.workers)
    if request.address is None or refusals:
        return concurrency_here(request)
    import ray

    try:
        connect(request, err.say)
        return max(1, concurrency(request))
    except UserError as refusal:
        refusals.append(refusal)
        return concurrency_here(request)
    finally:
        ray.shutdown()


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
        "raw_s": made.wall_s,
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
    from reports.analysis.levels import Recognition, unknown_classes

    unknown = {}
    for task in recipe.tasks:
        words = unknown_classes(Recognition.of_cell(store, recipe.cell(task, "zeroshot", {}), "top1"))
        if words:
            unknown[task] = words
    return unknown


def _lines(made: Plan, refusals: list[UserError], store: Store) -> Iterator[Shown]:
    from sweeps.ray_backend.preflight import existing_folder

    chosen = made.recipe
    failed = ""
    if made.failed:
        failed = f", {made.failed} failed before or wait for those"
    if made.pruned:
        failed += f", {made.pruned} pruned"
    yield bold(f"{chosen.name}: {chosen.question}")
    yield (
        f"{made.total} cells: {made.done} done{failed}, {made.cells} to run, with {made.steps:,} "
        f"optimisation steps{search_words(chosen.searches, chosen.selection)}. Model: {made.model}."
    )
    yield _rows(made)
    yield from split_lines(tables_of(chosen.tasks, chosen.catalog))
    yield time_line(made)
    free = shutil.disk_usage(existing_folder(store.root)).free
    yield f"Disk: about {size_words(made.bytes)} of {size_words(free)} free."
    yield from needs_lines(made.needs, made.hardware.unit)
    for task, words in _unknown_classes(chosen, store).items():
        yield f"{task}: {words}"
    for refusal in refusals:
        yield headed("In the way:", f" {refusal.message}", "bold red")
        if refusal.hint:
            yield f"  {refusal.hint}"


def needs_lines(needs: Needs, device: str) -> list[str]:
    """What the machines need, one sentence each. device: GPU or core."""
    lines = []
    if needs.checkpoint_minutes:
        size = size_words(needs.checkpoint_bytes) if needs.checkpoint_bytes else "of a size that is not known"
        every = f"Checkpoints: every {needs.checkpoint_minutes:g} min"
        lines.append(f"{every}, {size} in the results folder, removed with each cell.")
    each = "GPU of a node" if device == "GPU" else "cell at a time"
    cache = ""
    if needs.cache_bytes:
        cache = f"; on every node {size_words(needs.cache_bytes)} of disk for the cache"
    lines.append(
        f"For every {each}, an estimate: {counted(needs.cores_per_device, 'CPU core')}, "
        f"{size_words(needs.memory_per_device)} of host memory{cache}."
    )
    if needs.gpu_bytes:
        lines.append(
            f"GPU memory of a training, an estimate: {size_words(needs.gpu_bytes)} with a batch of {needs.batch} "
            "images in one part, up to half more where the text tower is trained too. On a GPU with less the batch is "
            "computed in parts."
        )
    return lines


def too_few_cores(needs: Needs, cores: int) -> str:
    """The sentence for GPUs whose cores decode images more slowly than they train; empty for others.

    cores: for each GPU.
    """
    if cores >= needs.cores_per_device:
        return ""
    return (
        f"There are {cores} CPU cores for each GPU, and {needs.cores_per_device} would decode images as fast as it "
        "trains: GPUs will wait for images."
    )


@answering
def doctor(settings: SweepSettings) -> Answer:
    """Look for what stops a sweep on this machine: driver, data, one measured step, disk, memory; then the forecast.

    Writes no record. Exit code 2 when something would stop the sweep. On a cluster run it on every node.

    Example: `python cli.py doctor ood --data ROOT --gpus 8`
    """
    if settings.cluster.get("address"):
        raise UserError("doctor looks at this machine alone.", "Run it on every node, without --address.")

    from carft.store.mirror import is_url
    from sweeps.doctor.checks import Subject, examine

    protocol, request = settings.prepared()
    if is_url(settings.results):
        protocol.store.require_writable()
    subject = Subject(protocol, request, err.say)
    checks = list(examine(subject))
    made = subject.plan
    times = {"wall_s": made.wall_s, "low_s": made.low_s, "high_s": made.high_s}
    forecast = {**times, "basis": made.rate.basis, "estimate": made.rate.estimate}
    facts = {"checks": [{**asdict(check), "ok": check.ok} for check in checks], "forecast": forecast}
    return Answer(facts, [*map(_check_line, checks), time_line(made)], code=2 * any(check.stops for check in checks))


def _check_line(check: Measurement) -> Text:
    line = f" {check.name}: {check.measured.removesuffix('.')}."
    if check.ok:
        return headed("OK:", line, "green")
    if check.stops:
        return headed("Obstacle:", f"{line} {check.remedy}", "bold red")
    return headed("Slower:", f"{line} {check.remedy}", "yellow")
