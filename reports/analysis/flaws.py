"""Why the evidence of a number is incomplete or unsound. With a flaw nothing is decided for good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from carft.protocol.seeds import first_search_seed
from carft.store.study_file import StudyFile
from reports.evidence.note import Note


class SameOnTasks(Enum):
    """What the studies of one method must have alike on all tasks of a pooled number."""

    CONFIRM_SEEDS = auto()
    RANGES = auto()
    SEARCH_SEEDS = auto()
    VERSIONS = auto()


def _ranges(study: StudyFile) -> tuple[tuple[str, float, float], ...]:
    """(hyperparameter, lowest, highest value) of a study."""
    return tuple((name, low, high) for name, (low, high, _) in sorted(study.space.items()))


#: what must be alike -> how a study states it
STATED: Mapping[SameOnTasks, Callable[[StudyFile], Any]] = {
    SameOnTasks.CONFIRM_SEEDS: lambda study: len(study.confirm),
    SameOnTasks.RANGES: _ranges,
    SameOnTasks.SEARCH_SEEDS: lambda study: first_search_seed(study.search_seed, study.search),
    SameOnTasks.VERSIONS: lambda study: study.plugin,
}


def stated(what: SameOnTasks, studies: Sequence[StudyFile]) -> tuple[Any, ...]:
    """What the searches of a task state: of each search a number of seeds; of all others each value once."""
    values = [STATED[what](study) for study in studies]
    return tuple(values if what == SameOnTasks.CONFIRM_SEEDS else dict.fromkeys(values))


@dataclass(frozen=True)
class Flaw:
    """One reason. Each kind is a subclass with the fields that tell it."""


@dataclass(frozen=True)
class TasksMissing(Flaw):
    """Tasks that have no estimate. of: the number of tasks that are asked."""

    tasks: tuple[str, ...]
    of: int


@dataclass(frozen=True)
class TaskMissing(Flaw):
    """A task of a claim that has no level."""

    task: str


@dataclass(frozen=True)
class NoInterval(Flaw):
    """An estimate without an interval."""

    task: str
    has_one_seed: bool = False
    lone: tuple[tuple[str, ...], ...] = ()
    """Sets that hold the single group of a stratum; empty where every stratum has several groups."""
    has_more_sets: bool = False
    """Whether the estimate is of other sets too."""
    unit: str = ""
    """What a single group is called."""


@dataclass(frozen=True)
class OneSidedSeeds(Flaw):
    """A task with seeds that only one side was run with."""

    task: str


@dataclass(frozen=True)
class TrialsGone(Flaw):
    """A task of which no trial of a method is left."""

    task: str
    method: str


@dataclass(frozen=True)
class CellsGone(Flaw):
    """Confirm cells of an entry, by id, that are not finished or readable, or the soups of so many searches."""

    task: str
    entry: str
    cells: tuple[str, ...] = ()
    soups: int = 0


@dataclass(frozen=True)
class SearchesMissing(Flaw):
    """Planned (task, search) of a method that have no winner."""

    method: str
    searches: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class NotByProtocol(Flaw):
    """A rule of the protocol that was broken, with the study in its words; or another margin than was planned."""

    note: Note


@dataclass(frozen=True)
class TasksUnlike(Flaw):
    """Studies of one method that differ between the tasks. values: what they state, with the tasks of each."""

    method: str
    what: SameOnTasks
    values: tuple[tuple[tuple[Any, ...], tuple[str, ...]], ...]
