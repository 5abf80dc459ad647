"""Forecast of a sweep: counts what is left to do and multiplies it with a rate. No Ray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from carft.data.card import STANDARD
from carft.data.catalog import card
from carft.data.counting import Sizes
from carft.models.availability import ModelSize
from carft.spec.registry import SOUP_RULES, method_card, souped_methods
from carft.spec.resolve import soup_of
from sweeps.plan.concurrency import concurrency_of
from sweeps.plan.rates import Rate, passes_of, sizes
from sweeps.search.protocol import Job, Kind, Protocol
from sweeps.search.study import Study

#: seconds until the first cell runs: start of Ray, imports, the model
START_S = 15.0
#: factor of the upper end of the range for what no record holds: opening data, writing records, handing out jobs
OVERHEAD = 1.5
#: bytes above which predictions store only the largest logits, and how many; see carft.store.predictions
WHOLE_BYTES = 64 * 2**20
LARGEST = 10
#: bytes of the names of an image and its group in a row of predictions
NAME_BYTES = 60
#: the rate of a model whose size is not known
UNKNOWN = Rate(0.0, 0.0, 0.0, "nothing: the model's size is not known, and nothing was measured", estimate=True)


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


@dataclass(frozen=True)
class Forecast:
    """Cells, time and disk of what is left of a sweep. All times are 0 when no rate is known."""

    total: int
    """Cells of the sweep."""
    done: int
    """Cells with a record."""
    stopped: int
    """Search cells that early stopping pruned."""
    failed: int
    """Cells that failed before and do not run again, and cells that wait for those."""
    left: tuple[PendingWork, ...]
    """What still has to run."""
    busy_s: float
    """Seconds of all cells, one after another."""
    wall_s: float
    """Seconds of the sweep, from ``low_s`` to ``high_s``."""
    low_s: float
    high_s: float
    slots: int
    """Cells at a time at most."""
    at_a_time: tuple[tuple[int, float], ...]
    """(jobs at a time, for how many seconds in all), the largest number first; short times are left out."""
    basis: str
    """What the times come from, as text."""
    estimate: bool
    """Whether nothing was measured."""

    @staticmethod
    def of(content: Mapping[str, Any]) -> Forecast:
        """A forecast from its fields as plain values."""
        left = tuple(PendingWork(**one) for one in content["left"])
        return Forecast(**{**content, "left": left, "at_a_time": tuple(map(tuple, content["at_a_time"]))})

    @property
    def cells(self) -> int:
        """Cells to run."""
        return sum(left.cells for left in self.left)

    @property
    def steps(self) -> int:
        """Optimisation steps to run."""
        return sum(left.jobs * left.steps for left in self.left)

    @property
    def bytes(self) -> int:
        """Bytes that the sweep will write."""
        return round(sum(left.jobs * left.bytes for left in self.left))


def forecast(
    protocol: Protocol, slots: int, rate: Rate | None, size: ModelSize | None, widens: bool = False
) -> Forecast:
    """The forecast of what ``protocol`` has left. slots: cells at a time. widens: as of the request."""
    rate = rate or UNKNOWN
    protocol.look()
    left = tuple(one for one in _left(protocol, size) if one.jobs)
    passes = sum(one.jobs * one.passes for one in left)
    over_time = concurrency_of(left, slots, protocol.recipe.round_size, widens)

    def wall(seconds: float) -> float:
        return START_S + seconds * over_time.length if seconds and passes else 0.0

    return Forecast(
        total=protocol.total(),
        done=len(protocol.done),
        stopped=len(protocol.stopped),
        failed=max(0, protocol.total() - len(protocol.done) - len(protocol.stopped) - sum(one.cells for one in left)),
        left=left,
        busy_s=passes * rate.seconds,
        wall_s=wall(rate.seconds),
        low_s=wall(rate.low),
        high_s=wall(rate.high) * OVERHEAD,
        slots=slots,
        at_a_time=tuple((jobs, length * rate.seconds) for jobs, length in over_time.at_a_time if rate.seconds),
        basis=rate.basis,
        estimate=rate.estimate,
    )


def _left(protocol: Protocol, size: ModelSize | None) -> Iterable[PendingWork]:
    """Work of every kind, task and method; some of it with no jobs."""
    recipe = protocol.recipe
    for task in recipe.tasks:
        images = sizes(task)
        for name in recipe.methods:
            if method_card(name).kind == "untrained":
                missing = int(recipe.cell(task, name, {}).id not in protocol.done)
                passes = images.val + images.sealed
                yield PendingWork("", "confirm", task, name, missing, missing, passes, 0, _predictions(task, images))
    for study in protocol.studies:
        yield from _left_of(protocol, study, sizes(study.task), 4 * size.parameters if size else 0)


def _left_of(protocol: Protocol, study: Study, images: Sizes, weights: int) -> Iterable[PendingWork]:
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
        opened = sum(protocol.store.evaluated(cell.id) >= set(card(task).sets) for cell in parents)
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
