"""A study: one search for one (task, method, reading)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from carft.data.catalog import card
from carft.spec.cell import PROTOCOLS, Cell
from carft.spec.registry import MethodCard, Range
from carft.spec.resolve import specify
from carft.spec.study import sampler_seed, study_id
from sweeps.recipes import Recipe
from sweeps.recipes.readings import TEMPERATURES, Choice


@dataclass(frozen=True)
class Study:
    """One search for one (task, method, reading): trials in rounds, then a winner, then confirm cells.

    search: which of the recipe's independent searches, counted from 1.
    """

    task: str
    method: MethodCard
    recipe: Recipe
    choice: Choice = field(default_factory=Choice)
    search: int = 1

    @cached_property
    def space(self) -> Mapping[str, Range]:
        """What a trial may try."""
        space = self.recipe.space_of(self.method)
        return {**space, "context_temperature": TEMPERATURES} if self.choice.searches_temperature else space

    @cached_property
    def content(self) -> dict[str, Any]:
        """What identifies the study: everything that decides which trial tries what."""
        plain = self.cell({name: limits.first_guess for name, limits in self.space.items()}, seed=0)
        content: dict[str, Any] = {
            "task": self.task,
            "data_version": card(self.task).version,
            "model": plain.model,
            "pretrained": plain.pretrained,
            "method": self.method.name,
            "space": {n: [r.low, r.high, r.first_guess] for n, r in self.space.items()},
            "round_size": self.recipe.round_size,
            "search_seed": self.search_seed,
            "training": self._training(),
        }
        if plain.plugin:
            content["plugin"] = plain.plugin
        if self.search > 1:
            content["search"] = self.search
        if self.choice.factors:
            content["reading"] = dict(self.choice.factors)
        if rungs := self.recipe.stopping_rungs():
            content["rungs"] = rungs
        if self.recipe.precision != "float32":
            content["precision"] = self.recipe.precision
        return {**content, **{k: v for k, v in self.recipe.protocol().items() if v != PROTOCOLS[k][0]}}

    @property
    def search_seed(self) -> int:
        """The seed of its search cells."""
        return self.recipe.search_seed_of(self.search)

    def _training(self) -> dict[str, Any]:
        settings = {**self.recipe.training.settings(), **self.method.own_training}
        return settings if self.choice.crop is None else {**settings, "crop": self.choice.crop}

    @cached_property
    def id(self) -> str:
        return study_id(self.content)

    @cached_property
    def seed(self) -> int:
        """Seed of the sampler, the same for every reading, and every method that keeps the recipe's training."""
        return sampler_seed(self.content, {**self.recipe.training.settings(), **self.method.own_training})

    @cached_property
    def _cells(self) -> dict[tuple[frozenset, int], Cell]:
        return {}

    def cell(self, hyperparameters: Mapping[str, float], seed: int) -> Cell:
        """A cell of this study; the same object each time, since the protocol asks often and an id is a hash."""
        key = (frozenset(hyperparameters.items()), seed)
        if key not in self._cells:
            self._cells[key] = self._specified(hyperparameters, seed)
        return self._cells[key]

    def _specified(self, hyperparameters: Mapping[str, float], seed: int) -> Cell:
        values = dict(hyperparameters)
        reading = self.choice.reading
        if self.choice.searches_temperature:
            reading = replace(reading, context_temperature=values.pop("context_temperature"))
        return specify(
            self.task,
            self.method.name,
            values,
            seed,
            self.recipe.training_of(self.choice.crop),
            reading,
            self.recipe.model,
            self.recipe.pretrained,
            self.recipe.precision,
            **self.recipe.protocol(),
        )


def studies_of(recipe: Recipe, methods: list[MethodCard]) -> list[Study]:
    """The studies of a recipe, each once, one search after the other.

    A method has one study a search for all readings that differ in nothing it reads.
    """
    choices = [Choice()] if recipe.readings is None else recipe.readings.listed()
    found: dict[str, Study] = {}
    for search, task, choice, method in product(range(1, recipe.searches + 1), recipe.tasks, choices, methods):
        study = Study(task, method, recipe, choice.restricted(method.reads), search)
        found.setdefault(study.id, study)
    return list(found.values())
