"""A study: one search for one (task, method, reading)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from carft.spec.cell import PROTOCOL, Cell
from carft.spec.registry import MethodCard, Range
from carft.spec.study import identity, sampler_seed, search_seed_of, study_id
from carft.spec.weights import DIGEST_MARK, id_form, record_form
from carft.store.study import StudyFile
from sweeps.recipes import Recipe
from sweeps.recipes.readings import TEMPERATURES, Choice
from sweeps.search.sampler import Result, suggest


@dataclass(frozen=True)
class Study:
    """One search for one (task, method, reading): trials in rounds, then a winner, then confirm cells.

    search: which of the recipe's independent searches, counted from 1. start: how study.json names model and weights;
    by default as other records do.
    """

    task: str
    method: MethodCard
    recipe: Recipe
    choice: Choice = field(default_factory=Choice)
    search: int = 1
    start: tuple[str, str] | None = None

    @cached_property
    def space(self) -> Mapping[str, Range]:
        """What a trial may try."""
        space = self.recipe.space_of(self.method)
        return {**space, "context_temperature": TEMPERATURES} if self.choice.searches_temperature else space

    @cached_property
    def content(self) -> dict[str, Any]:
        """What study.json says of everything that decides which trial tries what."""
        plain = self.cell({name: limits.first_guess for name, limits in self.space.items()}, seed=0)
        model, pretrained = self.start or record_form(plain.model, plain.pretrained)
        content: dict[str, Any] = {
            "task": self.task,
            "data_version": self.recipe.catalog.card(self.task).version,
            "model": model,
            "pretrained": pretrained,
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
        return {**content, **{k: v for k, v in self.recipe.protocol().items() if v != PROTOCOL[k]}}

    @property
    def search_seed(self) -> int:
        """The seed of its search cells."""
        return search_seed_of(self.recipe.search_seed, self.search)

    def _training(self) -> dict[str, Any]:
        settings = {**self.recipe.training.as_dict(), **self.method.own_training}
        return settings if self.choice.crop is None else {**settings, "crop": self.choice.crop}

    @cached_property
    def id(self) -> str:
        return study_id(identity(self.content))

    @cached_property
    def seed(self) -> int:
        """Seed of the sampler, the same for every reading, and every method that keeps the recipe's training."""
        return sampler_seed(identity(self.content), {**self.recipe.training.as_dict(), **self.method.own_training})

    @cached_property
    def _cells(self) -> dict[tuple[frozenset, int], Cell]:
        return {}

    def cell(self, hyperparameters: Mapping[str, float], seed: int) -> Cell:
        """A cell of this study; the same object each time, since the protocol asks often and an id is a hash."""
        key = (frozenset(hyperparameters.items()), seed)
        if key not in self._cells:
            self._cells[key] = self._specified(hyperparameters, seed)
        return self._cells[key]

    @cached_property
    def _suggestions(self) -> dict[tuple, dict[str, float]]:
        return {}

    def suggest(self, trial: int, earlier: Sequence[Result]) -> dict[str, float]:
        """What a trial tries; the same object each time, since a sampler takes milliseconds."""
        key = (trial, *((*result.parameters.items(), result.value, result.stopped_after) for result in earlier))
        if key not in self._suggestions:
            self._suggestions[key] = suggest(self.seed, trial, self.space, earlier)
        return self._suggestions[key]

    def _specified(self, hyperparameters: Mapping[str, float], seed: int) -> Cell:
        values = dict(hyperparameters)
        reading = self.choice.reading
        if self.choice.searches_temperature:
            reading = replace(reading, context_temperature=values.pop("context_temperature"))
        training = self.recipe.training_of(self.choice.crop)
        return self.recipe.cell(self.task, self.method.name, values, seed, training, reading)


def studies_of(recipe: Recipe, methods: list[MethodCard]) -> list[Study]:
    """The studies of a recipe, each once, one search after the other.

    A method has one study a search for all readings that differ in nothing it reads.
    """
    found: dict[str, Study] = {}
    searches = range(1, recipe.searches + 1)
    for search, task, choice, method in product(searches, recipe.tasks, recipe.choices(), methods):
        study = Study(task, method, recipe, choice.restricted(method.reads), search)
        found.setdefault(study.id, study)
    return list(found.values())


def normalize_studies(studies: Sequence[Study], on_disk: Sequence[StudyFile]) -> list[Study]:
    """The studies, with model and weights named as the studies on disk name them where these are the same weights.

    Earlier versions wrote the path of a weights file, on which id and sampler seed of their studies depend. Such a
    study is gone on with, wherever the file lies now. A study that is not on disk gets the name that most of the others
    have, so that all of them draw the same values.

    Args:
        studies: The studies of a recipe.
        on_disk: The studies on disk.
    """
    ids = {study.id for study in on_disk}
    named = Counter((study.model, study.pretrained) for study in on_disk if DIGEST_MARK in study.pretrained)
    normalized = []
    for study in studies:
        own = (study.content["model"], study.content["pretrained"])
        starts = [start for start, _ in named.most_common() if id_form(*start) == id_form(*own)]
        others = [replace(study, start=start) for start in starts]
        normalized.append(next((other for other in others if other.id in ids), (others or [study])[0]))
    return normalized
