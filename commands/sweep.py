"""Many cells: sweep."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from commands.console import AsJson, Results, err, out, print_json, split
from commands.options import (
    FEATURES,
    Accumulation,
    Activation,
    CheckpointEvery,
    Compile,
    Data,
    FeatureCache,
    Model,
    RandomWeights,
    SkipUnreadable,
    Weights,
    execution_settings,
    say_setting,
    weights,
    writable,
)


def sweep(
    recipe: Annotated[str, typer.Argument(help="Name of the recipe, such as downstream.")],
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; default: the recipe's.")] = None,
    methods: Annotated[str | None, typer.Option(help="Comma-separated; default: the recipe's.")] = None,
    trials: Annotated[int | None, typer.Option(help="Search trials of every trained method on every task.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Confirm seeds.")] = None,
    model: Model = None,
    pretrained: Weights = None,
    activation: Activation = None,
    random_weights: RandomWeights = False,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16; default: the recipe's.")] = None,
    gpus: Annotated[int, typer.Option(help="GPUs for the whole sweep; 0 runs on CPU cores.")] = 0,
    workers_per_cell: Annotated[int, typer.Option(help="Workers of each cell; above 1 through Ray Train.")] = 1,
    address: Annotated[str | None, typer.Option(help="host:port or ray://host:port of a running cluster.")] = None,
    accumulation: Accumulation = 1,
    compile_: Compile = False,
    checkpoint_every: CheckpointEvery = 0,
    data: Data = None,
    skip_unreadable: SkipUnreadable = False,
    feature_cache: FeatureCache = FEATURES,
    results: Results = Path("results"),
    smoke: Annotated[bool, typer.Option("--smoke", help="As small as it can be: does everything run?")] = False,
    as_json: AsJson = False,
) -> None:
    """Search, select on validation, confirm with fresh seeds, unseal. Runs only what is missing.

    Example: `python cli.py sweep downstream --gpus 8`
    """
    from sweeps.cluster import Request
    from sweeps.recipes import load_recipe

    chosen = load_recipe(recipe)
    if data is None and chosen.without_data and tasks is None:
        chosen = load_recipe(chosen.without_data)
    model, pretrained = weights(model, pretrained, activation, random_weights)
    start = {"model": model, "pretrained": pretrained, "precision": precision}
    chosen = (chosen.smoked() if smoke else chosen).changed(split(tasks), split(methods), trials, seeds, **start)
    settings = execution_settings(accumulation, compile_, checkpoint_every, data, skip_unreadable, feature_cache)
    request = Request(gpus, workers_per_cell, address, settings)
    request.check()
    store = writable(results)
    from carft.data.catalog import card

    first = card(chosen.tasks[0])
    say_setting(chosen.tasks, chosen.model or first.model, chosen.pretrained or first.pretrained)

    from sweeps.board import Board, winners_table
    from sweeps.launch import run_sweep

    board = Board(err)
    try:
        protocol, summary = run_sweep(chosen, store, request, board.watch)
    finally:
        board.close()
    if as_json:
        counts = ("cells_done", "cells_failed", "cells_reused", "wall_s")
        print_json({name: getattr(summary, name) for name in counts})
    else:
        out.print(winners_table(protocol))
        out.print(
            f"{summary.cells_done} cells done, {summary.cells_reused} found done, {summary.cells_failed} failed, "
            f"{summary.wall_s:.0f} s. Records: {results}"
        )
        for key, reason in protocol.failed.items():
            out.print(f"failed: {key}: {reason}")
        if summary.stopped:
            out.print("Stopped. Finished cells are kept; the same command goes on where it stopped.")
        again = shlex.join(["python", "cli.py", *sys.argv[1:]])
        nothing_left = not (summary.stopped or summary.cells_failed)
        out.print(f"Next: {f'python cli.py report --results {results}' if nothing_left else again}", soft_wrap=True)
    if summary.stopped:
        raise SystemExit(130)
    if summary.cells_failed:
        raise SystemExit(1)
