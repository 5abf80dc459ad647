"""Before time is paid for: what a sweep would take, what stands in its way, and whether this machine would run it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.core.errors import UserError, duration, size_words, typed, typed_report
from carft_cli.console import counted, err, headed, out, print_json, rows_table, typed_again
from carft_cli.data import print_splits, split_rows, tables_of
from carft_cli.declare import OUTPUT, option, takes
from carft_cli.status import search_words
from carft_cli.sweep_settings import SweepSettings

if TYPE_CHECKING:
    from carft.store.records import Store
    from sweeps.doctor.subject import Measurement
    from sweeps.plan.planning import Needs, Plan
    from sweeps.plan.resources import Resources
    from sweeps.recipes.recipe import Recipe


@takes(SweepSettings)
def plan(settings: SweepSettings) -> None:
    """What a sweep would take, and what stands in its way: cells, steps, time, disk, data, weights. Runs no cell.

    Exit code 1 when something stands in the way.

    Example: `python cli.py plan downstream --gpus 8 --data ROOT`
    """
    from sweeps.plan.planning import plan_of
    from sweeps.ray_backend.preflight import obstacles, require_space

    protocol, request = settings.prepared()
    refusals = obstacles(protocol.recipe, request, err.say)
    made = plan_of(protocol, request, slots_of(request, refusals))
    try:
        require_space(protocol.store.root, made.bytes + made.needs.checkpoint_bytes)
    except UserError as refusal:
        refusals.append(refusal)
    if settings.as_json:
        print_json(_as_json(made, refusals, protocol.store))
    else:
        _say(made, refusals, protocol.store)
        following = _following(made, refusals, settings.results)
        if following:
            out.say(f"Next: {following}")
    if refusals:
        raise SystemExit(1)


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
        return f"Time: not known; from {plan.rates.basis}."
    range_ = f"{duration(plan.low_s)} to {duration(plan.high_s)}"
    time = f"Time: about {duration(plan.wall_s)} ({range_}), {plan.slots} at a time; from {plan.rates.basis}."
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
        "basis": made.rates.basis,
        "estimate": made.rates.estimate,
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
    from reports.analysis.levels import ClassRecognition, unknown_classes

    unknown = {}
    for task in recipe.tasks:
        words = unknown_classes(ClassRecognition.of_cell(store, recipe.cell(task, "zeroshot", {})))
        if words:
            unknown[task] = words
    return unknown


def _class_lines(recipe: Recipe, store: Store) -> Iterator[str]:
    """The tasks whose classes the model does not know; the check of one's own task that was not measured yet."""
    for task, words in _unknown_classes(recipe, store).items():
        yield f"{task}: {words}"
    for task in recipe.tasks:
        named = recipe.catalog.named(task)
        cell = recipe.cell(task, "zeroshot", {})
        if named is not None and not store.is_done(cell.id):
            model = ("--model", cell.model, "--pretrained", recipe.pretrained or cell.pretrained)
            asked = ("model", "check", "--task", task, "--tasks-file", named.file, *model)
            yield f"Whether the model knows these classes: {typed(*asked, results=store.name)}"
            return


def _say(made: Plan, refusals: list[UserError], store: Store) -> None:
    from sweeps.ray_backend.preflight import existing_folder

    chosen = made.recipe
    failed = ""
    if made.failed:
        failed = f", {made.failed} failed before or wait for those"
    if made.pruned:
        failed += f", {made.pruned} pruned"
    out.say(f"{chosen.name}: {chosen.question}", style="bold")
    out.say(
        f"{made.total} cells: {made.done} done{failed}, {made.cells} to run, with {made.steps:,} "
        f"optimisation steps{search_words(chosen.searches, chosen.selection)}. Model: {made.model}."
    )
    out.print(rows_table(_rows(made)))
    print_splits(tables_of(chosen.tasks, chosen.catalog))
    out.say(time_line(made))
    free = shutil.disk_usage(existing_folder(store.root)).free
    out.say(
        f"Disk: about {size_words(made.bytes)} of {size_words(free)} free, and on each machine a cache "
        "of features (10 GiB at most)."
    )
    for line in needs_lines(made.needs, made.hardware.unit):
        out.say(line)
    for line in _class_lines(chosen, store):
        out.say(line)
    for refusal in refusals:
        out.say(headed("In the way:", f" {refusal.message}", "bold red"))
        if refusal.hint:
            out.say(f"  {refusal.hint}")


def needs_lines(needs: Needs, device: str) -> list[str]:
    """What the machines need, one sentence each. device: GPU or core."""
    lines = []
    if needs.checkpoint_minutes:
        size = size_words(needs.checkpoint_bytes) if needs.checkpoint_bytes else "of a size that is not known"
        every = f"Checkpoints: every {needs.checkpoint_minutes:g} min"
        lines.append(f"{every}, {size} in the results folder, removed with each cell.")
    else:
        lines.append("Checkpoints: by time none.")

    each = "GPU of a node" if device == "GPU" else "cell at a time"
    cache = ""
    if needs.cache_bytes:
        cache = f"; on every node {size_words(needs.cache_bytes)} of disk for the cache"
    lines.append(
        f"For every {each}, an estimate: {counted(needs.cores_per_device, 'CPU core')}, "
        f"{size_words(needs.memory_per_device)} of host memory{cache}."
    )

    waiting = waiting_line(needs, device)
    if waiting:
        lines.append(waiting)

    larger = needs.larger_cache
    if larger is not None:
        lines.append(
            f"The cache of features holds {larger.held} of {larger.epochs} epochs of a search on {larger.task}; "
            f"--feature-cache-size {larger.gib} holds all and saves up to {larger.hours:.2g} {device}-hours."
        )
    if needs.gpu_bytes:
        lines.append(
            f"GPU memory of a training, an upper estimate: {size_words(needs.gpu_bytes)} with a batch of {needs.batch} "
            "images in one part. On a GPU with less the batch is computed in parts."
        )
    return lines


def waiting_line(needs: Needs, device: str) -> str:
    """The sentences on a device that waits for images with any number of cores; empty where it does not."""
    from carft.data.decoding import MOST_DECODERS
    from sweeps.plan.planning import InputBound

    if needs.input_bound is None:
        return ""
    why = f"a process decodes in {MOST_DECODERS} threads at most"
    if needs.input_bound is InputBound.LOCK:
        why = "they wait for Python's lock"
    line = (
        f"The decoders of a {device} deliver at most {needs.images_decoded:,.0f} images a second, of "
        f"{needs.images_wanted:,.0f} that it trains on: it waits for them, and an estimate counts that. More cores "
        f"alone do not help, since {why}."
    )
    if needs.cells_per_gpu:
        line += f" --cells-per-gpu {needs.cells_per_gpu} runs as many processes on it."
    return line


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


@dataclass(frozen=True, kw_only=True)
class DoctorSettings(SweepSettings):
    """The settings of a sweep on this machine, and the price of a GPU."""

    recipe: Annotated[
        str, typer.Argument(metavar="[RECIPE]", help="The recipe that will run; without data its miniature.")
    ] = "downstream"
    price_per_gpu_hour: Annotated[
        float | None, option(OUTPUT, "Price of a GPU for an hour, in any currency: also print the cost.", min=0)
    ] = None


@takes(DoctorSettings)
def doctor(settings: DoctorSettings) -> None:
    """Look at this machine before a sweep: GPUs, cores, disks, limits, data, one measured step; then the forecast.

    Writes no record, and takes one to five minutes. Exit code 2 when something would stop the sweep. On a cluster run
    it on every node.

    Example: `python cli.py doctor ood --data ROOT --gpus 8 --price-per-gpu-hour 2.5`
    """
    price = settings.price_per_gpu_hour
    if settings.cluster.get("address"):
        raise UserError("doctor looks at this machine alone.", "Run it on every node, without --address.")
    if price is not None and not settings.gpus:
        raise UserError("--price-per-gpu-hour is for a sweep on GPUs, and --gpus asks for none.", "Give --gpus N too.")

    from sweeps.doctor.checks import examine
    from sweeps.doctor.subject import Subject

    protocol, request = settings.prepared(writable=True)
    subject = Subject(protocol.recipe, request, protocol, err.say)
    checks = []
    for check in examine(subject):
        checks.append(check)
        if not settings.as_json:
            _print_check(check)
    plan, cost = subject.plan, None
    if price is not None:
        cost = {"busy": plan.device_hours * price, "reserved": request.gpus * plan.wall_s / 3600 * price}
    if settings.as_json:
        times = {"wall_s": plan.wall_s, "low_s": plan.low_s, "high_s": plan.high_s}
        forecast = {**times, "basis": plan.rates.basis, "estimate": plan.rates.estimate}
        rows = [{**asdict(check), "ok": check.ok} for check in checks]
        print_json({"checks": rows, "forecast": forecast, "cost": cost})
    else:
        out.say(time_line(plan))
        if cost is not None:
            busy, reserved = f"{cost['busy']:,.2f} for busy GPUs", f"{cost['reserved']:,.2f} with all of them"
            out.say(f"Cost: {busy}, {reserved} from start to end.")
    if any(check.stops for check in checks):
        raise SystemExit(2)


def _print_check(check: Measurement) -> None:
    line = f" {check.name}: {check.measured.removesuffix('.')}."
    if check.ok:
        out.say(headed("OK:", line, "green"))
    elif check.stops:
        out.say(headed("Obstacle:", f"{line} {check.remedy}", "bold red"))
    else:
        out.say(headed("Slower:", f"{line} {check.remedy}", "yellow"))
