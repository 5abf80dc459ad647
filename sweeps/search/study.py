"""A study, one search for one (task, method, reading), and the jobs of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal

from carft.config.cell import PROTOCOL, Cell
from carft.config.registry import SOUP_RULES, WISE_ALPHAS, MethodCard, Range
from carft.config.resolve import interpolation
from carft.config.study import SOBOL, identity, search_seed_of, study_id, trial_parameters
from carft.config.weights import record_form
from sweeps.recipes import Recipe
from sweeps.recipes.readings import TEMPERATURES, Choice

#: kinds of jobs, in the order in which they run: those of all studies before the next kind
Kind = Literal["search", "grid", "confirm", "curve", "soup", "oracle"]
KINDS: tuple[Kind, ...] = ("search", "grid", "confirm", "curve", "soup", "oracle")


@dataclass(frozen=True)
class Job:
    """A unit of work for one actor: a cell, the WiSE-FT curve of a finished confirm cell, or the soups of a study.

    A ``grid`` cell has a fixed setting and belongs to no search.
    All but search cells are unsealed; ``oracle`` unseals a search cell, after its study has a winner. Confirm cells
    keep their weights, and so do search cells that are needed again.
    """

    kind: Kind
    cell: Cell  # of a curve the parent, of soups the uniform one
    kept: bool = field(default=False, compare=False)  # whether a search cell is needed again: for soups, for oracle
    alphas: Sequence[float] = field(default=WISE_ALPHAS, compare=False)  # of a curve

    @property
    def keep_weights(self) -> bool:
        return self.kind == "confirm" or self.kept

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.cell.id}"

    @property
    def trains(self) -> bool:
        """Whether a training is part of the job."""
        return self.kind in ("search", "grid", "confirm") and bool(self.cell.hyperparameters)

    def cells(self) -> list[Cell]:
        """The cells this job finishes."""
        if self.kind == "curve":
            return [interpolation(self.cell, alpha) for alpha in self.alphas]
        if self.kind == "soup":
            return [replace(self.cell, hyperparameters={"greedy": greedy}) for greedy in SOUP_RULES]
        return [self.cell]


@dataclass(frozen=True)
class Study:
    """One search for one (task, method, reading): trials, then a winner, then confirm cells.

    search: which of the recipe's independent searches, counted from 1. selected_over: the tasks that share the winning
    setting, itself included; empty where it has a winner of its own.
    """

    task: str
    method: MethodCard
    recipe: Recipe
    choice: Choice = field(default_factory=Choice)
    search: int = 1
    selected_over: tuple[str, ...] = ()

    @cached_property
    def space(self) -> Mapping[str, Range]:
        """What a trial may try."""
        space = self.recipe.space_of(self.method)
        return {**space, "context_temperature": TEMPERATURES} if self.choice.searches_temperature else space

    @cached_property
    def content(self) -> dict[str, Any]:
        """What study.json says of everything that decides which trial tries what."""
        plain = self.cell({name: limits.first_guess for name, limits in self.space.items()}, seed=0)
        model, pretrained = record_form(plain.model, plain.pretrained)
        content: dict[str, Any] = {
            "task": self.task,
            "data_version": self.recipe.catalog.card(self.task).version,
            "model": model,
            "pretrained": pretrained,
            "method": self.method.name,
            "space": {} if self.recipe.grid else {n: [r.low, r.high, r.first_guess] for n, r in self.space.items()},
            "sampler": SOBOL,
            "search_seed": self.search_seed,
            "training": {**self.recipe.training.as_dict(), **self.method.own_training},
        }
        if self.choice.crop is not None:
            content["training"]["crop"] = self.choice.crop
        optional = {
            "plugin": plain.plugin,
            "search": self.search if self.search > 1 else None,
            "selected_over": list(self.selected_over),
            "reading": dict(self.choice.factors),
            "precision": self.recipe.precision if self.recipe.precision != "float32" else None,
            **{name: value for name, value in self.recipe.protocol().items() if value != PROTOCOL[name]},
        }
        return {**content, **{name: value for name, value in optional.items() if value}}

    @property
    def search_seed(self) -> int:
        """The seed of its search cells."""
        return search_seed_of(self.recipe.search_seed, self.search)

    @cached_property
    def id(self) -> str:
        return study_id(identity(self.content))

    @cached_property
    def grid_cells(self) -> list[Cell]:
        """Its cells of a recipe with a grid; a hyperparameter without values there has its first guess."""
        if not self.recipe.grid:
            return []
        values = [self.recipe.grid.get(name, [limits.first_guess]) for name, limits in self.space.items()]
        settings = [dict(zip(self.space, setting, strict=True)) for setting in product(*values)]
        return [self.cell(setting, seed) for seed in self.recipe.confirm_seeds() for setting in settings]

    @cached_property
    def _cells(self) -> dict[tuple[frozenset, int], Cell]:
        return {}

    def cell(self, hyperparameters: Mapping[str, float], seed: int) -> Cell:
        """A cell of this study; the same object each time, since the protocol asks often and an id is a hash."""
        key = (frozenset(hyperparameters.items()), seed)
        if key not in self._cells:
            values, reading, training = dict(hyperparameters), self.choice.reading, self.recipe.training
            if self.choice.searches_temperature:
                reading = replace(reading, context_temperature=values.pop("context_temperature"))
            if self.choice.crop is not None:
                training = replace(training, crop=self.choice.crop)
            self._cells[key] = self.recipe.cell(self.task, self.method.name, values, seed, training, reading)
        return self._cells[key]

    @cached_property
    def settings(self) -> list[dict[str, float]]:
        """What each trial tries; none with a grid."""
        trials = 0 if self.recipe.grid else self.recipe.trials
        return [trial_parameters(self.search_seed, trial, self.space) for trial in range(trials)]

    @cached_property
    def search_jobs(self) -> list[Job]:
        """The jobs of its trials, by number. None depends on a result: all can run at once."""
        kept = self.is_souped or self.recipe.oracle
        return [Job("search", self.cell(setting, self.search_seed), kept) for setting in self.settings]

    @cached_property
    def planned_jobs(self) -> Mapping[Kind, int]:
        """Kind -> jobs of it that the study has if no trial fails."""
        recipe = self.recipe
        if recipe.grid:
            return {"grid": len(self.grid_cells)}
        return {
            "search": recipe.trials,
            "confirm": recipe.seeds,
            "curve": recipe.seeds if "wise_ft" in recipe.methods else 0,
            "soup": int(self.is_souped and recipe.trials > 1),
            "oracle": recipe.trials if recipe.oracle else 0,
        }

    @property
    def trial_cells(self) -> list[Cell]:
        """The cells of its trials, by number."""
        return [job.cell for job in self.search_jobs]

    @property
    def is_souped(self) -> bool:
        """Whether soups are made of its search cells."""
        return "soup" in self.recipe.methods and self.method.in_soups

    @property
    def family(self) -> tuple[object, ...]:
        """What the studies of the other tasks with the same winning setting have in common with this one."""
        return self.method.name, tuple(self.choice.factors.items()), self.search, self.selected_over


def studies_of(recipe: Recipe, methods: list[MethodCard]) -> list[Study]:
    """The studies of a recipe, each once, one search after the other.

    A method has one study a search for all readings that differ in nothing it reads.
    """
    studies: dict[str, Study] = {}
    families = _families(recipe) if recipe.selection == "shared" and not recipe.grid else {}
    numbers = range(1, 1 + recipe.searches)
    for search, task, choice, method in product(numbers, recipe.tasks, recipe.choices(), methods):
        study = Study(task, method, recipe, choice.restricted(method.reads), search, families.get(task, ()))
        studies.setdefault(study.id, study)
    return list(studies.values())


def _families(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Task -> the tasks of the recipe that reports pool with it, sorted; a task alone is left out."""
    pools = recipe.catalog.pools(recipe.tasks)
    by_pool: dict[str, list[str]] = {}
    for task in recipe.tasks:
        by_pool.setdefault(recipe.catalog.pool(recipe.catalog.card(task).name, pools).name, []).append(task)
    return {task: tuple(sorted(tasks)) for tasks in by_pool.values() if len(tasks) > 1 for task in tasks}
