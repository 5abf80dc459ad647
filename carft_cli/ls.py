"""What there is: tasks, methods, recipes, data sets, cells, studies; and one of them in full."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carft import NUMERICS
from carft.core.errors import UserError, unknown
from carft_cli.answer import Answer, Rows, answering
from carft_cli.console import err
from carft_cli.data import list_data
from carft_cli.options import ResultsOptions, existing, open_results, say_left_out

if TYPE_CHECKING:
    from carft.store.records import Store

#: the folder in which a cell is made again: a fresh one, or nothing would be run
AGAIN = "again"


@answering
def ls(
    kind: Annotated[str, typer.Argument(help="tasks, methods, recipes, data, cells or studies.")],
    name: Annotated[
        str | None, typer.Argument(help="One of them: a cell by the beginning of its id, a recipe also by its file.")
    ] = None,
    *,
    folder: ResultsOptions,
) -> Answer:
    """List what there is, or one of it: of a cell also its metrics and the command that makes it again.

    Example: `python cli.py ls cells 3fa4`
    """
    if kind == "data":
        return list_data(name)
    if kind == "recipes":
        return list_recipes(name, folder.plugin or [])
    if kind not in LISTINGS:
        raise unknown("listing", kind, (*LISTINGS, "data", "recipes"))
    if kind == "cells" and name is not None:
        return one_cell(name, folder.results)
    store = open_results(folder.results)
    rows = LISTINGS[kind](store)
    say_left_out(store)
    if name is not None:
        names = [next(iter(row.values())) for row in rows]
        if name not in names:
            raise unknown(kind.removesuffix("s"), name, names)
        rows = [rows[names.index(name)]]
    return Answer(rows)


def list_tasks(store: Store) -> Rows:
    """Tasks of this package and of installed ones."""
    rows: Rows = []
    for card in store.catalog.cards():
        row = {"task": card.name, "scale": card.scale, "classes": len(card.classes), "suites": list(card.suites)}
        rows.append({**row, "version": card.version})
    return rows


def list_methods(store: Store) -> Rows:
    """Methods of the registry, installed ones included."""
    from carft.catalog.plugins import GROUP
    from carft.core.source import installed

    rows: Rows = []
    for name in dict.fromkeys((*store.catalog.methods, *installed(GROUP))):
        card = store.catalog.method(name)
        rows.append({"method": card.name, "kind": card.kind, "tuned": list(card.space), "summary": card.summary})
    return rows


def list_cells(store: Store) -> Rows:
    """Finished cells of the current NUMERICS. A note names each record that cannot be read."""
    store.require_present()
    rows: Rows = []
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


def list_studies(store: Store) -> Rows:
    """Studies: the number of their trials that have ended, and the winner, its value and settings."""
    store.require_present()
    rows: Rows = []
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
                "done": sum(trial.status == "done" or store.is_done(trial.cell) for trial in study.trials),
                "winner": study.winner or "-",
                "val/top1": value,
                "settings": settings,
            }
        )
    return rows


LISTINGS: Mapping[str, Callable[[Store], Rows]] = {
    "tasks": list_tasks,
    "methods": list_methods,
    "cells": list_cells,
    "studies": list_studies,
}


def one_cell(name: str, results: str) -> Answer:
    """The specification of a cell, its metrics, and the command that makes it again."""
    from carft.catalog.resolve import command

    store = existing(results)
    record = store.read(store.resolve(name))
    spec, metrics = record.cell.as_dict(), store.metrics(record.id)
    # a post-hoc cell needs its parent's records; any other is made again in a folder of its own
    folder = str(results) if record.cell.parents else AGAIN
    again = command(record.cell, folder, unseal=bool(store.evaluated(record.id)), catalog=store.catalog)
    facts = {"cell": record.id, "spec": spec, "metrics": metrics, "command": again, "provenance": record.provenance}
    return Answer(facts)


def list_recipes(recipe: str | None, plugins: list[Path]) -> Answer:
    """The shipped recipes; or one in full, with what it takes from the one that it extends."""
    from carft.catalog.catalog import BUILT_IN
    from carft.core.yaml_file import yaml_of
    from sweeps.recipes.loading import load_recipe, recipe_names

    if recipe is not None:
        loaded = load_recipe(recipe, catalog=BUILT_IN.with_plugins(plugins))
        content = {"name": loaded.name, **loaded.model_dump(exclude_defaults=True)}
        return Answer(content, [yaml_of(content).rstrip()])
    rows: Rows = []
    for name in recipe_names():
        shipped = load_recipe(name)
        counts = {"tasks": len(shipped.tasks), "trials": 0 if shipped.grid else shipped.trials}
        counts |= {"seeds": shipped.seeds, "searches": shipped.searches, "epochs": shipped.training.epochs}
        rows.append({"recipe": shipped.name, "methods": ", ".join(shipped.methods), **counts})
    return Answer(rows)
