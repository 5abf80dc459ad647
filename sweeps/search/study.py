"""A study, one search for one (task, method, reading): what identifies it, its trials, its cells. No Ray, no disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from carft.config import frozen_defaults
from carft.config.cell import Cell, record_form
from carft.config.registry import MethodCard, Range
from carft.core.declaration import without
from carft.core.errors import UserError
from carft.protocol.identity import identity, study_id
from carft.protocol.seeds import search_seed_of
from sweeps.recipes.choices import TEMPERATURES, Choice
from sweeps.recipes.recipe import Recipe
from sweeps.recipes.samplers import Sampler
from sweeps.search.jobs import JobKind
from sweeps.search.trials import Trials

#: jobs of a sweep at most: the journal of a results folder holds the lines of about so many
MOST_JOBS = 140_000


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
        if self.choice.searches_temperature:
            space["context_temperature"] = TEMPERATURES
        return space

    @property
    def first_guesses(self) -> dict[str, float]:
        """What the first trial tries."""
        return {name: limits.first_guess for name, limits in self.space.items()}

    @cached_property
    def reading(self) -> dict[str, Any]:
        """What its reading has other than the default one, by name."""
        factors = {**self.choice.factors}
        for name, value in self.cell(self.first_guesses, seed=0).reading.factors().items():
            factors.setdefault(name, value)
        return without(factors, frozen_defaults.READING)

    @cached_property
    def content(self) -> dict[str, Any]:
        """What study.json says of everything that decides which trial tries what."""
        recipe = self.recipe
        plain = self.cell(self.first_guesses, seed=0)
        model, pretrained = record_form(plain.model, plain.pretrained)
        space: dict[str, list[float]] = {}
        if not recipe.grid:
            for name, limits in self.space.items():
                space[name] = [limits.low, limits.high, limits.first_guess]
        training = {**recipe.training.as_dict(), **self.method.own_training}
        if self.choice.crop is not None:
            training["crop"] = self.choice.crop
        content: dict[str, Any] = {
            "task": self.task,
            "data_version": recipe.catalog.card(self.task).version,
            "model": model,
            "pretrained": pretrained,
            "method": self.method.name,
            "space": space,
            "sampler": str(self.sampler),
            "search_seed": self.search_seed,
            "training": training,
        }
        # what follows is left out as in frozen_defaults, so that it changes no id of earlier versions
        if plain.plugin:
            content["plugin"] = plain.plugin
        if self.search > 1:
            content["search"] = self.search
        if self.selected_over:
            content["selected_over"] = list(self.selected_over)
        if self.reading:
            content["reading"] = self.reading
        content.update(without(recipe.protocol(), frozen_defaults.STUDY))
        if recipe.pruner != "none":
            content["pruner"] = recipe.pruner
        return content

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
        values = [self.recipe.grid.get(name, [guess]) for name, guess in self.first_guesses.items()]
        cells = []
        for seed in self.recipe.confirm_seeds():
            for combination in product(*values):
                setting = dict(zip(self.space, combination, strict=True))
                cells.append(self.cell(setting, seed))
        return cells

    def cell(self, hyperparameters: Mapping[str, float], seed: int) -> Cell:
        """A cell of this study."""
        values, reading, training = dict(hyperparameters), self.choice.reading, self.recipe.training
        if self.choice.searches_temperature:
            reading = replace(reading, context_temperature=values.pop("context_temperature"))
        if self.choice.crop is not None:
            training = replace(training, crop=self.choice.crop)
        return self.recipe.cell(self.task, self.method.name, values, seed, training, reading)

    @cached_property
    def sampler(self) -> Sampler:
        """What proposes its trials."""
        return self.recipe.search_sampler

    @property
    def learns(self) -> bool:
        """Whether its sampler or its pruner uses results."""
        return not self.sampler.is_fixed or self.recipe.pruner != "none"

    @property
    def n_trials(self) -> int:
        """Number of its trials, also of those that are not asked for yet; 0 with a grid."""
        return 0 if self.recipe.grid else self.recipe.trials

    @cached_property
    def trials(self) -> Trials:
        """All its trials if the sampler fixes them in advance, else those that were asked for."""
        return Trials(self)

    @property
    def trial_cells(self) -> list[Cell]:
        """The cells of its trials, by number."""
        return [job.cell for job in self.trials.jobs]

    @cached_property
    def planned_jobs(self) -> Mapping[JobKind, int]:
        """Kind -> jobs of it that the study has if no trial fails."""
        recipe = self.recipe
        if recipe.grid:
            return {"grid": len(self.grid_cells)}
        planned: dict[JobKind, int] = {"search": recipe.trials, "confirm": recipe.seeds}
        if "wise_ft" in recipe.methods:
            planned["curve"] = recipe.seeds
        if self.is_souped and recipe.trials > 1:
            planned["soup"] = 1
        if recipe.oracle:
            planned["oracle"] = recipe.trials
        return planned

    @property
    def is_souped(self) -> bool:
        """Whether soups are made of its search cells."""
        return "soup" in self.recipe.methods and self.method.in_soups

    @property
    def question(self) -> tuple[object, ...]:
        """What the searches of a recipe for one task, method and reading have in common."""
        return (self.task, self.method.name, tuple(self.choice.factors.items()))

    @property
    def family(self) -> tuple[object, ...]:
        """What the studies with the same winning setting have in common: those of other tasks, or this one alone."""
        if not self.selected_over:
            return (self.id,)
        _, *asked = self.question
        return (*asked, self.search, self.selected_over)


def studies_of(recipe: Recipe, methods: list[MethodCard]) -> list[Study]:
    """The studies of a recipe, each once, one search after the other.

    A method has one study a search for all readings that differ in nothing it reads. Raises ``UserError`` for too many
    jobs.
    """
    families: dict[str, tuple[str, ...]] = {}
    if recipe.selection == "shared" and not recipe.grid:
        families = _families(recipe)
    studies: dict[str, Study] = {}
    for search in range(1, 1 + recipe.searches):
        for task, choice, method in product(recipe.tasks, recipe.choices(), methods):
            study = Study(task, method, recipe, choice.restricted(method.reads), search, families.get(task, ()))
            studies.setdefault(study.id, study)
        if search == 1:
            _require_few_jobs(recipe, studies.values())
    return list(studies.values())


def _require_few_jobs(recipe: Recipe, first: Iterable[Study]) -> None:
    """Raise ``UserError`` for more than :data:`MOST_JOBS` jobs. first: the studies of the first search."""
    jobs = recipe.searches * sum(sum(study.planned_jobs.values()) for study in first)
    if jobs > MOST_JOBS:
        raise UserError(
            f"{recipe.name} asks for {jobs:,} jobs, and a results folder takes at most {MOST_JOBS:,}.",
            "Ask for fewer --trials, --seeds or --searches, or for some of the --tasks and --methods.",
        )


def _families(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Task -> the tasks of the recipe that reports pool with it, sorted; a task alone is left out."""
    catalog = recipe.catalog
    pools = catalog.pools(recipe.tasks)
    by_pool: dict[str, list[str]] = defaultdict(list)
    for task in recipe.tasks:
        pool = catalog.pool(catalog.card(task).name, pools)
        by_pool[pool.name].append(task)
    families: dict[str, tuple[str, ...]] = {}
    for tasks in by_pool.values():
        if len(tasks) > 1:
            families |= dict.fromkeys(tasks, tuple(sorted(tasks)))
    return families
