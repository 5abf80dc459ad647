"""The settings of `sweep` and `plan`: one object, declared once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.config.settings import ProtocolSettings, SearchSettings, Training
from carft.core.errors import UserError
from carft.training.device import gpus_here
from carft_cli.console import err, split
from carft_cli.declare import MORE_RUN, MORE_WHERE, OUTPUT, RUN, SEARCH, WHERE, Options, option
from carft_cli.options import (
    ExecutionOptions,
    ModelOptions,
    ResultsOptions,
    TasksFilePath,
    named_values,
    say_left_out,
    with_tasks_file,
)
from sweeps.plan.resources import Resources

if TYPE_CHECKING:
    from sweeps.recipes.recipe import Recipe
    from sweeps.search.protocol import Protocol


TRACKED = "tensorboard|wandb|mlflow|optuna"


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """The settings of `sweep` and `plan`."""

    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A shipped recipe, such as downstream, or a file that ends in .yaml."),
    ]
    tasks: Annotated[str | None, option(RUN, "Comma-separated; default: the recipe's, or all of a tasks file.")] = None
    methods: Annotated[str | None, option(RUN, "Comma-separated; default: the recipe's.")] = None
    suites: Annotated[
        str | None, option(MORE_RUN, "Comma-separated held-out suites to evaluate on; default: all of each task.")
    ] = None
    smoke: Annotated[bool, option(RUN, "The smallest sweep: to see that everything runs.", "--smoke")] = False
    search: Annotated[
        dict[str, Any],
        Options(SearchSettings, SEARCH, ("trials", "seeds", "searches", "sampler", "pruner"), of_recipe=True),
    ]
    training: Annotated[dict[str, Any], Options(Training, RUN, of_recipe=True)]
    protocol: Annotated[dict[str, Any], Options(ProtocolSettings, RUN, of_recipe=True)]
    tasks_file: TasksFilePath = None
    space: Annotated[
        list[str] | None,
        option(SEARCH, "NAME=LOW:HIGH of a search range, such as lr=1e-5:1e-2; default: the recipe's."),
    ] = None
    yes: Annotated[
        bool, option(MORE_RUN, "Do not ask before searches change whose held-out sets are open.", "--yes")
    ] = False
    cluster: Annotated[dict[str, Any], Options(Resources, WHERE, ("gpus", "address"))]
    workers_per_cell: Annotated[
        int | None,
        option(MORE_WHERE, "Workers of each cell, through Ray Train; default: as many as keep the GPUs busy.", min=1),
    ] = None
    cells_per_gpu: Annotated[int, option(MORE_WHERE, "Cells that share a GPU, for small models.")] = 1
    retry_failed: Annotated[
        bool, option(MORE_RUN, "Also run cells that failed before for a reason of their own.", "--retry-failed")
    ] = False
    log: Annotated[
        list[str] | None,
        option(OUTPUT, "Tracker that shows finished cells as runs; may be repeated.", metavar=TRACKED),
    ] = None
    starting: ModelOptions
    computing: ExecutionOptions
    folder: ResultsOptions

    def chosen_recipe(self) -> Recipe:
        """The recipe as these settings change it; ``UserError`` for settings that exclude each other."""
        from sweeps.recipes.loading import load_recipe
        from sweeps.recipes.ranges import ranged
        from sweeps.search.learning import require_learning

        tasks, methods, suites = split(self.tasks), split(self.methods), split(self.suites)
        says = "a search range: it needs two numbers above 0, the smaller first"
        ranges = named_values("--space", self.space, search_range, says, "lr=1e-5:1e-2")
        model, pretrained = self.starting.weights()
        catalog = self.folder.catalog()
        recipe = load_recipe(self.recipe, catalog=catalog)
        if self.computing.data is None and recipe.without_data and self.tasks_file is None:
            if tasks is None:
                err.say(
                    f"No --data: drawings are run, the built-in icons, and not the data sets of {self.recipe}. "
                    "For those give their folder: --data ROOT"
                )
            recipe = load_recipe(recipe.without_data, catalog=catalog)
        file = self.tasks_file
        if file is None and recipe.tasks_file is not None:
            tasks, file = tasks or recipe.tasks or None, Path(recipe.tasks_file)
        tasks, catalog = with_tasks_file(catalog, file, tasks)
        recipe = recipe.with_catalog(catalog)
        changed = (recipe.smoked() if self.smoke else recipe).changed(
            tasks,
            methods,
            model=model,
            pretrained=pretrained,
            suites=suites,
            training=self.training,
            **self.search,
            **self.protocol,
        )
        asked = ranged(changed, recipe, ranges, err.say)
        require_learning(asked)
        return asked

    def prepared(self) -> tuple[Protocol, Resources]:
        """What is left of the sweep in its results folder, and what it asks of Ray."""
        from carft.store.stored_catalog import stored_catalog
        from sweeps.ray_backend.connect import with_nodes
        from sweeps.search.protocol import Protocol

        recipe = self.chosen_recipe()
        request = with_nodes(self.resources(recipe), err.say)
        store = self.folder.store
        store.catalog = stored_catalog(store, recipe.catalog)
        say_left_out(store)
        protocol = Protocol(recipe, store, self.retry_failed)
        for remark in protocol.remarks.values():
            err.say(remark)
        return protocol, self.choose_workers(request, protocol)

    @cached_property
    def gpus(self) -> int:
        """GPUs of the sweep: as many as were asked for, by default all of this machine.

        Raises ``UserError`` for a cluster without a number.
        """
        asked: int | None = self.cluster.get("gpus")
        if asked is not None:
            return asked
        if self.cluster.get("address") is not None:
            raise UserError("--address names a cluster: how many of its GPUs?", "Give --gpus N, or --gpus 0.")
        return gpus_here()

    def resources(self, recipe: Recipe) -> Resources:
        """What is asked of Ray for a recipe, with one worker a cell where their number is to be chosen.

        Raises ``UserError`` for numbers that cannot be and for an unknown tracker, ``ModuleNotFoundError`` for a
        tracker whose package is not installed.
        """
        from carft.core.machine import require_gpu_card
        from sweeps.status.trackers import require_trackers

        require_trackers(self.log or [])

        execution = self.computing.execution(
            device="cuda" if self.gpus else "cpu",
            workers=self.workers_per_cell or 1,
            cells_per_gpu=self.cells_per_gpu,
            checkpoint_minutes=recipe.checkpoint_minutes,
        )
        resources = Resources(execution=execution, **{**self.cluster, "gpus": self.gpus})
        resources.check_numbers()
        if recipe.pruner != "none" and execution.workers > 1:
            raise UserError(
                "Trials of several workers are not pruned.", "Leave out --workers-per-cell, or give --pruner none."
            )
        if resources.gpu_model:
            require_gpu_card(resources.gpu_model)
        return resources

    def choose_workers(self, request: Resources, protocol: Protocol) -> Resources:
        """The request with the number of workers a cell that suits what the protocol has left, if none was given."""
        from sweeps.plan.planning import choose_workers_per_cell

        if self.workers_per_cell or protocol.recipe.pruner != "none":
            return request
        chosen = choose_workers_per_cell(request, protocol)
        if chosen != request:
            err.say(f"Each cell is trained by {chosen.execution.workers} workers; others: --workers-per-cell N")
        return chosen


def search_range(text: str) -> tuple[float, float]:
    """LOW:HIGH as numbers; ``ValueError`` for what is no search range."""
    low, high = map(float, text.split(":"))
    if not 0 < low < high < math.inf:
        raise ValueError(text)
    return low, high
