"""What there is: tasks, methods, recipes, cells; and a results folder as a thing: tidied, merged, packed, unpacked."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft import NUMERICS
from carft.core.errors import UserError, first_of, typed, typed_report, unknown
from carft_cli.console import counted, err, metrics_table, out, print_json, print_rows, rows_table
from carft_cli.options import PLUGIN, AsJson, ResultsPath, existing, open_results, results_path, say_left_out

if TYPE_CHECKING:
    from carft.store.records import Store
    from sweeps.recipes.recipe import Recipe

PrintedRows = list[dict[str, Any]]
results_group = typer.Typer(
    no_args_is_help=True,
    help="A results folder as a thing: tidied, merged, published, unpacked.",
    rich_markup_mode="markdown",
)
#: rows that a person is shown of a long list
FEW = 20


@results_group.command()
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it, only say what would be removed.")] = False,
    results: ResultsPath = "results",
    as_json: AsJson = False,
) -> None:
    """Remove what nobody needs: half-written files, old checkpoints, weights that are used up.

    Example: `python cli.py results gc`
    """
    from carft.store.gc import leftovers, remove

    store = existing(results, writable=yes)
    unneeded = leftovers(store)
    if yes:
        remove(store, unneeded)
    rows: PrintedRows = []
    size = 0
    for file in unneeded:
        rows.append({"path": str(file.path), "bytes": file.size, "why": file.why})
        size += file.size
    if as_json:
        return print_json({"removed": yes, "leftovers": rows})
    out.print(rows_table(rows[:FEW], "nothing to remove"))
    if len(rows) > FEW:
        out.say(f"and {len(rows) - FEW} more; all with --json")
    total = f"{len(rows)} leftovers, {size / 2**20:.1f} MiB"
    if yes:
        out.say(f"{total}, removed.")
    elif rows:
        out.say(f"{total}. Nothing was removed. Remove: --yes")
    else:
        out.say(f"{total}. Nothing was removed.")


@results_group.command()
def merge(
    first: Annotated[str, typer.Argument(parser=results_path, help="A results folder.")],
    second: Annotated[str, typer.Argument(parser=results_path, help="Another, from another machine or lab.")],
    to: Annotated[Path, typer.Option("--to", help="The folder to write; it must not exist yet.")],
    as_json: AsJson = False,
) -> None:
    """Merge two results folders into a new one. Different results for the same cell or study are refused.

    Example: `python cli.py results merge results other-results --to both`
    """
    from carft.store.merge import merge as merge_folders

    merged = merge_folders(existing(first, weights=True), existing(second, weights=True), to)
    taken: Counter[int] = Counter()
    shared = 0
    for sources in merged.sources.values():
        taken[sources[0]] += 1
        shared += len(sources) == 2
    counts = {"from_first": taken[0], "from_second": taken[1]}
    if as_json:
        return print_json({**counts, "shared": shared, "corrupt": merged.corrupt})
    for cell, why in merged.corrupt.items():
        out.say(f"left out: {cell}: {why}")
    out.say(
        f"{to}: {counts['from_first']} cells from {first}, {counts['from_second']} from {second}; "
        f"{shared} were in both.",
    )
    out.say(f"Next: {typed_report(to)}")


@results_group.command()
def export(
    archive: Annotated[Path, typer.Argument(help="The archive to write, such as results.zip.")],
    weights: Annotated[bool, typer.Option("--weights", help="Also the trained weights.")] = False,
    compact: Annotated[
        bool,
        typer.Option("--compact", help="Predictions without logits, no histories of search trials: a small archive."),
    ] = False,
    failures: Annotated[
        bool, typer.Option("--failures", help="Also reasons, tracebacks and logs of failed cells; they name files.")
    ] = False,
    results: ResultsPath = "results",
    as_json: AsJson = False,
) -> None:
    """One archive to publish: records, predictions, studies, a manifest of digests, the licences of the data.

    Example: `python cli.py results export results.zip`
    """
    from carft.store.archive import pack, private_paths

    store = existing(results, weights=weights)
    paths = private_paths(store)
    if paths:
        err.say(f"Note: the archive will hold {counted(len(paths), 'path')} of this machine:")
    for path, files in list(paths.items())[:FEW]:
        err.say(f"  {path} in {first_of(files, 1)}")
    if len(paths) > FEW:
        err.say(f"  and {len(paths) - FEW} more; all with --json")
    failed = len(store.failed())
    if failed and failures:
        err.say(f"Note: the archive will hold reason, traceback and log of {counted(failed, 'failed cell')}.")
    packed = pack(store, archive, weights, compact, failures)
    if as_json:
        return print_json({"archive": str(archive), "private": paths, **packed})
    _say_packed(packed)
    out.say(f"Written: {archive} ({archive.stat().st_size / 2**20:.1f} MiB)")
    out.say(f"Elsewhere: {typed('results', 'import', archive.name, '--to', archive.stem)}")


@results_group.command("import")
def import_(
    archive: Annotated[Path, typer.Argument(help="An archive that `results export` wrote.")],
    to: Annotated[Path, typer.Option("--to", help="The results folder to write; it must not exist yet.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before more than 1 GB is unpacked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Unpack an archive, every byte checked against its manifest.

    Example: `python cli.py results import results.zip --to theirs`
    """
    from carft.store.archive import unpack

    def accept(size: int) -> bool:
        """Ask a person at a terminal; a script says --yes."""
        return yes or (sys.stdin.isatty() and typer.confirm(f"It unpacks to {size / 1e9:.1f} GB. Go on?", err=True))

    packed = unpack(archive, to, accept)
    if as_json:
        return print_json({"results": to, "report": None, **packed})
    _say_packed(packed)
    out.say(f"Next: {typed_report(to)}")


def _say_packed(packed: dict[str, Any]) -> None:
    unpacked = f"{packed['cells']} cells, {packed['files']} files, {packed['size'] / 2**20:.1f} MiB unpacked."
    out.say(unpacked)
    for part in packed["data"]:
        out.say(f"  {part['task']} ({part['version']}): {part['licence']}")
    out.say(f"Fingerprint: {packed['fingerprint']}")


#: the folder in which `show` proposes to make a cell again: a fresh one, or nothing would be run
AGAIN = "again"


def ls(
    kind: Annotated[str, typer.Argument(help="tasks, methods, cells or studies.")],
    results: ResultsPath = "results",
    as_json: AsJson = False,
) -> None:
    """List what there is.

    Example: `python cli.py ls tasks`
    """
    from carft.catalog.catalog import BUILT_IN

    if kind not in LISTINGS:
        raise unknown("listing", kind, LISTINGS)
    store = open_results(results, BUILT_IN)
    rows = LISTINGS[kind](store)
    say_left_out(store)
    if as_json:
        return print_json(rows)
    print_rows(rows, "nothing yet")


def list_tasks(store: Store) -> PrintedRows:
    """Tasks of this package and of installed ones."""
    rows: PrintedRows = []
    for card in store.catalog.cards():
        row = {"task": card.name, "scale": card.scale, "classes": len(card.classes), "suites": list(card.suites)}
        rows.append({**row, "version": card.version})
    return rows


def list_methods(store: Store) -> PrintedRows:
    """Methods of the registry, installed ones included."""
    from carft.catalog.plugins import GROUP
    from carft.core.source import installed

    rows: PrintedRows = []
    for name in dict.fromkeys((*store.catalog.methods, *installed(GROUP))):
        card = store.catalog.method(name)
        if card.removed_at:
            continue
        rows.append({"method": card.name, "kind": card.kind, "tuned": list(card.space), "summary": card.summary})
    return rows


def list_cells(store: Store) -> PrintedRows:
    """Finished cells of the current NUMERICS. A note names each record that cannot be read."""
    store.require_present()
    rows: PrintedRows = []
    for name in store.ids():
        try:
            record = store.read(name)
        except UserError as error:
            err.say(f"Left out: {error.message}")
            continue
        if record.numerics != NUMERICS:
            continue
        cell = record.cell
        rows.append(
            {
                "cell": record.id,
                "task": cell.task,
                "method": cell.method,
                "hyperparameters": ", ".join(f"{key}={value:.4g}" for key, value in cell.hyperparameters.items()),
                "seed": cell.seed,
                "val/top1": record.metrics["val/top1"],
                "unsealed": bool(store.evaluation_paths(record.id)),
            }
        )
    return rows


def list_studies(store: Store) -> PrintedRows:
    """Studies: the number of their trials that have ended, and the winner, its value and settings."""
    store.require_present()
    rows: PrintedRows = []
    for study in store.readable_studies():
        value, settings = None, None
        for trial in study.trials:
            if trial.cell == study.winner:
                value = store.read(trial.cell).metrics["val/top1"] if store.is_done(trial.cell) else None
                settings = ", ".join(f"{name}={tried:.4g}" for name, tried in trial.parameters.items())
        rows.append(
            {
                "study": study.id,
                "task": study.task,
                "method": study.method,
                "epochs": study.training.epochs,
                "trials": len(study.trials),
                "done": sum(trial.status == "done" for trial in study.trials),
                "winner": study.winner or "-",
                "val/top1": value,
                "settings": settings,
            }
        )
    return rows


LISTINGS: Mapping[str, Callable[[Store], PrintedRows]] = {
    "tasks": list_tasks,
    "methods": list_methods,
    "cells": list_cells,
    "studies": list_studies,
}


def show(
    cell: Annotated[str, typer.Argument(help="Id of a finished cell, or its beginning.")],
    results: ResultsPath = "results",
    as_json: AsJson = False,
) -> None:
    """Show a cell: its specification, its metrics and the exact command that makes it again.

    Example: `python cli.py show 3fa4`
    """
    from carft.catalog.resolve import command

    store = existing(results)
    record = store.read(store.resolve(cell))
    metrics = store.metrics(record.id)
    # a post-hoc cell needs its parent's records; any other is made again in a folder of its own
    folder = str(results) if record.cell.parents else AGAIN
    again = command(record.cell, folder, unseal=bool(store.evaluated(record.id)), catalog=store.catalog)
    if as_json:
        spec = record.cell.as_dict()
        return print_json(
            {"cell": record.id, "spec": spec, "metrics": metrics, "command": again, "provenance": record.provenance}
        )
    out.say(f"Cell {record.id}", style="bold")
    out.print_json(data=record.cell.as_dict())
    out.print(metrics_table(metrics))
    out.say("Make it again:", style="bold")
    out.say(again)


def recipes(
    recipe: Annotated[str | None, typer.Argument(help="A shipped recipe, or a YAML file; default: all.")] = None,
    plugin: Annotated[list[Path] | None, typer.Option("--plugin", help=PLUGIN)] = None,
    as_json: AsJson = False,
) -> None:
    """List the shipped recipes, or print one in full, with what it takes from the one that it extends.

    Example: `python cli.py recipes downstream`
    """
    from carft.catalog.catalog import BUILT_IN
    from carft.core.yaml_file import yaml_of
    from sweeps.recipes.loading import load_recipe, recipe_names

    if recipe is None:
        rows = [_recipe_row(load_recipe(name)) for name in recipe_names()]
        if as_json:
            return print_json(rows)
        return out.print(rows_table(rows))
    loaded = load_recipe(recipe, catalog=BUILT_IN.with_plugins(plugin or []))
    content = {"name": loaded.name, **loaded.model_dump(exclude_defaults=True)}
    if as_json:
        return print_json(content)
    out.say(yaml_of(content).rstrip())


def _recipe_row(recipe: Recipe) -> dict[str, Any]:
    trials = 0 if recipe.grid else recipe.trials
    counts = {"tasks": len(recipe.tasks), "trials": trials, "seeds": recipe.seeds, "searches": recipe.searches}
    return {"recipe": recipe.name, "methods": ", ".join(recipe.methods), **counts, "epochs": recipe.training.epochs}
