"""The work that a sweep has left: jobs of each kind, task and method, with their passes, steps and bytes. No Ray.

A pass is one image through the image encoder, forward. A training step on an image counts as several passes, as the
method's card states, so that one rate serves all methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from carft.config.catalog import Catalog
from carft.config.registry import SOUP_RULES
from carft.config.resolve import soup_of
from carft.config.settings import Training
from carft.data.card import STANDARD, DataOptions
from carft.data.family import Sizes
from carft.models.availability import ModelSize
from carft.training.execution import Execution
from sweeps.search.protocol import Job, Kind, Protocol
from sweeps.search.study import Study

#: bytes above which predictions store only the largest logits, and how many; see carft.store.predictions
WHOLE_BYTES = 64 * 2**20
LARGEST = 10
#: bytes of the names of an image and its group in a row of predictions
NAME_BYTES = 60

#: no data folder: enough for all tasks that are counted without opening them
NO_ROOT = Execution()


@dataclass(frozen=True)
class Costs:
    """The images of tasks, and the passes that cells take."""

    catalog: Catalog
    options: DataOptions = NO_ROOT
    """Where data are, for tasks that are counted by opening them."""
    _sizes: dict[str, Sizes] = field(default_factory=dict, init=False)

    def sizes(self, task: str) -> Sizes:
        """The numbers of images of a task. Raises ``UserError`` if it is unknown or its data are not here."""
        if task not in self._sizes:
            self._sizes[task] = self.catalog.sizes(task, self.options)
        return self._sizes[task]

    def passes(self, method: str, task: str, training: Training) -> float:
        """Passes that training and validating a cell take; 0 for a post-hoc method."""
        card, images = self.catalog.method(method), self.sizes(task)
        if card.kind == "post-hoc":
            return 0.0
        validations = training.epochs if card.epoch_passes else 1
        seen = training.images_seen(images.train, max(1, self.catalog.card(task).domains))
        return card.first_passes * images.train + card.epoch_passes * seen + validations * images.val

    def prediction_bytes(self, task: str, images: int) -> float:
        """Approximate bytes of a cell's predictions of images: logits of classes and contexts, and names."""
        card = self.catalog.card(task)
        numbers = len(card.classes) + len(card.contexts or card.bank(STANDARD))
        if images * numbers * 4 > WHOLE_BYTES:
            numbers = 4 * LARGEST
        return images * (4 * numbers + NAME_BYTES)


@dataclass(frozen=True)
class PendingWork:
    """Jobs of one kind, task and method that still have to run."""

    study: str
    """Id of the study, or of the first one that shares its setting; empty for an untrained method."""
    kind: Kind
    task: str
    method: str
    jobs: int
    cells: int
    """Cells of all these jobs."""
    passes: float
    """Passes of one job."""
    steps: int
    """Optimisation steps of one job."""
    bytes: float
    """Bytes that one job leaves on disk."""

    @property
    def trains(self) -> bool:
        """Whether a job trains in epochs. Others only predict, or fit on features."""
        return self.steps > 0


def pending_work(protocol: Protocol, size: ModelSize | None, costs: Costs) -> list[PendingWork]:
    """The work of every kind, task and method of which jobs still have to run. size: of the model, None if unknown."""
    return [work for work in _all_work(protocol, size, costs) if work.jobs]


def _all_work(protocol: Protocol, size: ModelSize | None, costs: Costs) -> Iterator[PendingWork]:
    recipe = protocol.recipe
    for task in recipe.tasks:
        images = costs.sizes(task)
        opened = images.val + images.sealed
        for name in recipe.methods:
            if recipe.catalog.method(name).kind == "untrained":
                missing, stored = int(recipe.cell(task, name, {}).id not in protocol.done), costs.prediction_bytes
                yield PendingWork("", "confirm", task, name, missing, missing, opened, 0, stored(task, opened))
    for study in protocol.studies:
        yield from _work_of(protocol, study, costs, 4 * size.parameters if size else 0)


def _work_of(protocol: Protocol, study: Study, costs: Costs, weights: int) -> Iterator[PendingWork]:
    recipe, task, name = protocol.recipe, study.task, study.method.name
    copies = recipe.searches - protocol.searches if study.search == protocol.searches else 0
    images, card, first = costs.sizes(task), recipe.catalog.card(task), protocol.peers(study)[0].id

    def left(
        kind: Kind, method: str, wanted: int, settled: int, passes: float, bytes_: float, of: int = 1
    ) -> PendingWork:
        jobs = max(0, wanted - settled) + copies * wanted
        steps = trained if kind in ("search", "grid", "confirm") else 0
        return PendingWork(first, kind, task, method, jobs, jobs * of, passes, steps, bytes_ * max(1, of))

    budget = recipe.training_of()
    trained = budget.bounds(images.train, max(1, card.domains))[-1] if study.method.epoch_passes else 0
    training, sealed = costs.passes(name, task, budget), images.sealed
    small, whole = (costs.prediction_bytes(task, count) for count in (images.val, images.val + sealed))
    souped = study.is_souped and recipe.trials > 1
    stored = weights if souped or recipe.oracle else 0
    if recipe.grid:
        grid = [Job("grid", cell) for cell in study.grid_cells]
        yield left("grid", name, len(grid), _settled(protocol, grid), training + sealed, whole)
        return
    if protocol.progress(study).no_winner:
        return
    yield left("search", name, recipe.trials, _settled(protocol, study.search_jobs), training, small + stored)
    cells = protocol.progress(study).confirm_cells
    confirmed = _settled(protocol, [Job("confirm", cell) for cell in cells])
    yield left("confirm", name, recipe.seeds, confirmed, training + sealed, whole + weights)
    if "wise_ft" in recipe.methods:
        curves = _settled(protocol, [Job("curve", cell, alphas=recipe.alphas) for cell in cells])
        between = len(recipe.alphas) - 2  # predictions of both ends are on disk
        yield left("curve", "wise_ft", recipe.seeds, curves, between * (images.val + sealed), whole, len(recipe.alphas))
    parents = [job.cell for job in study.search_jobs if job.cell.id in protocol.done]
    if souped:
        found = [Job("soup", soup_of(parents, SOUP_RULES[0], recipe.catalog))] if cells and len(parents) > 1 else []
        passes = recipe.trials * images.val + len(SOUP_RULES) * sealed
        yield left("soup", "soup", 1, _settled(protocol, found), passes, whole + weights, len(SOUP_RULES))
    if recipe.oracle:
        opened = sum(cell.id in protocol.state.opened for cell in parents)
        yield left("oracle", name, recipe.trials, opened, sealed, whole - small, 0)


def _settled(protocol: Protocol, jobs: Sequence[Job]) -> int:
    """Number of jobs that are done or will not run again."""
    return sum(map(protocol.state.is_settled, jobs))
