"""Many cells: sweep."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carft.errors import Refusal
from commands.console import AsJson, Results, err, out, print_json, split
from commands.options import (
    FEATURES,
    Accumulation,
    Activation,
    CheckpointEvery,
    Compile,
    Data,
    FeatureCache,
    IdDomains,
    Model,
    OodDomains,
    RandomWeights,
    SkipUnreadable,
    Weights,
    execution_settings,
    say_setting,
    weights,
    with_domains,
    writable,
)
from commands.status import busy_line

if TYPE_CHECKING:
    from sweeps.launch import Summary
    from sweeps.protocol import Protocol
    from sweeps.states import State


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
    id_domains: IdDomains = None,
    ood_domains: OodDomains = None,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="folder: tasks: one task per domain that is held out.")
    ] = False,
    oracle: Annotated[
        bool,
        typer.Option("--oracle", help="Afterwards unseal the search cells too: what selection on test would give."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also run cells that failed before for a reason of their own.")
    ] = False,
    hang_after: Annotated[
        float, typer.Option(min=0, help="Seconds without progress after which a cell is ended; 0 waits for ever.")
    ] = 1800,
    results: Results = Path("results"),
    smoke: Annotated[bool, typer.Option("--smoke", help="As small as it can be: does everything run?")] = False,
    as_json: AsJson = False,
) -> None:
    """Search, select on validation, confirm with fresh seeds, unseal. Runs only what is missing.

    Exit code: 0 when everything is done, 1 when cells failed, 2 when refused, 130 after Ctrl-C, 143 after SIGTERM.

    Example: `python cli.py sweep downstream --gpus 8`
    """
    from sweeps.cluster import Request
    from sweeps.recipes import load_recipe

    chosen = load_recipe(recipe)
    named = split(tasks)
    own = any(task.startswith("folder:") for task in named or [])
    if data is None and chosen.without_data and not own:
        chosen = load_recipe(chosen.without_data)
    if leave_one_out:
        named = _held_out(named)
    elif named:
        named = [with_domains(task, id_domains, ood_domains) for task in named]
    model, pretrained = weights(model, pretrained, activation, random_weights)
    start = {"model": model, "pretrained": pretrained, "precision": precision}
    chosen = (chosen.smoked() if smoke else chosen).changed(named, split(methods), trials, seeds, **start)
    chosen = chosen.model_copy(update={"oracle": oracle or chosen.oracle})
    settings = execution_settings(accumulation, compile_, checkpoint_every, data, skip_unreadable, feature_cache)
    request = Request(gpus, workers_per_cell, address, settings, hang_after)
    request.check()
    store = writable(results)
    from carft.data.catalog import card

    first = card(chosen.tasks[0])
    say_setting(chosen.tasks, chosen.model or first.model, chosen.pretrained or first.pretrained, data)

    from sweeps.board import Board
    from sweeps.launch import run_sweep
    from sweeps.reporter import Reporter

    board, reporter = Board(err), Reporter(store, chosen.name)

    def watch(protocol: Protocol) -> Callable[[], None]:
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

    outcome = "broken"
    try:
        protocol, summary = run_sweep(chosen, store, request, watch, say, retry_failed)
        outcome = "stopped" if summary.stopped else "done"
    finally:
        board.close()
        state = reporter.close(outcome)
    if as_json:
        counts = ("cells_done", "cells_failed", "cells_reused", "wall_s")
        print_json({**{name: getattr(summary, name) for name in counts}, "failed": protocol.failed})
    else:
        _say_outcome(protocol, summary, results, state)
    if summary.stopped:
        raise SystemExit(128 + summary.stopped)
    if summary.cells_failed:
        raise SystemExit(1)


def _say_outcome(protocol: Protocol, summary: Summary, results: Path, state: State | None) -> None:
    """What a sweep came to, for people: winners, counts, what failed and why, and what to do next."""
    from carft.failures import PASSING, failures
    from sweeps.board import winners_table

    out.print(winners_table(protocol))
    out.print(
        f"{summary.cells_done} cells done, {summary.cells_reused} found done, {summary.cells_failed} failed, "
        f"{summary.wall_s:.0f} s. Records: {results}"
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
        out.print(f"Curves and studies: python cli.py results events --results {results}", soft_wrap=True)
    out.print(f"Next: {f'python cli.py report --results {results}' if nothing_left else again}", soft_wrap=True)


def _held_out(tasks: list[str] | None) -> list[str]:
    """One task per domain of every folder, that domain held out."""
    from carft.data.folder.cards import leave_one_out
    from carft.data.folder.naming import is_folder, parse

    if not tasks or not all(map(is_folder, tasks)):
        raise Refusal("--leave-one-out is for --tasks folder:PATH.", "DomainBed has a recipe: sweep domainbed")
    return [held_out for task in tasks for held_out in leave_one_out(parse(task).path)]
