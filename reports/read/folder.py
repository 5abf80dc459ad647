"""Everything a results folder holds, read once: records, studies, evaluations, and what is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial

import pandas as pd

from carft import NUMERICS
from carft.catalog.catalog import Catalog
from carft.config.cell import Cell
from carft.config.registry import MethodCard
from carft.core.errors import UserError
from carft.core.failure_kinds import REPEATED, FailureKind
from carft.core.metrics import ood_means
from carft.data.family import Pool
from carft.store.document import read_document
from carft.store.failures import each_failure, failures
from carft.store.journal import Journal
from carft.store.record_files import Evaluation, Record
from carft.store.records import Store
from carft.store.stored_catalog import stored_catalog
from carft.store.study_file import StudyFile
from reports.note import Note
from reports.read.cells import cells_frame
from reports.read.files import CellFiles, corrupt, readable
from reports.read.scopes import Scope, named

#: method of interpolations
WISE_FT = "wise_ft"


@dataclass(frozen=True)
class Folder:
    """A results folder as a report sees it."""

    store: Store
    catalog: Catalog
    """With what the folder holds of it, and a card for every method that is named here."""
    records: Mapping[str, Record]
    evaluations: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Cell -> held-out set -> metrics, of those that can be read."""
    studies: Sequence[StudyFile] = ()
    notes: Sequence[Note] = ()
    """What cannot be used; what is read on demand has notes of its own (:class:`reports.read.files.CellFiles`)."""

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
    def tasks_file(self) -> str:
        """The path on this machine of the tasks file that names all own data; empty without such a file."""
        files = set()
        for study in self.studies:
            task = self.catalog.named(study.task)
            if task is not None:
                files.add(task.file)
        return files.pop() if len(files) == 1 else ""

    @cached_property
    def journal(self) -> Journal:
        """What sweeps wrote down while they ran."""
        return self.store.journal()

    @cached_property
    def _code(self) -> Mapping[str, set[str]]:
        """Cell -> digests of the code that ran it."""
        code: dict[str, set[str]] = defaultdict(set)
        for line in self.journal.of("finished"):
            if line.numerics == NUMERICS:
                code[line.cell].add(line.code)
        return dict(code)

    def code_of(self, cells: Iterable[str]) -> set[str]:
        """Digests of the code that ran these cells."""
        return set().union(*(self._code.get(cell, ()) for cell in cells))

    def scope_of(self, one: StudyFile | Cell) -> Scope:
        """The scope of a study or cell; ``UserError`` when its task is not in the catalog."""
        key = (one.task, one.data_version, one.model, one.pretrained)
        if key not in self._scopes:
            self._scopes[key] = Scope.of(one, self.catalog, self._pools)
        return self._scopes[key]

    @cached_property
    def by_scope(self) -> Mapping[Scope, Sequence[StudyFile]]:
        """The studies of every scope; those of tasks that are not in the catalog have none."""
        found: dict[Scope, list[StudyFile]] = {}
        for study in self.studies:
            with suppress(UserError):
                found.setdefault(self.scope_of(study), []).append(study)
        return found

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

    def is_open(self, cell: str, task: str, names: Sequence[str]) -> bool:
        """Whether a finished cell has readable predictions on all these sets."""
        is_evaluated = cell in self.records and self.evaluated(cell) >= set(names)
        return is_evaluated and self.files.has_outcomes(cell, task, names)

    @cached_property
    def files(self) -> CellFiles:
        """Predictions and histories, read on demand."""
        return CellFiles(self.store)

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


def read_folder(store: Store) -> Folder:
    """Read a whole folder. A record that cannot be read is named and counts as missing."""
    found = read_cells(store, store.ids())
    notes, studies = [*found.notes], []
    for name in store.study_names():
        study = readable("study", name, partial(store.study, name), store, notes)
        if study is not None:
            studies.append(study)
    methods = {study.method for study in studies} | {record.cell.method for record in found.records.values()}
    catalog = _with_strangers(stored_catalog(store, store.catalog), methods)
    notes += _failures(store, studies)
    folder = replace(found, catalog=catalog, studies=studies)
    return replace(folder, notes=[*notes, *_outside_the_catalog(folder)])


def _outside_the_catalog(folder: Folder) -> Iterator[Note]:
    """Studies of tasks that are not known here, and scopes of other data than the catalog's."""
    for study in folder.studies:
        try:
            folder.scope_of(study)
        except UserError as error:
            yield Note("unknown task", error.message, where=study.task)
    for scope in folder.by_scope:
        if scope.stale:
            name = folder.scope_names[scope]
            yield Note(
                "other data", f"Studies of {name} ran on other data than the catalog's; they stand apart.", where=name
            )


def read_cells(store: Store, cells: Iterable[str]) -> Folder:
    """Read these cells alone, without studies."""
    records: dict[str, Record] = {}
    evaluations: dict[str, dict[str, Mapping[str, float]]] = {}
    notes: list[Note] = []
    older: Counter[int] = Counter()
    for cell in cells:
        record = readable("record", cell, partial(store.read, cell), store, notes)
        if record is None:
            continue
        if record.numerics != NUMERICS:
            older[record.numerics] += 1
            continue
        records[record.id] = record
        for path in store.evaluation_paths(cell):
            file = readable("evaluation", cell, partial(read_document, path, Evaluation), store, notes)
            if file is not None:
                evaluations.setdefault(record.id, {})[file.set] = file.metrics
    for numerics, count in sorted(older.items()):
        now = f"this report holds NUMERICS {NUMERICS} only"
        words = f"{count} cells were computed under NUMERICS {numerics}; {now}."
        notes.append(Note("other numerics", words, where=f"NUMERICS {numerics}"))
    return Folder(store, store.catalog, records, evaluations, notes=notes)


def _with_strangers(catalog: Catalog, methods: Iterable[str]) -> Catalog:
    """The catalog with a card for each method that is not known here, so that its cells are reported by its name."""
    cards = dict(catalog.stored_methods)
    for name in sorted(set(methods) - catalog.methods.keys()):
        cards[name] = MethodCard(name=name, label=name, summary="It is not known here.")
    return replace(catalog, stored_methods=cards)


def _failures(store: Store, studies: Iterable[StudyFile]) -> Iterator[Note]:
    """Failed cells, and searches without a winner."""
    for cell, failure in each_failure(store):
        if isinstance(failure, UserError):
            yield corrupt("failure", cell, failure, store)
            continue
        # other reasons may name files of this machine
        reason = f": {failure.reason}" if failure.kind in REPEATED else ""
        words = f"{failure.title}{reason} ({failure.kind}, attempt {failure.attempt})"
        yield Note("failed cell", words, where=cell)
    for study in studies:
        if study.too_few:
            where = f"{study.method} on {study.task}"
            yield Note("no winner", f"{where}: {study.too_few}.", where=where)
