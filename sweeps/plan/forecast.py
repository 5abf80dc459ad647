"""What a sweep will take, before it starts: pure arithmetic on what is left to do and on measured rates. No Ray.

The unit of work is one *pass*: one image through the image encoder, forward. A training step on an image counts as
several passes, as its method's card states, so that the rate of one method predicts that of a method without records.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from carft.data.card import STANDARD
from carft.data.catalog import card
from carft.data.counting import Sizes, sizes_of
from carft.models.availability import ModelSize
from carft.spec.registry import SOUP_RULES, SOUPED, WISE_ALPHAS, method_card
from carft.spec.resolve import soup_of
from sweeps.plan.rates import Rates, passes_of
from sweeps.search.protocol import Job, Kind, Protocol
from sweeps.search.study import Study

#: seconds until the first cell runs: Ray, imports, the model
START_S = 15.0
#: opening data, writing records and handing out jobs stand in no record; before a sweep was measured, the upper end of
#: the range holds this factor for them
UNSEEN = 1.5
#: predictions larger than this keep the ten largest logits; see carft.store.predictions
WHOLE_BYTES = 64 * 2**20
LARGEST = 10
#: of an image and its group in a prediction row
NAME_BYTES = 60


@dataclass(frozen=True)
class PendingWork:
    """Jobs of one kind, task and method that still have to run: ``jobs`` of them, which finish ``cells`` cells.

    study: empty for an untrained method. passes, steps (of the optimiser), bytes (left on disk): of one job.
    """

    study: str
    kind: Kind
    task: str
    method: str
    jobs: int
    cells: int
    passes: float
    steps: int
    bytes: float


@dataclass(frozen=True)
class Forecast:
    """What a sweep will take. Times in seconds; ``low_s`` to ``wall_s`` to ``high_s``.

    total, done, stopped, failed: cells of the sweep, those on record, those that were given up early, and those that
    failed before and will not be run again.
    busy_s: seconds of all cells, one after another. raw_s: the wall time before it was corrected by earlier sweeps.
    slots: cells at a time. basis: what the times rest on; estimate: whether that is an estimate and no measurement.
    """

    total: int
    done: int
    stopped: int
    failed: int
    left: tuple[PendingWork, ...]
    busy_s: float
    wall_s: float
    low_s: float
    high_s: float
    raw_s: float
    slots: int
    basis: str
    estimate: bool

    @staticmethod
    def of(content: Mapping[str, Any]) -> Forecast:
        """A forecast from its fields as plain values."""
        return Forecast(**{**content, "left": tuple(PendingWork(**one) for one in content["left"])})

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
        """What the sweep will write."""
        return round(sum(left.jobs * left.bytes for left in self.left))


def forecast(
    protocol: Protocol, slots: int, rates: Rates | None, corrections: Iterable[float], size: ModelSize | None
) -> Forecast:
    """The forecast of what ``protocol`` has left.

    slots: cells at a time. rates: None when nothing is known; all times are then 0. corrections: actual over raw wall
    time of earlier sweeps of this model on this hardware.
    """
    protocol.look()
    left = tuple(one for one in _left(protocol, size) if one.jobs)
    known = sorted(corrections)
    correction = known[len(known) // 2] if known else 1.0
    seconds = [one.passes * rates.of(one.method) if rates else 0.0 for one in left]
    busy = sum(one.jobs * each for one, each in zip(left, seconds, strict=True))
    raw = START_S + max(busy / slots, _chain(protocol, left, seconds)) if busy else 0.0
    wall = raw * correction
    low, high = rates.spread if rates else (1.0, 1.0)
    if known:
        low, high = min(low, known[0] / correction), max(high, known[-1] / correction)
        said = f", corrected by {len(known)} earlier sweep{'s' * (len(known) > 1)} here (x{correction:.2f})"
    else:
        high, said = high * UNSEEN, ""
    return Forecast(
        total=protocol.total(),
        done=len(protocol.done),
        stopped=len(protocol.stopped),
        failed=max(0, protocol.total() - len(protocol.done) - len(protocol.stopped) - sum(one.cells for one in left)),
        left=left,
        busy_s=busy * correction,
        wall_s=wall,
        low_s=wall * low,
        high_s=wall * high,
        raw_s=raw,
        slots=slots,
        basis=f"{rates.basis}{said}" if rates else "nothing: the model's size is not known, and nothing was measured",
        estimate=rates is None or rates.estimate,
    )


def _left(protocol: Protocol, size: ModelSize | None) -> Iterable[PendingWork]:
    """Everything that is left, some of it with no jobs."""
    recipe = protocol.recipe
    for task in recipe.tasks:
        sizes = sizes_of(task)
        for name in recipe.methods:
            if method_card(name).kind == "untrained":
                missing = int(protocol.untrained_cell(task, name).id not in protocol.done)
                passes = sizes.val + sizes.sealed
                yield PendingWork("", "confirm", task, name, missing, missing, passes, 0, _predictions(task, sizes))
    for study in protocol.studies:
        yield from _left_of(protocol, study, sizes_of(study.task), 4 * size.parameters if size else 0)


def _left_of(protocol: Protocol, study: Study, sizes: Sizes, weights: int) -> Iterable[PendingWork]:
    recipe, task, name = protocol.recipe, study.task, study.method.name

    def left(
        kind: Kind, method: str, wanted: int, settled: int, passes: float, bytes_: float, of: int = 1
    ) -> PendingWork:
        jobs = max(0, wanted - settled)
        steps = trained if kind in ("search", "confirm") else 0
        return PendingWork(study.id, kind, task, method, jobs, jobs * of, passes, steps, bytes_ * max(1, of))

    epochs = recipe.training.epochs
    trained = math.ceil(sizes.train / recipe.training.batch_size) * epochs if study.method.epoch_passes else 0
    training, sealed = passes_of(name, sizes, epochs), sizes.sealed
    small, whole = _predictions(task, replace(sizes, sealed=0)), _predictions(task, sizes)
    souped = "soup" in recipe.methods and name in SOUPED and recipe.trials > 1
    kept = weights if souped or recipe.oracle else 0
    searches = [Job("search", cell) for _, _, cell in protocol.trials(study)]
    yield left("search", name, recipe.trials, _settled(protocol, searches), training, small + kept)
    if protocol.too_few(study):
        return
    cells = protocol.confirm_cells(study)
    confirmed = _settled(protocol, [Job("confirm", cell) for cell in cells])
    yield left("confirm", name, recipe.seeds, confirmed, training + sealed, whole + weights)
    if "wise_ft" in recipe.methods:
        curves = _settled(protocol, [Job("curve", cell) for cell in cells])
        between = len(WISE_ALPHAS) - 2  # the ends are read from disk
        yield left("curve", "wise_ft", recipe.seeds, curves, between * (sizes.val + sealed), whole, len(WISE_ALPHAS))
    parents = [job.cell for job in searches if job.cell.id in protocol.done]
    if souped:
        found = [Job("soup", soup_of(parents, SOUP_RULES[0]))] if cells and len(parents) > 1 else []
        passes = recipe.trials * sizes.val + len(SOUP_RULES) * sealed
        yield left("soup", "soup", 1, _settled(protocol, found), passes, whole + weights, len(SOUP_RULES))
    if recipe.oracle:
        opened = sum(protocol.store.evaluated(cell.id) >= set(card(task).sets) for cell in parents)
        yield left("oracle", name, recipe.trials, opened, sealed, whole - small, 0)


def _settled(protocol: Protocol, jobs: Sequence[Job]) -> int:
    """How many of the jobs are done or will not be run again."""
    return sum(job.key in protocol.failed or all(protocol.is_over(c.id) for c in job.cells()) for job in jobs)


def _predictions(task: str, sizes: Sizes) -> float:
    """About how many bytes the predictions of a cell take: logits of classes and contexts, and names."""
    chosen, images = card(task), sizes.val + sizes.sealed
    numbers = len(chosen.classes) + len(chosen.contexts or chosen.bank(STANDARD))
    if images * numbers * 4 > WHOLE_BYTES:
        numbers = 4 * LARGEST
    return images * (4 * numbers + NAME_BYTES)


def _chain(protocol: Protocol, left: Sequence[PendingWork], seconds: Sequence[float]) -> float:
    """Seconds of the longest chain of jobs that wait for each other: rounds of a search, then confirm, then curve."""
    rounds = math.ceil(protocol.recipe.trials / protocol.recipe.round_size)
    chains: dict[str, float] = defaultdict(float)
    for one, each in zip(left, seconds, strict=True):
        chains[one.study] += each * (min(rounds, one.jobs) if one.kind == "search" else 1)
    return max(chains.values(), default=0.0)
