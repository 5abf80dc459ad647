"""studies/<id>/study.json: one search, its trials, its winner and its confirm cells. No torch."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from carft.config import frozen_defaults
from carft.config.settings import ProtocolSettings, Selection
from carft.store.document import Document, Number, Shared, empty_list

TrialStatus = Literal["open", "running", "done", "pruned", "failed"]


def _positive(values: list[Number]) -> list[Number]:
    low, high, first = values
    if not (0 < low <= high and first > 0):
        raise ValueError("a range and its first guess must be above 0, and its lowest value not above its highest")
    return values


#: lowest value, highest value and first guess of a hyperparameter
StoredRange = Annotated[list[Number], Field(min_length=3, max_length=3), AfterValidator(_positive)]


class Trial(Document):
    """One trial of a search."""

    number: int = Field(alias="trial", ge=0)
    """Position in the search, from 0."""
    parameters: dict[str, Number]
    """Hyperparameters, by name."""
    cell: Shared
    """Id of the cell."""
    status: TrialStatus
    """``open``, ``running``, ``done``, ``pruned`` or ``failed``."""
    finished: int | None = Field(None, ge=0)
    """Number of trials that had finished when the sampler was asked; null if it fixes all trials in advance."""
    validated: list[Number] = Field(default_factory=empty_list)
    """``val/top1`` after each epoch of a pruned trial; empty for any other."""


class TrainingSettings(Document):
    """The training recipe of a study. Other settings are kept as they are."""

    epochs: int = Field(ge=1)
    crop: Number | None = None


class Extension(Document):
    """Size of a study when its test metrics were first seen."""

    trials: int = Field(0, ge=0)
    """Number of trials."""
    confirm: int = Field(0, ge=0)
    """Number of confirm cells."""
    searches: int = Field(0, ge=0)
    """Number of earlier searches of the same question."""


class StudyFile(Document, ProtocolSettings):
    """``studies/<id>/study.json``: a study, replaced as it changes."""

    id: str
    """Hash of all that decides which trial tries what."""
    task: str
    """Name of the task."""
    data_version: str
    """Version of the task's data."""
    model: str
    """Name of the model."""
    pretrained: str
    """Tag, or path and digest, of the pretrained weights."""
    method: str
    """Name of the method."""
    training: TrainingSettings
    """What all trials share."""
    trials: list[Trial]
    """All trials, by number."""
    winner: str | None
    """The search cell that validation selected; null before every trial has ended."""
    confirm: list[str]
    """Its confirm cells: the winner with fresh seeds."""
    space: dict[str, StoredRange] = Field(default_factory=dict)
    """Hyperparameter -> lowest value, highest value, first guess; the scale is logarithmic."""
    sampler: str = ""
    """What proposes the trials, such as ``sobol`` or ``tpe``; empty in files of earlier versions."""
    pruner: str = "none"
    """What stops trials after an epoch: ``none``, ``halving`` or ``median``."""
    search_seed: int = 0
    search: int = Field(1, ge=1)
    """Number among the independent searches of the same task, method and reading, from 1."""
    selected_over: list[str] = Field(default_factory=list)
    """Tasks that share the winning setting, by their mean metric; else empty."""
    reading: dict[str, bool | Number | str] = Field(default_factory=dict)
    """Factors that differ from the default reading, by name."""
    allow_edges: bool = False
    plugin: str = ""
    """Digest of the source of a method from outside this package."""
    oracle: bool = False
    too_few: str = ""
    """Why a finished search has no winner; else empty."""
    grid: list[str] = Field(default_factory=list)
    """Cells of a recipe with a grid, which has no trials."""
    extended_from: Extension | None = None
    """Null unless the study grew, or changed its winner, after its test metrics were seen."""

    @property
    def trial_cells(self) -> list[str]:
        """The cells of the trials, in order."""
        return [trial.cell for trial in self.trials]

    @property
    def pruned(self) -> dict[int, Trial]:
        """The trials that were pruned, by number."""
        return {trial.number: trial for trial in self.trials if trial.status == "pruned"}

    @property
    def is_in_order(self) -> bool:
        """Whether trials are numbered 0, 1, 2, ..., and each was asked for after no fewer had finished than before."""
        least = 0
        for number, trial in enumerate(self.trials):
            finished = least if trial.finished is None else trial.finished
            if trial.number != number or not least <= finished <= number:
                return False
            least = finished
        return True

    @property
    def selection(self) -> Selection:
        """How its winner is selected."""
        return "shared" if self.selected_over else "per-task"


for _name, _value in frozen_defaults.STUDY.items():
    StudyFile.model_fields[_name].default = _value  # a file that leaves it out means this, whatever is the default now
StudyFile.model_rebuild(force=True)

EDGE = 0.1
"""Share of a range's logarithmic width that counts as its edge, at either end."""
TOO_MANY = 1 / 3
"""A search range is too narrow when more than this share of the winners lies at its edge."""
FEWEST = 3
"""The same needs at least this many winners at the edge, since by chance alone a fifth lies there."""


def at_edge(value: float, low: float, high: float) -> bool:
    """Return whether a value lies within ``EDGE`` of the logarithmic width from an end of [low, high]."""
    if value <= 0 or high <= low:
        return False
    place = math.log(value / low) / math.log(high / low)
    return not EDGE < place < 1 - EDGE


def edges_of(study: StudyFile) -> tuple[str, ...]:
    """Return the hyperparameters whose winning value lies at the edge of its range; empty without a winner."""
    winner = next((trial for trial in study.trials if trial.cell == study.winner), None)
    if winner is None:
        return ()
    edges = []
    for name, (low, high, _) in study.space.items():
        value = winner.parameters.get(name)
        if value is not None and at_edge(value, low, high):
            edges.append(name)
    return tuple(edges)


def too_narrow_ranges(
    studies: Iterable[StudyFile], with_allowed: bool = False
) -> dict[tuple[str, str], tuple[int, int]]:
    """Return (method, hyperparameter) -> (winners at the edge, winners) of the ranges that are too narrow.

    with_allowed: whether studies whose recipe allows edges count.
    """
    total, edge = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for study in studies:
        if study.winner and (with_allowed or not study.allow_edges):
            for name in study.space:
                total[study.method, name] += 1
            for name in edges_of(study):
                edge[study.method, name] += 1
    narrow = {}
    for key, number in edge.items():
        if number >= FEWEST and number > TOO_MANY * total[key]:
            narrow[key] = (number, total[key])
    return narrow
