"""Everything a results folder holds, read once: records, studies, evaluations, predictions, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from carft import NUMERICS
from carft.config.catalog import Catalog
from carft.config.cell import task_key
from carft.core.errors import UNREADABLE, CorruptFile, UserError
from carft.core.metrics import ood_means
from carft.store.document import read_document
from carft.store.failures import each_failure, failures
from carft.store.records import Evaluation, Record, Store
from carft.store.stored_catalog import stored_catalog
from carft.store.study import StudyFile, Trial
from reports.evidence.outcomes import Reader
from reports.evidence.protocol import ProtocolCheck


@dataclass(frozen=True)
class Problem:
    """Something in the folder that a report cannot use. what: corrupt, failed, other numerics, other data, ..."""

    what: str
    where: str
    words: str


@dataclass
class Results:
    """A results folder as a report sees it. ``problems`` grows when a file turns out to be unreadable.

    catalog: with what the folder holds of it.
    """

    store: Store
    records: Mapping[str, Record]
    studies: Sequence[StudyFile]
    problems: list[Problem]
    catalog: Catalog
    _evaluations: dict[str, tuple[dict[str, float], frozenset[str]]] = field(default_factory=dict)
    _histories: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    _readable: dict[str, bool] = field(default_factory=dict)

    @staticmethod
    def of(store: Store) -> Results:
        """Read records and studies. A corrupt file is named and counts as missing; another schema is refused."""
        problems: list[Problem] = []
        catalog = report_catalog(store)
        records: dict[str, Record] = {}
        older: Counter[int] = Counter()
        for cell in store.ids():
            try:
                record = store.read(cell)
            except CorruptFile as error:
                problems.append(Problem("corrupt record", cell, error.message))
                continue
            if record.numerics == NUMERICS:
                records[cell] = record
            else:
                older[record.numerics] += 1
        for numerics, count in sorted(older.items()):
            words = (
                f"{count} cells were computed under NUMERICS {numerics}; this report holds NUMERICS {NUMERICS} only."
            )
            problems.append(Problem("other numerics", f"NUMERICS {numerics}", words))
        studies: list[StudyFile] = []
        for name in store.study_names():
            try:
                if (study := store.study(name)) is not None:
                    studies.append(study)
            except UserError as error:
                problems.append(Problem("corrupt study", name, error.message))
        results = Results(store, records, studies, problems, catalog)
        problems += [*_failed(results), *_left_out(results)]
        return results

    @cached_property
    def reader(self) -> Reader:
        """Reads the predictions."""
        return Reader(self.store)

    @cached_property
    def unreadable(self) -> Mapping[str, str]:
        """Task -> why an image of it cannot be read, of tasks with cells that failed for it."""
        return {f.spec.task: f.reason for f in failures(self.store) if f.kind == UNREADABLE}

    @cached_property
    def protocol(self) -> ProtocolCheck:
        """Whether the studies were conducted by the protocol."""
        return ProtocolCheck(self.store, self.records, self.studies)

    def metrics(self, cell: str) -> dict[str, float]:
        """All metrics of a cell: the record's, those of its evaluations, and the means over suites.

        Suites that the choice of suites leaves out do not count.
        """
        record = self.records[cell]
        left_out = self.left_out.get(record.cell.task, frozenset())
        every = {**record.metrics, **self._evaluated(cell)[0]}
        found = {name: value for name, value in every.items() if name.rpartition("/")[0] not in left_out}
        return {**found, **ood_means(found)}

    @cached_property
    def left_out(self) -> Mapping[str, frozenset[str]]:
        """Task -> held-out sets that the choice of suites leaves out; empty where all suites are chosen."""
        if not self.catalog.suites:
            return {}
        whole, tasks = self.catalog.with_suites(()), {record.cell.task for record in self.records.values()}
        return {task: frozenset(whole.card(task).sets) - {*self.catalog.card(task).sets} for task in tasks}

    def evaluated(self, cell: str) -> frozenset[str]:
        """Names of the sets the cell was unsealed on."""
        return self._evaluated(cell)[1]

    def _evaluated(self, cell: str) -> tuple[dict[str, float], frozenset[str]]:
        """Metrics of the evaluations, and names of the sets."""
        if cell not in self._evaluations:
            found: list[Evaluation] = []
            for path in self.store.evaluation_paths(cell):
                try:
                    found.append(read_document(path, Evaluation))
                except UserError as error:
                    self.problems.append(Problem("corrupt evaluation", cell, error.message))
            metrics = {name: value for one in found for name, value in one.metrics.items()}
            self._evaluations[cell] = metrics, frozenset(one.set for one in found)
        return self._evaluations[cell]

    def history(self, cell: str) -> Mapping[str, np.ndarray]:
        """A cell's training history, read once; empty when it was not trained or the file is corrupt."""
        if cell not in self._histories:
            try:
                self._histories[cell] = self.store.history(cell)
            except UserError as error:
                self.problems.append(Problem("corrupt history", cell, error.message))
                self._histories[cell] = {}
        return self._histories[cell]

    def is_open(self, cell: str, task: str, names: Sequence[str]) -> bool:
        """Whether a finished cell has readable predictions on all these sets. A corrupt file is named once."""
        if cell not in self.records or not self.evaluated(cell) >= set(names):
            return False
        if cell not in self._readable:
            self._readable[cell] = True
            try:
                self.reader.read(cell, task, names)
            except UserError as error:
                self.problems.append(Problem("corrupt predictions", cell, error.message))
                self._readable[cell] = False
        return self._readable[cell]

    @cached_property
    def curves(self) -> dict[str, dict[float, Record]]:
        """Trained cell -> alpha -> its interpolation."""
        curves: dict[str, dict[float, Record]] = {}
        for record in self.records.values():
            if record.cell.method == "wise_ft":
                curves.setdefault(record.cell.parents[0], {})[record.cell.hyperparameters["alpha"]] = record
        return curves

    @cached_property
    def soups(self) -> dict[tuple[frozenset[str], float], str]:
        """(members that were offered, rule) -> soup."""
        return {
            (frozenset(record.cell.parents), record.cell.hyperparameters["greedy"]): record.id
            for record in self.records.values()
            if record.cell.method == "soup"
        }

    @cached_property
    def searches(self) -> dict[str, int]:
        """Confirm cell or soup -> which of the independent searches of its question it is of, counted from 1."""
        trials = {trial.cell: study.search for study in self.studies for trial in study.trials}
        soups = {soup: trials[cell] for (cells, _), soup in self.soups.items() for cell in cells if cell in trials}
        return soups | {cell: study.search for study in self.studies for cell in study.confirm}

    @cached_property
    def untrained(self) -> dict[tuple[str, str], list[Record]]:
        """(task, method) -> cells that were never trained."""
        found: dict[tuple[str, str], list[Record]] = {}
        for record in self.records.values():
            if self.catalog.methods[record.cell.method].kind == "untrained":
                found.setdefault((task_key(record.cell.task), record.cell.method), []).append(record)
        return found


def report_catalog(store: Store) -> Catalog:
    """The catalog of a results folder, in which its own cards come before those of installed packages."""
    return replace(stored_catalog(store, store.catalog), prefers_stored=True)


def finished_trials(study: StudyFile, records: Mapping[str, Record]) -> list[Trial]:
    """The trials of a study whose records can be read."""
    return [t for t in study.trials if t.cell in records]


def _failed(results: Results) -> Iterator[Problem]:
    """Cells that failed."""
    for cell, failure in each_failure(results.store):
        if isinstance(failure, UserError):
            yield Problem("corrupt failure", cell, failure.message)
            continue
        yield Problem(
            "failed cell", cell, f"{failure.title}: {failure.reason} ({failure.kind}, attempt {failure.attempt})"
        )


def _left_out(results: Results) -> Iterator[Problem]:
    """Searches without a winner, and suites that were opened and are left out, perhaps for what they showed."""
    for study in (s for s in results.studies if s.too_few):
        where = f"{study.method} on {study.task}"
        yield Problem("no winner", where, f"{where}: {study.too_few}.")
    opened: Counter[tuple[str, str]] = Counter()
    for record in results.records.values() if any(results.left_out.values()) else ():
        opened.update((record.cell.task, name) for name in results.evaluated(record.id))
    for (task, name), count in sorted(opened.items()):
        if name in results.left_out[task]:
            words = f"{count} cells of {task} were evaluated on {name}, which --suites leaves out."
            yield Problem("suite left out", f"{task}, {name}", words)
