"""The pretrained model before training, and a trained one to keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.config.cell import Cell
from carft.config.settings import Precision
from carft_cli.cell import export
from carft_cli.console import err, out, percent, print_json, rows_table
from carft_cli.declare import MORE_RUN, RUN, Options, takes
from carft_cli.options import (
    Data,
    Device,
    ModelOptions,
    OutputOptions,
    Task,
    TasksFile,
    execution_here,
    known_catalog,
    print_run_header,
    task_of_file,
    writable,
)

if TYPE_CHECKING:
    from carft.config.catalog import Catalog

model_group = typer.Typer(no_args_is_help=True, help="The pretrained model before training, and a trained one to keep.")


@dataclass(frozen=True, kw_only=True)
class CheckSettings(ModelOptions, OutputOptions):
    """Everything that `model check` is asked for."""

    protocol: Annotated[dict[str, Any], Options(Cell, RUN, MORE_RUN, only=("precision",), of_recipe=True)]
    task: Task = "imagenet"
    device: Device = "auto"
    data: Data = None
    tasks_file: TasksFile = None


@model_group.command()
@takes(CheckSettings)
def check(settings: CheckSettings) -> None:
    """Measure the zero-shot row and the context row, and hold them against what others measured, before any training.

    Example: `python cli.py model check --task imagenet --data ROOT`
    """
    from carft.config.resolve import specify
    from carft.store.stored_catalog import keep_place

    model, pretrained = settings.weights()
    task, catalog = task_of_file(known_catalog(settings.results), settings.tasks_file, settings.task)
    precision = settings.protocol.get("precision") or _precision_of_sweep(task, catalog)
    cell = specify(task, "zeroshot", {}, model=model, pretrained=pretrained, precision=precision, catalog=catalog)
    store = writable(settings.results, catalog, [cell.task])
    keep_place(store, cell)
    print_run_header(catalog, [cell.task], cell.model, cell.pretrained, settings.data)

    from carft.posthoc.context_check import context_check
    from carft.training.run import run_cell
    from reports.analysis.levels import ContextRecognition, zero_shot_check

    execution = execution_here(settings.data, settings.device)
    run_cell(cell, store, execution, unseal=True)
    rows, recognition = zero_shot_check(store, cell), ContextRecognition.of_cell(store, cell)
    found = context_check(cell, execution, catalog)
    if settings.as_json:
        print_json([{**row, "context": {**asdict(found), "words": found.words}} for row in rows])
    else:
        compared = any(row["reference"] is not None for row in rows)
        out.print(rows_table([_set_row(row, compared) for row in rows]))
        if recognition is not None:
            above = "fine-tuning can lose it" if recognition.is_above_chance else "fine-tuning has none to lose"
            out.say(f"Context recognition: {recognition.words}: {above}.")
        out.say(f"Context distribution on validation: {found.words}")
    if any(row["answer"] == "differs" for row in rows):
        err.print("The zero-shot row differs from every reference: correct the pipeline before any training.")
        raise SystemExit(1)


def _precision_of_sweep(task: str, catalog: Catalog) -> Precision:
    """The precision of the recipe that a sweep on the task takes, so that both have one zero-shot cell."""
    from sweeps.recipes import load_recipe

    recipe = load_recipe(catalog.pool(task, catalog.pools([task])).recipe, catalog=catalog)
    if recipe.without_data and catalog.card(task).scale == "miniature":
        recipe = load_recipe(recipe.without_data, catalog=catalog)
    return recipe.precision


def _set_row(row: Mapping[str, Any], compared: bool) -> dict[str, Any]:
    """A row of :func:`zero_shot_check` for people. compared: whether others measured a set of the task."""
    shown = {"set": row["set"], "images": row["images"], "top-1": percent(row["top1"])}
    shown["95 % interval"] = None if row["low"] is None else f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
    if compared:
        is_known = row["reference"] is not None
        shown["others"] = f"{row['reference']:.2f} ({row['confidence']})" if is_known else "no reference"
        shown["difference"] = f"{row['difference']:+.2f}" if is_known else None
        shown["answer"] = row["answer"]
    return shown | {"contexts": percent(row["context_top1"]), "chance": percent(row["context_chance"])}


model_group.command()(export)
