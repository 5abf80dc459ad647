"""Everything a results folder holds, read once: records, studies, evaluations, predictions, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
import pyarrow as pa

from carft import NUMERICS
from carft.catalog.catalog import Catalog
from carft.config.cell import task_key
from carft.core.errors import CorruptFile, UserError
from carft.core.failure_kinds import REPEATED, FailureKind
from carft.core.metrics import ood_means
from carft.core.private import short_paths
from carft.store.document import read_document
from carft.store.failures import each_failure, failures
from carft.store.record_files import Evaluation, Record
from carft.store.records import Store
from carft.store.stored_catalog import stored_catalog
from carft.store.study_file import StudyFile, Trial
from reports.evidence.protocol import ProtocolCheck

THREADS = 4  # that decode predictions
Content = TypeVar("Content")


@dataclass(frozen=True)
class Problem:
    """Something in the folder that a report cannot use. what: corrupt, failed, other numerics, other data, ..."""

    what: str
    where: str
    words: str

    @staticmethod
    def of(what: str, where: str, error: UserError, store: Store) -> Problem:
        """A file that cannot be read, without the folder that it lies in here."""
        return Problem(what, where, short_paths(error.message, store.root))


@dataclass(frozen=True, eq=False)
class Frame:
    """The images of a set, shared by all cells that were evaluated on them.

    images: names, in the order of the first cell read. groups: (N,) codes into group_names. labels, contexts: (N,),
    contexts -1 where unknown.
    """

    images: pa.Array
    groups: np.ndarray
    group_names: np.ndarray
    labels: np.ndarray
    contexts: np.ndarray


@dataclass(frozen=True, eq=False)
class SetOutcome:
    """A cell's predictions on a set, in the frame's order: classes and contexts (N,)."""

    frame: Frame
    predicted: np.ndarray
    predicted_contexts: np.ndarray


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
    _evaluations: dict[str, list[Evaluation]] = field(default_factory=dict)
    _histories: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    _readable: dict[str, bool] = field(default_factory=dict)
    _frames: dict[tuple[str, str], list[Frame]] = field(default_factory=dict)
    _outcomes: dict[tuple[str, str], SetOutcome] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS))

    @staticmethod
    def of(store: Store) -> Results:
        """Read records and studies. A corrupt file is named and counts as missing; another schema is refused."""
        records: dict[str, Record] = {}
        older: Counter[int] = Counter()
        results = Results(store, records, (), [], report_catalog(store))
        for cell in store.ids():
            try:
                record = store.read(cell)
            except CorruptFile as error:
                results.problems.append(Problem.of("corrupt record", cell, error, store))
                continue
            if record.numerics == NUMERICS:
                records[cell] = record
            else:
                older[record.numerics] += 1
        for numerics, count in sorted(older.items()):
            words = (
                f"{count} cells were computed under NUMERICS {numerics}; this report holds NUMERICS {NUMERICS} only."
            )
            results.problems.append(Problem("other numerics", f"NUMERICS {numerics}", words))
        studies = (results._read("study", name, partial(store.study, name)) for name in store.study_names())
        results.studies = [study for study in studies if study is not None]
        results.problems += _unused(results)
        return results

    def _read(self, what: str, where: str, read: Callable[[], Content]) -> Content | None:
        """The content of a file; None where it cannot be read, which is a problem."""
        try:
            return read()
        except UserError as error:
            self.problems.append(Problem.of(f"corrupt {what}", where, error, self.store))
            return None

    @cached_property
    def unreadable(self) -> Mapping[str, str]:
        """Task -> why an image of it cannot be read, of tasks with cells that failed for it. No page shows it: it names
        the image."""
        return {f.spec.task: f.reason for f in failures(self.store) if f.kind == FailureKind.UNREADABLE}

    @cached_property
    def protocol(self) -> ProtocolCheck:
        """Whether the studies were conducted by the protocol."""
        return ProtocolCheck(self.store, self.records, self.studies, self.catalog)

    def metrics(self, cell: str) -> dict[str, float]:
        """All metrics of a cell: the record's, those of its evaluations, and the means over suites.

        Suites that the choice of suites leaves out do not count.
        """
        record = self.records[cell]
        left_out = self.left_out.get(record.cell.task, ())
        evaluated = (entry for file in self._evaluated(cell) for entry in file.metrics.items())
        every = {**record.metrics, **dict(evaluated)}
        metrics = {name: value for name, value in every.items() if name.rpartition("/")[0] not in left_out}
        return {**metrics, **ood_means(metrics)}

    @cached_property
    def left_out(self) -> Mapping[str, Sequence[str]]:
        """Task -> held-out sets that the choice of suites leaves out; empty where all suites are chosen."""
        if not self.catalog.suites:
            return {}
        whole, tasks = self.catalog.with_suites(()), {record.cell.task for record in self.records.values()}
        chosen = {task: self.catalog.card(task).sets for task in tasks}
        return {task: [name for name in whole.card(task).sets if name not in chosen[task]] for task in tasks}

    def evaluated(self, cell: str) -> frozenset[str]:
        """Names of the sets the cell was unsealed on."""
        return frozenset(file.set for file in self._evaluated(cell))

    def _evaluated(self, cell: str) -> list[Evaluation]:
        """The evaluations of a cell that can be read; each is read once."""
        if cell not in self._evaluations:
            paths = self.store.evaluation_paths(cell)
            files = [self._read("evaluation", cell, partial(read_document, path, Evaluation)) for path in paths]
            self._evaluations[cell] = [file for file in files if file is not None]
        return self._evaluations[cell]

    def history(self, cell: str) -> Mapping[str, np.ndarray]:
        """A cell's training history, read once; empty when it was not trained or the file is corrupt."""
        if cell not in self._histories:
            self._histories[cell] = self._read("history", cell, partial(self.store.history, cell)) or {}
        return self._histories[cell]

    def is_open(self, cell: str, task: str, names: Sequence[str]) -> bool:
        """Whether a finished cell has readable predictions on all these sets. A corrupt file is named once."""
        if cell not in self.records or not self.evaluated(cell) >= set(names):
            return False
        if cell not in self._readable:
            outcomes = self._read("predictions", cell, partial(self.outcomes, cell, task, names))
            self._readable[cell] = outcomes is not None
        return self._readable[cell]

    def outcomes(self, cell: str, task: str, names: Sequence[str]) -> list[SetOutcome]:
        """Outcomes of a cell on sets of its task, which are read side by side: Arrow decodes outside the interpreter.

        ``UserError`` when a file is corrupt.
        """
        unread = [name for name in names if (cell, name) not in self._outcomes]
        tables = list(self._threads.map(lambda name: self.store.prediction_table(cell, name), unread))
        for name, table in zip(unread, tables, strict=True):
            frame, order = self._frame(task, name, table)
            codes = [table[column].to_numpy().astype(np.int32) for column in ("pred", "context_pred")]
            self._outcomes[cell, name] = SetOutcome(frame, *(c if order is None else c[order] for c in codes))
        return [self._outcomes[cell, name] for name in names]

    def _frame(self, task: str, name: str, table: pa.Table) -> tuple[Frame, np.ndarray | None]:
        """The known frame of the same images, with the order that brings these rows into its own; else a new one."""
        frames = self._frames.setdefault((task, name), [])
        images = table["image"].combine_chunks()
        facts = [table[column].to_numpy().astype(np.int32) for column in ("label", "context")]
        for frame in frames:
            if frame.images.equals(images):
                order = None
            elif len(frame.images) == len(images) and set(frame.images.to_pylist()) == set(images.to_pylist()):
                place = {image: row for row, image in enumerate(images.to_pylist())}
                order = np.array([place[image] for image in frame.images.to_pylist()])
            else:
                continue
            labels, contexts = (f if order is None else f[order] for f in facts)
            if np.array_equal(frame.labels, labels) and np.array_equal(frame.contexts, contexts):
                return frame, order
        names, codes = np.unique(np.asarray(table["group"].to_pylist()), return_inverse=True)
        frames.append(Frame(images, codes.astype(np.int32), names, *facts))
        return frames[-1], None

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
            card = self.catalog.methods.get(record.cell.method)
            if card and card.kind == "untrained":
                found.setdefault((task_key(record.cell.task), record.cell.method), []).append(record)
        return found


def report_catalog(store: Store) -> Catalog:
    """The catalog of a results folder, in which its own cards come before those of installed packages."""
    return replace(stored_catalog(store, store.catalog), prefers_stored=True)


def finished_trials(study: StudyFile, records: Mapping[str, Record]) -> list[Trial]:
    """The trials of a study whose records can be read."""
    return [t for t in study.trials if t.cell in records]


def _unused(results: Results) -> Iterator[Problem]:
    """Failed cells, searches without a winner, and suites that were opened and are left out."""
    for cell, failure in each_failure(results.store):
        if isinstance(failure, UserError):
            yield Problem.of("corrupt failure", cell, failure, results.store)
        else:
            reason = f": {failure.reason}" if failure.kind in REPEATED else ""  # others may name files of this machine
            yield Problem("failed cell", cell, f"{failure.title}{reason} ({failure.kind}, attempt {failure.attempt})")
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
