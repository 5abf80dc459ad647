"""One cell: train it, combine it with others, export it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.config.cell import Cell, Reading, Training
from carft.config.settings import ProtocolSettings
from carft.core.errors import UserError, unknown
from carft_cli.answer import Answer, Rows, answering
from carft_cli.console import err, split
from carft_cli.declare import OUTPUT, RUN, Options, option
from carft_cli.options import (
    Data,
    Device,
    ExecutionOptions,
    ModelOptions,
    ResultsOptions,
    ResultsPath,
    TaskName,
    TasksFilePath,
    execution_here,
    existing,
    given,
    named_values,
    print_run_header,
    task_of_file,
)

if TYPE_CHECKING:
    from carft.store.records import Store
    from carft.training.execution import Execution


@answering
def train(
    task: TaskName,
    method: Annotated[str, option(RUN, "Name of the method; see: ls methods")],
    *,
    lr: Annotated[float | None, option(RUN, "Peak learning rate.")] = None,
    kl_weight: Annotated[float | None, option(RUN, "Weight of CAR-FT's KL term; 0 is plain ft.")] = None,
    seed: Annotated[int, option(RUN, "Order and augmentation of the images.", min=0)] = 0,
    training: Annotated[dict[str, Any], Options(Training, RUN, ("epochs", "batch_size"))],
    set_: Annotated[list[str] | None, option(RUN, "NAME=VALUE of any other hyperparameter.", "--set")] = None,
    reading: Annotated[dict[str, Any], Options(Reading, RUN)],
    protocol: Annotated[dict[str, Any], Options(ProtocolSettings, RUN)],
    device: Device = "auto",
    tasks_file: TasksFilePath = None,
    unseal: Annotated[bool, option(OUTPUT, "Evaluate on the held-out sets too: test set, suites.", "--unseal")] = False,
    keep_weights: Annotated[bool, option(OUTPUT, "Keep the trained weights.", "--keep-weights")] = False,
    starting: ModelOptions,
    computing: ExecutionOptions,
    folder: ResultsOptions,
) -> Answer:
    """Run one cell in this process, without Ray. A finished cell is not run again.

    Example: `python cli.py train --task icons-3/mix-7 --method car_ft --lr 3e-4 --kl-weight 1`
    """
    from carft import train as run
    from carft.config.registry import METHODS

    if folder.plugin and method in METHODS:
        words = f"'{method}' is a method of this package, and runs in no process that has loaded a plugin."
        raise UserError(words, "Leave --plugin out.")
    hyperparameters = named_values("--set", set_, float, "a hyperparameter with a number", "l2_weight=0.1")
    model, pretrained = starting.weights()
    task, catalog = task_of_file(folder.catalog(), tasks_file, task)
    result = run(
        task,
        method,
        hyperparameters | given(lr=lr, kl_weight=kl_weight),
        seed=seed,
        training=Training(**training),
        reading=Reading(**reading),
        model=model,
        pretrained=pretrained,
        **protocol,
        results=folder.results,
        execution=computing.execution(device=device),
        catalog=catalog,
        unseal=unseal,
        keep_weights=keep_weights,
        log=lambda line: err.print(line, style="dim"),
        announce=lambda cell: print_run_header(catalog, [cell.task], cell),
    )
    return Answer(asdict(result))


@answering
def combine(
    method: Annotated[
        str, typer.Argument(help="wise_ft, soup, model_stock, lines, output_average or dawin (docs/methods.md).")
    ],
    cells: Annotated[
        str, typer.Option(help="Id, or its beginning, of a trained cell; of soup and model_stock several, with commas.")
    ],
    greedy: Annotated[bool, typer.Option("--greedy", help="Of soup: only cells that help on validation.")] = False,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Of lines: the part that the first layer keeps.")] = 0.0,
    data: Data = None,
    results: ResultsPath = "results",
) -> Answer:
    """Make cells of finished ones without training: WiSE-FT's whole curve, a soup, others. Evaluates on every set.

    Example: `python cli.py combine wise_ft --cells 3fa4`
    """
    store, execution = existing(results, writable=True), execution_here(data)
    parents = [store.read(store.resolve(cell)).cell for cell in split(cells) or []]
    facts: Rows = []
    for made, status in _combined(method, parents, greedy, alpha, store, execution).items():
        record = store.read(made)
        fact = {"cell": made, "status": status, "hyperparameters": dict(record.cell.hyperparameters)}
        fact["metrics"] = store.metrics(made)
        if method == "soup":
            fact["members"] = record.made_with.members
        facts.append(fact)
    return Answer(facts if method == "wise_ft" else facts[0])


def _combined(
    method: str, parents: list[Cell], greedy: bool, alpha: float, store: Store, execution: Execution
) -> Mapping[str, str]:
    """Id -> status of each cell that a method makes of others."""
    from carft.config.registry import COMBINED, METHODS, SoupRule
    from carft.posthoc.combine import run_combination
    from carft.posthoc.soup import run_soup
    from carft.posthoc.wise_ft import run_curve

    if method == "wise_ft":
        if len(parents) > 1:
            raise UserError("wise_ft is made of one trained cell.", "Name it: --cells ID")
        return run_curve(parents[0], store, execution)
    if method == "soup":
        made, status = run_soup(parents, SoupRule.GREEDY if greedy else SoupRule.UNIFORM, store, execution)
    elif method in COMBINED:
        hyperparameters = {"alpha": alpha} if "alpha" in METHODS[method].space else {}
        made, status = run_combination(method, parents, hyperparameters, store, execution)
    else:
        raise unknown("method of combine", method, ("wise_ft", "soup", *COMBINED))
    return {made: status}


model_group = typer.Typer(no_args_is_help=True, help="A trained model to keep.")


@model_group.command()
@answering
def export(
    cell: Annotated[str, typer.Argument(help="Id of a finished cell, or its beginning.")],
    to: Annotated[Path, typer.Option("--to", help="A new folder.")],
    data: Data = None,
    results: ResultsPath = "results",
) -> Answer:
    """Write a trained model in open_clip's own folder format, with class head and model card.

    Example: `python cli.py model export 3fa4 --to my-model`
    """
    from carft.posthoc.export import export as write

    store, execution = existing(results), execution_here(data)
    paths = write(store.resolve(cell), store, to, execution)
    load = f"Load it: open_clip.create_model_and_transforms('local-dir:{to.resolve()}')"
    return Answer(paths, [*map(str, paths), load])
