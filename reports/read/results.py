"""Everything a results folder holds, read once: records, studies, evaluations, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
import pandas as pd

from carft import NUMERICS
from carft.catalog.catalog import Catalog
from carft.config.cell import Cell
from carft.config.registry import MethodCard
from carft.core.errors import UserError
from carft.core.failure_kinds import REPEATED, FailureKind
from carft.core.metrics import Outcomes, ood_means
from carft.data.family import Pool
from carft.store.document import read_document
from carft.store.failures import each_failure, failures
from carft.store.record_files import Evaluation, Record
from carft.store.records import Store
from carft.store.stored_catalog import stored_catalog
from carft.store.study_file import StudyFile, Trial
from reports.read.cells import cells_frame
from reports.read.conduct import Conduct
from reports.read.note import Note
from reports.read.outcomes import OutcomeReader
from reports.read.protocol import departures
from reports.read.scopes import Scope, named

Read = TypeVar("Read")
#: method of interpolations
WISE_FT = "wise_ft"


@dataclass
class Results:
    """A results folder as a report sees it. ``problems`` grows when predictions or a history turn out to be corrupt."""

    store: Store
    catalog: Catalog
    """With what the folder holds of it."""
    records: dict[str, Record] = field(default_factory=dict)
    evaluations: dict[str, dict[str, Mapping[str, float]]] = field(default_factory=dict)
    """Cell -> held-out set -> metrics, of those that can be read."""
    studies: list[StudyFile] = field(default_factory=list)
    problems: list[Note] = field(default_factory=list)
    _readable: dict[tuple[str, tuple[str, ...]], bool] = field(default_factory=dict)

    @staticmethod
    def of(store: Store) -> Results:
        """Read a whole folder. A record that cannot be read is named and counts as missing."""
        results = Results(store, stored_catalog(store, store.catalog))
        results._read_cells(store.ids())
        for name in store.study_names():
            study = results._read("study", name, partial(store.study, name))
            if study is not None:
                results.studies.append(study)
        results._name_strangers()
        results._note_failures()
        return results

    @staticmethod
    def of_cell(store: Store, cell: str) -> Results:
        """Read one cell alone."""
        results = Results(store, store.catalog)
        results._read_cells([cell])
        return results

    def _read_cells(self, cells: Iterable[str]) -> None:
        older: Counter[int] = Counter()
        for cell in cells:
            record = self._read("record", cell, partial(self.store.read, cell))
            if record is None:
                continue
            if record.numerics != NUMERICS:
                older[record.numerics] += 1
                continue
            self.records[record.id] = record
            for path in self.store.evaluation_paths(cell):
                file = self._read("evaluation", cell, partial(read_document, path, Evaluation))
                if file is not None:
                    self.evaluations.setdefault(record.id, {})[file.set] = file.metrics
        for numerics, count in sorted(older.items()):
            now = f"this report holds NUMERICS {NUMERICS} only"
            words = f"{count} cells were computed under NUMERICS {numerics}; {now}."
            self.problems.append(Note("other numerics", words, where=f"NUMERICS {numerics}"))

    def _name_strangers(self) -> None:
        """Give each method that is not known here a card, so that its cells are reported by its name."""
        methods = dict(self.catalog.stored_methods)
        named = {record.cell.method for record in self.records.values()} | {study.method for study in self.studies}
        for name in sorted(named - self.catalog.methods.keys()):
            methods[name] = MethodCard(name=name, label=name, summary="It is not known here.")
        self.catalog = replace(self.catalog, stored_methods=methods)

    def _read(self, what: str, where: str, read: Callable[[], Read]) -> Read | None:
        """The content of a file; None where it cannot be read, which is a problem. what: the kind of file."""
        try:
            return read()
        except UserError as error:
            self.problems.append(corrupt(what, where, error, self.store))
            return None

    def _note_failures(self) -> None:
        """Failed cells, and searches without a winner."""
        for cell, failure in each_failure(self.store):
            if isinstance(failure, UserError):
                self.problems.append(corrupt("failure", cell, failure, self.store))
                continue
            # other reasons may name files of this machine
            reason = f": {failure.reason}" if failure.kind in REPEATED else ""
            words = f"{failure.title}{reason} ({failure.kind}, attempt {failure.attempt})"
            self.problems.append(Note("failed cell", words, where=cell))
        for study in self.studies:
            if study.too_few:
                where = f"{study.method} on {study.task}"
                self.problems.append(Note("no winner", f"{where}: {study.too_few}.", where=where))

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row a cell: see :func:`reports.read_cells`."""
        return cells_frame(self)

    @cached_property
    def searches(self) -> Mapping[str, int]:
        """Cell -> its column ``search``."""
        return dict(self.cells["search"])

    @cached_property
    def unreadable(self) -> Mapping[str, str]:
        """Task -> why an image of it cannot be read, of tasks with cells that failed for it. No page shows it: it names
        the image."""
        reasons = {}
        for failure in failures(self.store):
            if failure.kind == FailureKind.UNREADABLE:
                reasons[failure.spec.task] = failure.reason
        return reasons

    @cached_property
    def protocol(self) -> Conduct:
        """How the studies were conducted, by records and journal."""
        return Conduct(self.records, self.studies, self.store.journal(), self.catalog)

    @cached_property
    def departures(self) -> Mapping[str, Sequence[Note]]:
        """Study -> the rules of the protocol that it broke; what concerns all studies under the empty name."""
        return departures(self.protocol)

    def scope_of(self, one: StudyFile | Cell) -> Scope:
        """The scope of a study or cell; ``UserError`` when its task is not in the catalog."""
        key = (one.task, one.data_version, one.model, one.pretrained)
        if key not in self._scopes:
            self._scopes[key] = Scope.of(one, self.catalog, self._pools)
        return self._scopes[key]

    @cached_property
    def _scopes(self) -> dict[tuple[str, ...], Scope]:
        return {}

    @cached_property
    def _pools(self) -> Sequence[Pool]:
        return self.catalog.pools(study.task for study in self.studies)

    @cached_property
    def scope_names(self) -> Mapping[Scope, str]:
        """Every scope of the studies and cells with a name that no other has."""
        scopes: dict[Scope, None] = {}
        ran: list[StudyFile | Cell] = [*self.studies]
        for record in self.records.values():
            ran.append(record.cell)
        for one in ran:
            try:
                scopes[self.scope_of(one)] = None
            except UserError:  # the task is not known here, which is said of its studies
                continue
        return named(list(scopes))

    @cached_property
    def _metrics(self) -> Mapping[str, dict[str, float]]:
        """Cell -> its metrics."""
        metrics = {}
        for name, record in self.records.items():
            every, left_out = dict(record.metrics), self.left_out.get(record.cell.task, ())
            for set_name, of_set in self.evaluations.get(name, {}).items():
                if set_name not in left_out:
                    every.update(of_set)
            metrics[name] = every | ood_means(every)
        return metrics

    def metrics(self, cell: str) -> Mapping[str, float]:
        """All metrics of a cell: the record's, those of its evaluations, and the means over suites.

        Suites that the choice of suites leaves out do not count.
        """
        return self._metrics[cell]

    @cached_property
    def left_out(self) -> Mapping[str, Sequence[str]]:
        """Task -> held-out sets that the choice of suites leaves out; empty where all suites are chosen."""
        if not self.catalog.suites:
            return {}
        whole = self.catalog.with_suites(())
        left_out: dict[str, list[str]] = {}
        for record in self.records.values():
            task = record.cell.task
            if task in left_out:
                continue
            with suppress(UserError):  # the task is not known here
                chosen = self.catalog.card(task).sets
                left_out[task] = [name for name in whole.card(task).sets if name not in chosen]
        return left_out

    def evaluated(self, cell: str) -> frozenset[str]:
        """Names of the sets the cell was unsealed on."""
        return frozenset(self.evaluations.get(cell, ()))

    def history(self, cell: str) -> Mapping[str, np.ndarray]:
        """A cell's training history; empty when it was not trained or the file is corrupt."""
        return self._read("history", cell, partial(self.store.history, cell)) or {}

    def is_open(self, cell: str, task: str, names: Sequence[str]) -> bool:
        """Whether a finished cell has readable predictions on all these sets. A corrupt file is named once."""
        if cell not in self.records or not self.evaluated(cell) >= set(names):
            return False
        asked = cell, tuple(names)
        if asked not in self._readable:
            read = partial(self.outcomes, cell, task, names)
            outcomes = self._read("predictions", cell, read)
            self._readable[asked] = outcomes is not None
        return self._readable[asked]

    @cached_property
    def _reader(self) -> OutcomeReader:
        return OutcomeReader(self.store)

    def outcomes(self, cell: str, task: str, names: Sequence[str]) -> list[Outcomes]:
        """Outcomes of a cell on sets of its task; ``UserError`` when a file is corrupt."""
        return self._reader.outcomes(cell, task, names)

    @cached_property
    def made(self) -> dict[tuple[str, frozenset[str], float | None], str]:
        """(post-hoc method, cells that it was offered, its alpha or rule) -> the cell that is made of them."""
        made: dict[tuple[str, frozenset[str], float | None], str] = {}
        for record in self.records.values():
            cell = record.cell
            if cell.parents:
                rule = cell.hyperparameters.get("alpha", cell.hyperparameters.get("greedy"))
                made[cell.method, frozenset(cell.parents), rule] = record.id
        return made

    @cached_property
    def alphas(self) -> list[float]:
        """All weights of interpolations, sorted."""
        return sorted({float(alpha or 0) for method, _, alpha in self.made if method == WISE_FT})


def finished_trials(study: StudyFile, records: Mapping[str, Record]) -> list[Trial]:
    """The trials of a study that were not pruned and whose records can be read."""
    return [t for t in study.trials if t.cell in records and t.status != "pruned"]


def corrupt(what: str, where: str, error: UserError, store: Store) -> Note:
    """A file that cannot be read, without the folder that it lies in here."""
    return Note(f"corrupt {what}", error.message.replace(f"{store.root}/", "$RESULTS/"), where=where)
