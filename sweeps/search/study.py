"""A study: one search for one (task, method, reading), and how it goes on from what study.json held before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from carft.data.catalog import card
from carft.spec.cell import PROTOCOL, Cell
from carft.spec.registry import MethodCard, Range
from carft.spec.study import identity, sampler_seed, search_seed_of, study_id
from carft.spec.weights import DIGEST_MARK, id_form, record_form
from carft.store.records import Store
from carft.store.study import Extension, StudyFile
from sweeps.recipes import Recipe
from sweeps.recipes.readings import TEMPERATURES, Choice


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
            "data_version": card(self.task).version,
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


def as_known(studies: Sequence[Study], known: Sequence[StudyFile]) -> list[Study]:
    """The studies, with model and weights named as the studies on disk name them where these are the same weights.

    Earlier versions wrote the path of a weights file, on which id and sampler seed of their studies depend. Such a
    study is gone on with, wherever the file lies now. A study that is not on disk gets the name that most of the others
    have, so that all of them draw the same values.

    Args:
        studies: The studies of a recipe.
        known: The studies on disk.
    """
    on_disk = {study.id for study in known}
    named = Counter((study.model, study.pretrained) for study in known if DIGEST_MARK in study.pretrained)
    found = []
    for study in studies:
        own = (study.content["model"], study.content["pretrained"])
        starts = [start for start, _ in named.most_common() if id_form(*start) == id_form(*own)]
        others = [replace(study, start=start) for start in starts]
        found.append(next((other for other in others if other.id in on_disk), (others or [study])[0]))
    return found


def with_extension(
    known: StudyFile | None, content: StudyFile, store: Store, earlier: Sequence[StudyFile]
) -> StudyFile:
    """The study with ``extended_from``: its size when its test metrics were first seen.

    A study whose trials or confirm cells grew, or whose winner changed, after that moment is marked by it. So is one
    that got another winner because a lost trial was run again, a further search that begins once test metrics of an
    earlier one can be seen, and a study without its file that gets seeds beside those that were tested.

    Args:
        known: The study as it is on disk; None when it is not there.
        content: The study as it is now.
        store: The results folder, which holds the evaluations of the confirm cells.
        earlier: The earlier searches of the same task, method and reading, as they are on disk.
    """
    if known is None:
        begins = all(trial.status != "done" for trial in content.trials)
        if begins and any(store.evaluated(cell) for study in earlier for cell in study.confirm):
            return content.model_copy(update={"extended_from": Extension(searches=len(earlier))})
        if 0 < (tested := sum(bool(store.evaluated(cell)) for cell in content.confirm)) < len(content.confirm):
            return content.model_copy(update={"extended_from": Extension(trials=len(content.trials), confirm=tested)})
        return content
    before = known.extended_from
    if before is None:
        grew = len(content.trials) > len(known.trials) or len(content.confirm) > len(known.confirm)
        changed = known.winner not in (None, content.winner)
        if not (grew or changed) or not any(store.evaluated(cell) for cell in known.confirm):
            return content
        before = Extension(trials=len(known.trials), confirm=len(known.confirm))
    return content.model_copy(update={"extended_from": before})


def is_larger(known: StudyFile | None, content: StudyFile) -> bool:
    """Whether the study on disk has more trials or confirm cells. A smaller request never shrinks a study."""
    if known is None:
        return False
    return len(known.trials) > len(content.trials) or len(known.confirm) > len(content.confirm)
