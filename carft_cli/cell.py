"""One cell: train it, combine it with others, export it; and the pretrained model before training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.config.cell import Cell, Reading, Training
from carft.config.settings import ProtocolSettings
from carft.core.errors import UserError, unknown
from carft_cli.answer import Answer, Shown, answering, bold
from carft_cli.console import err, percent, split
from carft_cli.declare import OUTPUT, RUN, Options, option
from carft_cli.options import (
    Data,
    Device,
    ExecutionOptions,
    ModelOptions,
    PluginOptions,
    ResultsOptions,
    ResultsPath,
    TaskName,
    TasksFilePath,
    begin_run,
    execution_here,
    existing,
    given,
    named_values,
    print_run_header,
    task_of_file,
)

if TYPE_CHECKING:
    from carft.catalog.catalog import Catalog
    from carft.store.records import Store
    from carft.training.execution import Execution


@dataclass(frozen=True, kw_only=True)
class TrainSettings(ModelOptions, ExecutionOptions, PluginOptions):
    """Everything that `train` is asked for."""

    task: TaskName
    method: Annotated[str, option(RUN, "Name of the method; see: ls methods")]
    lr: Annotated[float | None, option(RUN, "Peak learning rate.")] = None
    kl_weight: Annotated[float | None, option(RUN, "Weight of CAR-FT's KL term; 0 is plain ft.")] = None
    seed: Annotated[int, option(RUN, "Order and augmentation of the images.", min=0)] = 0
    training: Annotated[dict[str, Any], Options(Training, RUN, ("epochs", "batch_size"))]
    set_: Annotated[list[str], option(RUN, "NAME=VALUE of any other hyperparameter.", "--set")] = field(
        default_factory=list
    )
    reading: Annotated[dict[str, Any], Options(Reading, RUN)]
    protocol: Annotated[dict[str, Any], Options(ProtocolSettings, RUN)]
    device: Device = "auto"
    tasks_file: TasksFilePath = None
    unseal: Annotated[bool, option(OUTPUT, "Evaluate on the held-out sets too: test set, suites.", "--unseal")] = False
    keep_weights: Annotated[bool, option(OUTPUT, "Keep the trained weights.", "--keep-weights")] = False

    def asked(self) -> tuple[dict[str, Any], Catalog]:
        """What :func:`carft.train` is given of the cell, and the catalog that knows it."""
        from carft.config.registry import METHODS

        if self.plugin and self.method in METHODS:
            words = f"'{self.method}' is a method of this package, and runs in no process that has loaded a plugin."
            raise UserError(words, "Leave --plugin out.")
        catalog = self.catalog()
        named = given(lr=self.lr, kl_weight=self.kl_weight)
        more = named_values("--set", self.set_, float, "a hyperparameter with a number", "l2_weight=0.1")
        twice = named.keys() & more.keys()
        if twice:
            raise UserError(f"{', '.join(sorted(twice))} is given twice, as an option and by --set.", "Give it once.")
        card = catalog.method(self.method)
        for name in card.own_training:
            if name in self.training:
                raise UserError(f"'{self.method}' has no --{name}: it never uses one.", "Leave the option out.")
        model, pretrained = self.weights()
        task, catalog = task_of_file(catalog, self.tasks_file, self.task)
        asked = {
            "task": task,
            "method": self.method,
            "hyperparameters": named | more,
            "seed": self.seed,
            "training": Training(**self.training),
            "reading": Reading(**self.reading),
            "model": model,
            "pretrained": pretrained,
            **self.protocol,
        }
        return asked, catalog


@answering
def train(settings: TrainSettings) -> Answer:
    """Run one cell in this process, without Ray. A finished cell is not run again.

    Example: `python cli.py train --task icons-3/mix-7 --method car_ft --lr 3e-4 --kl-weight 1`
    """
    from carft import train as run

    asked, catalog = settings.asked()
    result = run(
        **asked,
        results=settings.results,
        execution=settings.execution(device=settings.device),
        catalog=catalog,
        unseal=settings.unseal,
        keep_weights=settings.keep_weights,
        log=lambda line: err.print(line, style="dim"),
        announce=lambda cell: print_run_header(catalog, [cell.task], cell, settings.data),
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
    points: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for made, status in _combined(method, parents, greedy, alpha, store, execution).items():
        record, metrics = store.read(made), store.metrics(made)
        point = {"cell": made, "status": status, "metrics": metrics}
        row = {"cell": made, "status": status, **record.cell.hyperparameters}
        for name in ("val/top1", "test/top1", "ood/mean/top1"):
            row[name] = percent(metrics.get(name))
        if method == "soup":
            point["members"] = record.made_with.members
            row["members"] = f"{len(record.made_with.members)} of {len(parents)}"
        points.append(point)
        rows.append(row)
    return Answer(points if method == "wise_ft" else points[0], [rows])


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


model_group = typer.Typer(no_args_is_help=True, help="The pretrained model before training, and a trained one to keep.")


@dataclass(frozen=True, kw_only=True)
class CheckSettings(ModelOptions, ResultsOptions):
    """Everything that `model check` is asked for."""

    task: TaskName = "imagenet"
    device: Device = "auto"
    data: Data = None
    tasks_file: TasksFilePath = None


@model_group.command()
@answering
def check(settings: CheckSettings) -> Answer:
    """Measure the zero-shot row and the context row, and hold them against what others measured, before any training.

    Example: `python cli.py model check --task imagenet --data ROOT`
    """
    from carft.catalog.resolve import specify

    model, pretrained = settings.weights()
    task, catalog = task_of_file(settings.catalog(), settings.tasks_file, settings.task)
    precision = _precision_of_sweep(task, catalog)
    cell = specify(task, "zeroshot", {}, model=model, pretrained=pretrained, precision=precision, catalog=catalog)
    store = begin_run(settings.results, catalog, [cell.task], [], cell, settings.data)

    from carft.posthoc.context_check import context_check
    from carft.training.run import run_cell
    from reports.analysis.levels import ClassRecognition, ContextRecognition, unknown_classes, zero_shot_check

    execution = execution_here(settings.data, settings.device)
    run_cell(cell, store, execution, unseal=True)
    rows, recognition = zero_shot_check(store, cell), ContextRecognition.of_cell(store, cell)
    divergence = context_check(cell, execution, catalog)
    context = {**asdict(divergence), "words": divergence.words}
    people: list[Shown] = [rows]
    if recognition is not None:
        above = "fine-tuning can lose it" if recognition.is_above_chance else "fine-tuning has none to lose"
        people.append(f"Context recognition: {recognition.words}: {above}.")
    people.append(f"Context distribution on validation: {divergence.words}")
    people.append(bold(unknown_classes(ClassRecognition.of_cell(store, cell))))
    differs = any(row["answer"] == "differs" for row in rows)
    if differs:
        err.say("The zero-shot row differs from every reference: correct the pipeline before any training.")
    return Answer([{**row, "context": context} for row in rows], people, code=int(differs))


def _precision_of_sweep(task: str, catalog: Catalog) -> str:
    """The precision of the recipe that a sweep on the task takes, so that both have one zero-shot cell."""
    from sweeps.recipes.loading import load_recipe

    recipe = load_recipe(catalog.pool(task, catalog.pools([task])).recipe, catalog=catalog)
    if recipe.without_data and catalog.card(task).scale == "miniature":
        recipe = load_recipe(recipe.without_data, catalog=catalog)
    return recipe.precision


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
