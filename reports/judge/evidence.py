"""What a report rests on: the entries of one scope under one reading, and their cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

from carft.config.cell import Cell, id_form, task_key
from carft.config.frozen_defaults import PROTOCOL
from carft.config.registry import METHODS, MethodCard
from carft.config.settings import DEFAULT_READING
from carft.core.errors import UserError
from carft.core.metrics import Outcomes
from carft.data.card import Card
from carft.protocol.selection import best_alpha
from carft.store.journal import StudyPlan
from carft.store.record_files import Record
from carft.store.records import Store
from carft.store.study_file import StudyFile, Trial
from reports.judge.conduct import Conduct
from reports.judge.entry import FT, WISE, Entry, entries_of
from reports.note import Note
from reports.read.folder import Folder
from reports.read.scopes import Scope

Source = tuple[str, ...]  # cells of one entry, by seed
Choices = tuple[tuple[str, Any], ...]  # factors of a reading that differ from the default, sorted

#: factors that enter the loss through the KL term alone
KL_FACTORS = {"kl_direction", "context_temperature", "context_scale", "context_templates"}

VALIDATION, ORACLE, FIXED = "validation", "test (oracle)", "nothing"


@dataclass(frozen=True)
class Evidence:
    """One scope under one reading. ``other_scopes`` holds the views of the others, for the first view only.

    conduct: how the studies of the whole folder were conducted. broken: study -> the rules of the protocol that it
    broke; what concerns all studies under the empty name. notes: what of the folder cannot be used, or broke a rule.
    dropped: studies of the scope under another recipe, way to select or with fewer trials than what is reported.
    """

    folder: Folder
    conduct: Conduct
    broken: Mapping[str, Sequence[Note]]
    scope: Scope
    name: str
    studies: Sequence[StudyFile]
    dropped: Sequence[StudyFile]
    readings: Mapping[Choices, Sequence[StudyFile]] = field(default_factory=dict)
    other_scopes: Sequence[Evidence] = ()
    notes: Sequence[Note] = ()
    _cells: dict[tuple[str, Entry], Source] = field(default_factory=dict, init=False, compare=False)

    def views(self) -> Iterator[Evidence]:
        """This view and those of the other scopes."""
        yield self
        yield from self.other_scopes

    def confirm_cells(self) -> Iterator[tuple[StudyFile, str]]:
        """(study, cell) of every finished confirm cell of this view."""
        for study in self.studies:
            for cell in study.confirm:
                if cell in self.records:
                    yield study, cell

    @property
    def columns(self) -> dict[str, str]:
        """The columns that name the scope of a row in every table."""
        return {"scope": self.name, "scale": self.scale}

    def under(self, reading: Choices) -> Evidence:
        """The same scope under another reading. FT does not know the KL term's factors: its default study serves."""
        known_to_ft = []
        for name, value in reading:
            if name not in KL_FACTORS:
                known_to_ft.append((name, value))
        studies = {}
        for study in self.readings.get(tuple(known_to_ft), ()):
            if study.method == FT.method:
                studies[study.task, study.method, study.search] = study
        for study in self.readings.get(reading, ()):
            studies[study.task, study.method, study.search] = study
        return replace(self, studies=list(studies.values()), other_scopes=())

    def with_shared_searches(self, methods: Sequence[str]) -> Evidence:
        """This view with the first R searches alone of each of these methods, where R is the fewest that one has.

        Search k of one method is compared with search k of another.
        """
        shared = min(self.searches_of(methods).values(), default=0)
        return self.with_searches(range(1, shared + 1), methods)

    def with_searches(self, searches: Container[int], methods: Sequence[str]) -> Evidence:
        """This view with these searches alone of each of these methods."""
        kept = []
        for study in self.studies:
            if study.method not in methods or study.search in searches:
                kept.append(study)
        if len(kept) == len(self.studies):
            return self
        return replace(self, studies=kept, other_scopes=())

    def searches_of(self, methods: Sequence[str]) -> dict[str, int]:
        """Method -> the largest number of its searches of a task, for the methods that were searched."""
        largest: dict[str, int] = {}
        for name in methods:
            for study in self.studies:
                if study.method == name:
                    largest[name] = max(study.search, largest.get(name, study.search))
        return largest

    @property
    def store(self) -> Store:
        return self.folder.store

    @property
    def records(self) -> Mapping[str, Record]:
        """All finished cells of the folder, of every scope."""
        return self.folder.records

    @property
    def scale(self) -> str:
        """``paper`` or ``miniature``."""
        return self.scope.scale

    @cached_property
    def tasks(self) -> list[str]:
        """The tasks with a study, in the family's order."""
        studied = {study.task for study in self.studies}
        order = self.scope.family.tasks
        return [*sorted(studied.intersection(order), key=order.index), *sorted(studied.difference(order))]

    @cached_property
    def wanted_tasks(self) -> list[str]:
        """The tasks that a claim on the whole family needs, and those that were run beside them."""
        return list(dict.fromkeys((*self.scope.family.tasks, *self.tasks)))

    def card(self, task: str) -> Card:
        return self.folder.catalog.card(task)

    @property
    def methods(self) -> Mapping[str, MethodCard]:
        """All methods by name, in the order of tables."""
        return self.folder.catalog.methods

    @property
    def trained_methods(self) -> list[str]:
        """Names of the trained methods."""
        return self.folder.catalog.trained_methods()

    def entries(self) -> tuple[Entry, ...]:
        """The rows of the tables."""
        return entries_of(self.methods)

    @cached_property
    def _by_method(self) -> dict[tuple[str, str], list[StudyFile]]:
        found = defaultdict(list)
        for study in sorted(self.studies, key=lambda study: study.search):
            found[study.task, study.method].append(study)
        return dict(found)

    def searches(self, task: str, method: str) -> Sequence[StudyFile]:
        """The studies of a task and method: one for each independent search, in order."""
        return self._by_method.get((task, method), ())

    def search(self, cell: str) -> int:
        """Which search a cell, or what it is made of, is of; 1 for any other cell."""
        return self.folder.searches[cell]

    def departures(self, task: str, method: str) -> Iterator[tuple[StudyFile, Note]]:
        """Where the studies of a task and method left the protocol; what belongs to no study is left out."""
        for study in self.searches(task, method):
            for note in self.broken.get(study.id, ()):
                yield study, note

    def absent(self, method: str) -> list[StudyPlan]:
        """Studies of a method that sweeps planned together with those here, in this scope, and that have no winner."""
        absent = []
        for plan in self.conduct.absent(self.studies, method):
            if plan.task in self.wanted_tasks or not self._is_known(plan.task):
                absent.append(plan)
        return absent

    def _is_known(self, task: str) -> bool:
        """Whether a task is in the catalog."""
        try:
            self.card(task)
        except UserError:
            return False
        return True

    def finished_trials(self, study: StudyFile) -> list[Trial]:
        """The trials of a study that were not pruned and whose records can be read."""
        return [trial for trial in study.trials if trial.cell in self.records and trial.status != "pruned"]

    def ended_by_search(self, task: str, method: str) -> list[int]:
        """How many search trials were pruned or ended with a record, of every search."""
        ended = []
        for study in self.searches(task, method):
            ended.append(len(self.finished_trials(study)) + len(study.pruned))
        return ended

    def has(self, entry: Entry) -> bool:
        """Whether some task has cells of an entry."""
        return any(self.cells(task, entry) for task in self.tasks)

    def cells(self, task: str, entry: Entry) -> Source:
        """Finished, fully unsealed cells of an entry, by search and seed; empty when there are none."""
        if (task, entry) not in self._cells:
            names = self.set_names(task)
            opened = []
            for cell in self._made(task, entry):
                if self.folder.is_open(cell, task, names):
                    opened.append(cell)
            self._cells[task, entry] = tuple(opened)
        return self._cells[task, entry]

    def _made(self, task: str, entry: Entry) -> Iterator[str]:
        """The cells of an entry, opened or not."""
        if entry.method == WISE.method:
            for parent in self.cells(task, Entry(str(entry.parent))):
                yield from self._interpolated(parent, entry.alpha)
        elif entry.parent is not None:
            rule = entry.alpha if entry.greedy is None else entry.greedy
            for study in self.searches(task, entry.parent):
                for parents in self._combined(study, entry):
                    cell = self.folder.made.get((entry.method, parents, rule))
                    if cell is not None:
                        yield cell
        elif self.methods[entry.method].kind == "untrained":
            yield from self._start(task, entry.method)
        else:
            for study in self.searches(task, entry.method):
                yield from study.confirm

    def _combined(self, study: StudyFile, entry: Entry) -> list[frozenset[str]]:
        """The sets of cells of a study of each of which an entry makes one cell."""
        if entry.greedy is not None:
            return [frozenset(trial.cell for trial in self.finished_trials(study))]
        if METHODS[entry.method].of_several:
            return [frozenset(study.confirm)]
        return [frozenset({cell}) for cell in study.confirm]

    def _start(self, task: str, method: str) -> Iterator[str]:
        """The untrained cell that the scope's studies start from, if there is one, best in their precision."""
        precisions = {study.precision for study in self.studies if study.task == task}
        starts = []
        for record in self.records.values():
            cell = record.cell
            is_asked = cell.method == method and task_key(cell.task) == task_key(task)
            if is_asked and self._is_start(cell, task):
                starts.append(record)
        if starts:
            yield min(starts, key=lambda record: record.cell.precision not in precisions).id

    def _is_start(self, cell: Cell, task: str) -> bool:
        """Whether an untrained cell is what the scope's studies start from: data, model, weights, default reading."""
        start = (self.scope.stale or self.card(task).version, *self.scope.start)
        protocol = tuple(PROTOCOL.values())
        if self.studies:
            protocol = protocol_settings(self.studies[0])
        return (
            (cell.data_version, *id_form(cell.model, cell.pretrained)) == start
            and cell.reading == DEFAULT_READING
            and protocol_settings(cell) == protocol
        )

    def _interpolated(self, parent: str, alpha: float | None) -> Iterator[str]:
        """The interpolation of a cell at this alpha; None: at that which validation prefers."""
        curve = {}
        for of in self.folder.alphas:
            cell = self.folder.made.get((WISE.method, frozenset({parent}), of))
            if cell is not None:
                curve[of] = cell
        if curve and alpha is None:
            alpha = best_alpha({of: self.records[cell].metrics for of, cell in curve.items()})
        if alpha in curve:
            yield curve[alpha]

    def set_names(self, task: str) -> list[str]:
        """The sealed sets of a task: ``test`` where there is one, and ``ood/<suite>``."""
        return list(self.card(task).sets)

    def suites(self, task: str) -> list[str]:
        """Names of the sets under shift: ``ood/<suite>``."""
        return [name for name in self.set_names(task) if name.startswith("ood/")]

    def suite_names(self) -> list[str]:
        """Suites of all tasks, without ``ood/``."""
        return _plain_names(map(self.suites, self.tasks))

    def left_out_suites(self) -> list[str]:
        """Suites of the tasks, without ``ood/``, that the sweep left out."""
        return _plain_names(self.folder.left_out.get(task, ()) for task in self.tasks)

    def outcome(self, cell: str, name: str) -> Outcomes:
        """What a cell said on a set."""
        return self.folder.files.outcomes(cell, self.records[cell].cell.task, [name])[0]

    def metrics(self, cell: str) -> Mapping[str, float]:
        """All metrics of a cell."""
        return self.folder.metrics(cell)

    def seed(self, cell: str) -> int:
        return self.records[cell].cell.seed


def _plain_names(sets: Iterable[Iterable[str]]) -> list[str]:
    """Names of suites without ``ood/``, each once."""
    names = dict.fromkeys(chain.from_iterable(sets))
    return [name.removeprefix("ood/") for name in names]


def protocol_settings(one: StudyFile | Cell) -> tuple[Any, ...]:
    """The settings of the protocol, in the order of ``PROTOCOL``."""
    return tuple(getattr(one, name) for name in PROTOCOL)


def which_search(study: StudyFile | StudyPlan) -> str:
    """Which search a study is, where it is not the first: ``, search 2``."""
    return "" if study.search == 1 else f", search {study.search}"
