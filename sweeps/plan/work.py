"""The work that a sweep has left: jobs of each kind, task and method, with their passes, steps and bytes. No Ray.

A pass is one image through the image encoder, forward. A training step on an image counts as several passes, as the
method's card states, so that one rate serves all methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from carft.data.card import STANDARD
from carft.data.catalog import card
from carft.data.counting import Sizes, sizes_of
from carft.models.availability import ModelSize
from carft.spec.registry import SOUP_RULES, method_card, souped_methods
from carft.spec.resolve import soup_of
from carft.spec.training import Training
from sweeps.search.protocol import Job, Kind, Protocol
from sweeps.search.study import Study

#: bytes above which predictions store only the largest logits, and how many; see carft.store.predictions
WHOLE_BYTES = 64 * 2**20
LARGEST = 10
#: bytes of the names of an image and its group in a row of predictions
NAME_BYTES = 60

sizes = cache(sizes_of)


@dataclass(frozen=True)
class PendingWork:
    """Jobs of one kind, task and method that still have to run."""

    study: str
    """Id of the study; empty for an untrained method."""
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


def passes_of(method: str, task: str, images: Sizes, training: Training) -> float:
    """Passes that training and validating a cell take."""
    chosen = method_card(method)
    validations = training.epochs if chosen.epoch_passes else 1
    seen = training.images_seen(images.train, max(1, card(task).domains))
    return chosen.first_passes * images.train + chosen.epoch_passes * seen + validations * images.val


def pending_work(protocol: Protocol, size: ModelSize | None) -> list[PendingWork]:
    """The work of every kind, task and method of which jobs still have to run. size: of the model, None if unknown."""
    return [work for work in _all_work(protocol, size) if work.jobs]


def _all_work(protocol: Protocol, size: ModelSize | None) -> Iterator[PendingWork]:
    recipe = protocol.recipe
    for task in recipe.tasks:
        images = sizes(task)
        for name in recipe.methods:
            if method_card(name).kind == "untrained":
                missing = int(recipe.cell(task, name, {}).id not in protocol.done)
                passes = images.val + images.sealed
                yield PendingWork("", "confirm", task, name, missing, missing, passes, 0, _predictions(task, images))
    for study in protocol.studies:
        yield from _work_of(protocol, study, sizes(study.task), 4 * size.parameters if size else 0)


def _work_of(protocol: Protocol, study: Study, images: Sizes, weights: int) -> Iterator[PendingWork]:
    recipe, task, name = protocol.recipe, study.task, study.method.name

    def left(
        kind: Kind, method: str, wanted: int, settled: int, passes: float, bytes_: float, of: int = 1
    ) -> PendingWork:
        jobs = max(0, wanted - settled)
        steps = trained if kind in ("search", "confirm") else 0
        return PendingWork(study.id, kind, task, method, jobs, jobs * of, passes, steps, bytes_ * max(1, of))

    budget = recipe.training_of()
    trained = budget.bounds(images.train, max(1, card(task).domains))[-1] if study.method.epoch_passes else 0
    training, sealed = passes_of(name, task, images, budget), images.sealed
    small, whole = _predictions(task, replace(images, sealed=0)), _predictions(task, images)
    souped = "soup" in recipe.methods and name in souped_methods() and recipe.trials > 1
    stored = weights if souped or recipe.oracle else 0
    searches = [Job("search", cell) for _, _, cell in protocol.trials(study)]
    if protocol.too_few(study):
        return
    yield left("search", name, recipe.trials, _settled(protocol, searches), training, small + stored)
    cells = protocol.confirm_cells(study)
    confirmed = _settled(protocol, [Job("confirm", cell) for cell in cells])
    yield left("confirm", name, recipe.seeds, confirmed, training + sealed, whole + weights)
    if "wise_ft" in recipe.methods:
        curves = _settled(protocol, [Job("curve", cell, alphas=recipe.alphas) for cell in cells])
        between = len(recipe.alphas) - 2  # predictions of both ends are on disk
        yield left("curve", "wise_ft", recipe.seeds, curves, between * (images.val + sealed), whole, len(recipe.alphas))
    parents = [job.cell for job in searches if job.cell.id in protocol.done]
    if souped:
        found = [Job("soup", soup_of(parents, SOUP_RULES[0]))] if cells and len(parents) > 1 else []
        passes = recipe.trials * images.val + len(SOUP_RULES) * sealed
        yield left("soup", "soup", 1, _settled(protocol, found), passes, whole + weights, len(SOUP_RULES))
    if recipe.oracle:
        opened = sum(cell.id in protocol.state.opened for cell in parents)
        yield left("oracle", name, recipe.trials, opened, sealed, whole - small, 0)


def _settled(protocol: Protocol, jobs: Sequence[Job]) -> int:
    """Number of jobs that are done or will not run again."""
    return sum(job.key in protocol.failed or all(protocol.is_over(c.id) for c in job.cells()) for job in jobs)


def _predictions(task: str, images: Sizes) -> float:
    """Approximate bytes of a cell's predictions: logits of classes and contexts, and names."""
    chosen, count = card(task), images.val + images.sealed
    numbers = len(chosen.classes) + len(chosen.contexts or chosen.bank(STANDARD))
    if count * numbers * 4 > WHOLE_BYTES:
        numbers = 4 * LARGEST
    return count * (4 * numbers + NAME_BYTES)
