"""A cell that was run again against its record: by equal numbers on one machine, on another as two seeds agree."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import combinations

import numpy as np
from scipy import stats

from carft.store.record_files import Record
from carft.store.records import Store
from carft.store.study_file import StudyFile

#: pairs of seeds below which there is no interval
FEWEST = 3
#: pairs that an interval is made of at most, since each reads the predictions of two cells
MOST = 30


class RerunAnswer(Enum):
    """How the classes of a cell that was run again on another machine agree with those on record."""

    AS_SEEDS = auto()
    """As those of two seeds do."""
    UNLIKE_SEEDS = auto()
    """Less than those of two seeds do."""
    UNKNOWN = auto()
    """Too few seeds are on record to say whether that is little."""


@dataclass(frozen=True)
class SeedAgreement:
    """The share of images on which two cells that differ in their seed name one class."""

    pairs: int
    low: float
    """Lower bound of a 95 % prediction interval for one more pair; NaN for too few pairs."""
    high: float

    @staticmethod
    def of(shares: Sequence[float]) -> SeedAgreement:
        """The interval of the shares of some pairs; within 0 and 1."""
        count = len(shares)
        if count < FEWEST:
            return SeedAgreement(count, math.nan, math.nan)
        mean, spread = float(np.mean(shares)), float(np.std(shares, ddof=1))
        half = float(stats.t.ppf(0.975, count - 1)) * spread * math.sqrt(1 + 1 / count)
        return SeedAgreement(count, max(0.0, mean - half), min(1.0, mean + half))


@dataclass(frozen=True)
class Rerun:
    """The classes of a cell that was run again on another machine, against those on record."""

    cell: str
    share: float
    """Of the images of all sets on which both name one class."""
    seeds: SeedAgreement

    @property
    def answer(self) -> RerunAnswer:
        """Whether the share is one that two seeds have."""
        if math.isnan(self.seeds.low):
            return RerunAnswer.UNKNOWN
        return RerunAnswer.UNLIKE_SEEDS if self.share < self.seeds.low else RerunAnswer.AS_SEEDS


def agreement(store: Store, cell: str, other: Store, again: str) -> float:
    """The share of images of all sets that both cells have on which they name one class; NaN without a set."""
    same = images = 0
    for name in ("val", *sorted(store.evaluated(cell) & other.evaluated(again))):
        first, second = _classes(store, cell, name), _classes(other, again, name)
        images += len(first)
        for image, predicted in first.items():
            if second.get(image) == predicted:
                same += 1
    return same / images if images else math.nan


def _classes(store: Store, cell: str, name: str) -> dict[str, int]:
    """Image -> the class that a cell names."""
    table = store.prediction_table(cell, name)
    return dict(zip(table["image"].to_pylist(), table["pred"].to_pylist(), strict=True))


def seed_agreement(
    store: Store, records: Mapping[str, Record], studies: Iterable[StudyFile], cell: str
) -> SeedAgreement:
    """How the confirm cells of one study agree with each other, whose seeds alone differ.

    The studies are those of the cell's task and method; those of its method, or all, where these have too few seeds.
    """
    about = records[cell].cell
    groups: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for study in studies:
        others = []
        for other in study.confirm:
            if other in records and other != cell:
                others.append(other)
        pairs = list(combinations(others, 2))
        for group in ((study.task, study.method), (study.method,), ()):
            groups[group] += pairs
    for group in ((about.task, about.method), (about.method,), ()):
        if len(groups[group]) >= FEWEST or not group:
            shares = [agreement(store, first, store, second) for first, second in groups[group][:MOST]]
            return SeedAgreement.of(shares)
    raise AssertionError("the empty group is the last")
