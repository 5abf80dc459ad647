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
from carft.config.registry import COMBINED
from carft.core.errors import UserError
from carft.core.failure_kinds import REPEATED, FailureKind
from carft.core.metrics import Frame, Outcomes, ood_means
from carft.store.document import read_document
from carft.store.failures import each_failure, failures
from carft.store.predictions import codes_in, frame_of
from carft.store.record_files import Evaluation, Record
from carft.store.records import Store
from carft.store.stored_catalog import stored_catalog
from carft.store.study_file import StudyFile, Trial
from reports.evidence.conduct import Conduct
from reports.evidence.note import Note
from reports.evidence.protocol import departures

THREADS = 4  # that decode predictions
#: bytes of a file of predictions from which on threads are quicker; with smaller files they only take CPU time
SIDE_BY_SIDE_FROM = 256 * 2**10
#: bytes of outcomes that stay in memory; those that were used least recently are read again
KEPT = 256 * 2**20
Read = TypeVar("Read")


@dataclass
class Results:
    """A results folder as a report sees it. ``problems`` grows when a file turns out to be unreadable.

    catalog: with what the folder holds of it.
    """

    store: Store
    records: Mapping[str, Record]
    studies: Sequence[StudyFile]
    problems: list[Note]
    catalog: Catalog
    _evaluations: dict[str, list[Evaluation]] = field(default_factory=dict)
    _histories: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    _readable: dict[tuple[str, tuple[str, ...]], bool] = field(default_factory=dict)
    _frames: dict[tuple[str, str], list[Frame]] = field(default_factory=dict)
    _outcomes: dict[str, dict[str, Outcomes]] = field(default_factory=dict)  # the cell that was used last comes last
    _kept: int = 0  # bytes of them
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS))

    @staticmethod
    def of(store: Store) -> Results:
        """Read records and studies. A record that cannot be read is named and counts as missing."""
        records: dict[str, Record] = {}
        older: Counter[int] = Counter()
        results = Results(store, records, (), [], report_catalog(store))
        for cell in store.ids():
            try:
                record = store.read(cell)
            except UserError as error:
                results.problems.append(corrupt("record", cell, error, store))
                continue
            if record.numerics == NUMERICS:
                records[record.id] = record
            else:
                older[record.numerics] += 1
        for numerics, count in sorted(older.items()):
            now = f"this report holds NUMERICS {NUMERICS} only"
            words = f"{count} cells were computed under NUMERICS {numerics}; {now}."
            results.problems.append(Note("other numerics", words, where=f"NUMERICS {numerics}"))
        studies = []
        for name in store.study_names():
            study = results._read("study", name, partial(store.study, name))
            if study is not None:
                studies.append(study)
        results.studies = studies
        results.problems += _unused(results)
        return results

    def _read(self, what: str, where: str, read: Callable[[], Read]) -> Read | None:
        """The content of a file; None where it cannot be read, which is a problem. what: the kind of file."""
        try:
            return read()
        except UserError as error:
            self.problems.append(corrupt(what, where, error, self.store))
            return None

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

    def metrics(self, cell: str) -> dict[str, float]:
        """All metrics of a cell: the record's, those of its evaluations, and the means over suites.

        Suites that the choice of suites leaves out do not count.
        """
        record = self.records[cell]
        every = dict(record.metrics)
        for file in self._evaluated(cell):
            every |= file.metrics
        metrics = dict(every)
        left_out = self.left_out.get(record.cell.task, ())
        for name in every:
            set_name, _, _ = name.rpartition("/")
            if set_name in left_out:
                del metrics[name]
        return {**metrics, **ood_means(metrics)}

    @cached_property
    def left_out(self) -> Mapping[str, Sequence[str]]:
        """Task -> held-out sets that the choice of suites leaves out; empty where all suites are chosen."""
        if not self.catalog.suites:
            return {}
        whole = self.catalog.with_suites(())
        left_out: dict[str, list[str]] = {}
        for record in self.records.values():
            task = record.cell.task
            if task not in left_out:
                chosen = self.catalog.card(task).sets
                left_out[task] = [name for name in whole.card(task).sets if name not in chosen]
        return left_out

    def evaluated(self, cell: str) -> frozenset[str]:
        """Names of the sets the cell was unsealed on."""
        return frozenset(file.set for file in self._evaluated(cell))

    def _evaluated(self, cell: str) -> list[Evaluation]:
        """The evaluations of a cell that can be read; each is read once."""
        if cell not in self._evaluations:
            files = []
            for path in self.store.evaluation_paths(cell):
                file = self._read("evaluation", cell, partial(read_document, path, Evaluation))
                if file is not None:
                    files.append(file)
            self._evaluations[cell] = files
        return self._evaluations[cell]

    def history(self, cell: str) -> Mapping[str, np.ndarray]:
        """A cell's training history, read once; empty when it was not trained or the file is corrupt."""
        if cell not in self._histories:
            history = self._read("history", cell, partial(self.store.history, cell))
            self._histories[cell] = history or {}
        return self._histories[cell]

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

    def outcomes(self, cell: str, task: str, names: Sequence[str]) -> list[Outcomes]:
        """Outcomes of a cell on sets of its task; ``UserError`` when a file is corrupt."""
        known = self._outcomes.pop(cell, {})
        self._outcomes[cell] = known
        unread = [name for name in names if name not in known]
        for name, table in zip(unread, self._tables(cell, unread), strict=True):
            frame, order = self._frame(task, name, table)
            classes, contexts = codes_in(table, "pred"), codes_in(table, "context_pred")
            if order is not None:
                classes, contexts = classes[order], contexts[order]
            known[name] = Outcomes(frame, classes, contexts)
            self._kept += known[name].nbytes
        while self._kept > KEPT and len(self._outcomes) > 1:
            oldest = next(iter(self._outcomes))
            self._kept -= sum(one.nbytes for one in self._outcomes.pop(oldest).values())
        return [known[name] for name in names]

    def _tables(self, cell: str, names: Sequence[str]) -> list[pa.Table]:
        """Predictions of a cell on sets. Its large files are read side by side: Arrow decodes outside the interpreter.

        A file that cells share is decoded once for all of them, so threads would only take time.
        """
        read = partial(self.store.prediction_table, cell)
        own = self.store.predictions_path(cell, names[0]) if names else None
        if own is not None and own.is_file() and own.stat().st_size >= SIDE_BY_SIDE_FROM:
            return list(self._threads.map(read, names))
        return list(map(read, names))

    def _frame(self, task: str, name: str, table: pa.Table) -> tuple[Frame, np.ndarray | None]:
        """The known frame of the same images, with the order that brings these rows into its own; else a new one."""
        frames = self._frames.setdefault((task, name), [])
        images = table["image"].combine_chunks()
        for frame in frames:
            labels, contexts, order = codes_in(table, "label"), codes_in(table, "context"), None
            if not frame.images.equals(images):
                order = _order_of(frame.images, images)
                if order is None:
                    continue
                labels, contexts = labels[order], contexts[order]
            if np.array_equal(frame.labels, labels) and np.array_equal(frame.contexts, contexts):
                return frame, order
        frames.append(frame_of(table))
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
        soups = {}
        for record in self.records.values():
            if record.cell.method == "soup":
                soups[frozenset(record.cell.parents), record.cell.hyperparameters["greedy"]] = record.id
        return soups

    @cached_property
    def combined(self) -> dict[tuple[str, frozenset[str], float | None], str]:
        """(method of ``combine``, parents, its alpha) -> the cell that is made of them."""
        made: dict[tuple[str, frozenset[str], float | None], str] = {}
        for record in self.records.values():
            cell = record.cell
            if cell.method in COMBINED:
                made[cell.method, frozenset(cell.parents), cell.hyperparameters.get("alpha")] = record.id
        return made

    @cached_property
    def searches(self) -> dict[str, int]:
        """Confirm cell or soup -> which of the independent searches of its question it is of, counted from 1."""
        of_trial: dict[str, int] = {}
        of_confirm: dict[str, int] = {}
        for study in self.studies:
            of_trial |= dict.fromkeys(study.trial_cells, study.search)
            of_confirm |= dict.fromkeys(study.confirm, study.search)
        of_soup: dict[str, int] = {}
        for (members, _), soup in self.soups.items():
            for cell in members & of_trial.keys():
                of_soup[soup] = of_trial[cell]
        return of_soup | of_confirm

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
    """The trials of a study that were not pruned and whose records can be read."""
    return [t for t in study.trials if t.cell in records and t.status != "pruned"]


def _order_of(wanted: pa.Array, images: pa.Array) -> np.ndarray | None:
    """(N,) the rows that bring images into the wanted order; None where they are other images."""
    places = {image: row for row, image in enumerate(images.to_pylist())}
    if len(wanted) != len(images) or places.keys() != set(wanted.to_pylist()):
        return None
    return np.array([places[image] for image in wanted.to_pylist()])


def corrupt(what: str, where: str, error: UserError, store: Store) -> Note:
    """A file that cannot be read, without the folder that it lies in here."""
    return Note(f"corrupt {what}", error.message.replace(f"{store.root}/", "$RESULTS/"), where=where)


def _unused(results: Results) -> Iterator[Note]:
    """Failed cells, searches without a winner, and suites that were opened and are left out."""
    for cell, failure in each_failure(results.store):
        if isinstance(failure, UserError):
            yield corrupt("failure", cell, failure, results.store)
        else:
            # other reasons may name files of this machine
            reason = f": {failure.reason}" if failure.kind in REPEATED else ""
            words = f"{failure.title}{reason} ({failure.kind}, attempt {failure.attempt})"
            yield Note("failed cell", words, where=cell)
    for study in results.studies:
        if study.too_few:
            where = f"{study.method} on {study.task}"
            yield Note("no winner", f"{where}: {study.too_few}.", where=where)
    yield from _left_out_suites(results)


def _left_out_suites(results: Results) -> Iterator[Note]:
    """Suites that cells were evaluated on, and that the choice of suites leaves out."""
    opened: Counter[tuple[str, str]] = Counter()
    if any(results.left_out.values()):
        for record in results.records.values():
            for name in results.evaluated(record.id):
                opened[record.cell.task, name] += 1
    for (task, name), count in sorted(opened.items()):
        if name in results.left_out[task]:
            words = f"{count} cells of {task} were evaluated on {name}, which --suites leaves out."
            yield Note("suite left out", words, where=f"{task}, {name}")
