"""Before a sweep: what it would take, and what stands in its way."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carft.core.commands import typed_report
from carft.core.errors import UserError, duration
from carft_cli.console import err, headed, out, print_json, rows_table, typed_again
from carft_cli.declare import takes
from carft_cli.splits import print_splits, split_rows, tables_of
from carft_cli.status import search_words
from carft_cli.sweep_settings import SweepSettings

if TYPE_CHECKING:
    from sweeps.plan.forecast import Forecast
    from sweeps.plan.planning import Needs, Plan
    from sweeps.ray_backend.connect import Resources
    from sweeps.recipes import Recipe


@takes(SweepSettings)
def plan(settings: SweepSettings) -> None:
    """What a sweep would take, and what stands in its way: cells, steps, time, disk, data, weights. Runs no cell.

    Exit code 1 when something stands in the way.

    Example: `python cli.py plan downstream --gpus 8 --data ROOT`
    """
    chosen = settings.chosen_recipe()
    request = settings.resources(chosen)

    from carft.store.failures import settled_failures
    from carft.store.mirror import open_store
    from sweeps.plan.planning import plan_of
    from sweeps.ray_backend.preflight import obstacles, require_space
    from sweeps.search.protocol import Protocol

    store = open_store(settings.results, chosen.catalog)
    protocol = Protocol(chosen, store, {} if settings.retry_failed else settled_failures(store))
    request = settings.choose_workers(request, protocol)
    found = obstacles(chosen, request, err.say)
    made = plan_of(protocol, request, slots_of(request, found))
    try:
        require_space(store.root, made.forecast.bytes + made.needs.checkpoint_bytes)
    except UserError as refusal:
        found.append(refusal)
    downloads = _downloads(chosen)
    if settings.as_json:
        print_json(_as_json(chosen, made, found, downloads))
    else:
        _say(chosen, made, found, downloads, store.root)
        if following := _following(made.forecast, found, settings.results):
            out.say(f"Next: {following}")
    if found:
        raise SystemExit(1)


def _following(forecast: Forecast, found: list[UserError], results: str) -> str:
    """The command that a person runs next; empty where something is in the way."""
    if not (forecast.cells or forecast.failed):
        return typed_report(results)
    if found:
        return ""
    retry = "--retry-failed" if forecast.failed and not forecast.cells else ""
    return typed_again("--json", more=retry, command="sweep")


def time_line(forecast: Forecast) -> str:
    """How long a sweep will take, in words."""
    if not forecast.wall_s:
        return f"Time: not known; from {forecast.basis}."
    range_ = f"{duration(forecast.low_s)} to {duration(forecast.high_s)}"
    return f"Time: about {duration(forecast.wall_s)} ({range_}), {forecast.slots} at a time; from {forecast.basis}."


def slots_of(request: Resources, found: list[UserError]) -> int:
    """Cells at a time: of this machine, or of the cluster, which is asked unless something is in the way."""
    from sweeps.ray_backend.connect import connect
    from sweeps.ray_backend.gpus import concurrency, concurrency_here

    if found and request.gpus:
        return max(1, request.gpus * request.cells_per_gpu // request.workers_per_cell)  # as if they were there
    if request.address is None or found:
        return concurrency_here(request)
    import ray

    try:
        connect(request, err.say)
        return max(1, concurrency(request))
    except UserError as refusal:
        found.append(refusal)
        return concurrency_here(request)
    finally:
        ray.shutdown()


def _downloads(chosen: Recipe) -> list[str]:
    """Where weights that are not here yet will come from."""
    from carft.models.availability import find_weights
    from sweeps.ray_backend.preflight import starts

    places = []
    for model, weights in starts(chosen):
        try:
            places.append(find_weights(model, weights))
        except UserError:
            continue  # an obstacle, named among them
    return [place for place in places if place]


def _as_json(chosen: Recipe, made: Plan, found: list[UserError], downloads: list[str]) -> dict[str, Any]:
    forecast = made.forecast
    plain = {name: value for name, value in asdict(forecast).items() if name != "left"}
    return {
        "recipe": chosen.name,
        "searches": chosen.searches,
        "selection": chosen.selection,
        "model": made.model,
        "hardware": str(made.hardware),
        **plain,
        "raw_s": forecast.wall_s,
        "cells": forecast.cells,
        "steps": forecast.steps,
        "bytes": forecast.bytes,
        "device_hours": made.device_hours,
        "needs": asdict(made.needs),
        "tasks": _rows(chosen, forecast),
        "splits": split_rows(tables_of(chosen.tasks, chosen.catalog)),
        "obstacles": [{"what": one.message, "how": one.hint} for one in found],
        "downloads": downloads,
    }


def _rows(chosen: Recipe, forecast: Forecast) -> list[dict[str, Any]]:
    """A row per task: what is left of it."""
    kinds = ("grid",) if chosen.grid else ("search", "confirm", "curve", "soup")
    rows = []
    for task in chosen.tasks:
        mine = [one for one in forecast.left if one.task == task]
        counts = {kind: sum(one.cells for one in mine if one.kind == kind) for kind in kinds}
        rows.append({"task": task, **counts, "steps": sum(one.jobs * one.steps for one in mine)})
    return rows


def _say(chosen: Recipe, made: Plan, found: list[UserError], downloads: list[str], place: Path) -> None:
    from sweeps.ray_backend.preflight import existing_folder

    forecast, device = made.forecast, "GPU" if made.hardware.device == "cuda" else "core"
    failed = f", {forecast.failed} failed before or wait for those" if forecast.failed else ""
    out.say(f"{chosen.name}: {chosen.question}", style="bold")
    out.say(
        f"{forecast.total} cells: {forecast.done} done{failed}, {forecast.cells} to run, with {forecast.steps:,} "
        f"optimisation steps{search_words(chosen.searches, chosen.selection)}. Model: {made.model}."
    )
    out.print(rows_table(_rows(chosen, forecast)))
    print_splits(tables_of(chosen.tasks, chosen.catalog))
    out.say(f"{time_line(forecast)} {made.device_hours:.3g} {device}-hours.")
    free = shutil.disk_usage(existing_folder(place)).free
    out.say(
        f"Disk: about {forecast.bytes / 2**20:,.0f} MiB of {free / 2**20:,.0f} MiB free, and on each machine a cache "
        "of features (10 GiB at most)."
    )
    for line in needs_lines(made.needs, device):
        out.say(line)
    for source in downloads:
        out.say(f"Weights will be downloaded: {source}")
    for refusal in found:
        out.say(headed("In the way:", f" {refusal.message}", "bold red"))
        if refusal.hint:
            out.say(f"  {refusal.hint}")


def needs_lines(needs: Needs, device: str) -> list[str]:
    """What the machines need, one sentence each. device: GPU or core."""
    each = "GPU of a node" if device == "GPU" else "cell at a time"
    cache = f"; on every node {_gib(needs.cache_bytes)} of disk for the cache" if needs.cache_bytes else ""
    checkpoints = "Checkpoints: by time none."
    if needs.checkpoint_minutes:
        size = _gib(needs.checkpoint_bytes) if needs.checkpoint_bytes else "of a size that is not known"
        every = f"Checkpoints: every {needs.checkpoint_minutes:g} min"
        checkpoints = f"{every}, {size} in the results folder, removed with each cell."
    lines = [
        checkpoints,
        f"For every {each}, an estimate: {needs.cores_per_device} CPU cores, {_gib(needs.memory_per_device)} of host "
        f"memory{cache}.",
    ]
    if needs.gpu_bytes:
        lines.append(
            f"GPU memory of a training, an upper estimate: {_gib(needs.gpu_bytes)} with a batch of {needs.batch} "
            "images in one part. On a GPU with less the batch is computed in parts."
        )
    if needs.workers > 1:
        lines.append(f"Each cell is trained by {needs.workers} workers.")
    return lines


def too_few_cores(needs: Needs, device: str, cores: int) -> str:
    """The sentence for machines whose cores decode images more slowly than the device trains; empty for others.

    device: GPU or core. cores: for each device.
    """
    if device != "GPU" or cores >= needs.cores_per_device:
        return ""
    return (
        f"There are {cores} CPU cores for each GPU, and {needs.cores_per_device} would decode images as fast as it "
        "trains: GPUs will wait for images."
    )


def _gib(number: float) -> str:
    return f"{number / 2**30:.2g} GiB"
