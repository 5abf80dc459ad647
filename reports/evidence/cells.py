"""The files of cells against the lines of the journal that tell of them.

Of several lines on one cell under one NUMERICS the first counts. A cell that was made again must have predicted the
same: its files may differ in times.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from carft import NUMERICS
from carft.core.files import file_digest
from carft.store.journal import Journal, Line
from carft.store.predictions import SHARED, shared_digests
from carft.store.record_files import Record
from carft.store.records import Store
from reports.evidence.findings import Finding, What

HISTORY, PREDICTIONS, RECORD = "history.parquet", "predictions.parquet", "record.json"


@dataclass
class CellLines:
    """The lines on cells of the current NUMERICS."""

    store: Store
    records: Mapping[str, Record]
    journal: Journal
    trials: Collection[str]
    """Cells of searches that are no confirm cells: a compact archive has no history of them."""
    searched: Collection[str]
    """Those of studies that have a winner: it was selected after all of them had ended."""

    @cached_property
    def done(self) -> set[str]:
        """Cells with a record, of any NUMERICS."""
        return set(self.store.ids())

    @cached_property
    def finished(self) -> dict[str, list[Line]]:
        """Cell -> lines that tell that it finished, in order; empty for other cells."""
        lines: dict[str, list[Line]] = defaultdict(list)
        for line in self.journal.of("finished"):
            if line.numerics == NUMERICS:
                lines[line.cell].append(line)
        return lines

    @cached_property
    def opened(self) -> dict[str, dict[str, list[Line]]]:
        """Cell -> held-out set -> lines that tell of its openings, in order; empty for other cells."""
        lines: dict[str, dict[str, list[Line]]] = defaultdict(dict)
        for line in self.journal.of("opened"):
            if line.numerics == NUMERICS:
                lines[line.cell].setdefault(line.set, []).append(line)
        return lines

    @cached_property
    def failed(self) -> set[str]:
        """Cells of which the journal names a failure."""
        return {line.cell for line in self.journal.of("failed")}

    @cached_property
    def earlier(self) -> dict[str, str]:
        """Cell -> sha256 of its record, of cells that were there before the journal, or in a folder without one."""
        digests: dict[str, str] = {}
        for line in self.journal.lines.values():
            digests |= line.found
        return digests

    @cached_property
    def found(self) -> set[str]:
        """Cells that were found and not made: no line tells that they finished."""
        found = set()
        for cell in self.records:
            if cell in self.earlier and not self.finished.get(cell):
                found.add(cell)
        return found

    @cached_property
    def _shared(self) -> dict[tuple[str, str], str]:
        return shared_digests(self.store.root / SHARED)

    @cached_property
    def _added(self) -> dict[tuple[str, str], str]:
        """(cell, set) -> digest of the predictions, of digests that were added later; the first one counts."""
        added: dict[tuple[str, str], str] = {}
        for line in self.journal.of("digested"):
            for cell, digests in line.added.items():
                for name, digest in digests.items():
                    added.setdefault((cell, name), digest)
        return added

    def __post_init__(self) -> None:
        self.not_held: set[tuple[str, str]] = set()
        """(cell, set) of predictions without logits of which the journal has no digest."""
        self.interrupted: list[Finding] = []

    def of_cell(self, cell: str) -> Iterator[Finding]:
        """Where the files of a cell are not what the journal tells."""
        lines, folder = self.finished.get(cell, []), self.store.folder(cell)
        if cell not in self.done:
            if lines and self._is_interrupted(lines[-1]):
                self.interrupted.append(Finding.of(What.INTERRUPTED, cell=cell, file=RECORD))
            elif lines or cell in self.opened:
                yield Finding.of(What.OPENED_AND_GONE if cell in self.opened else What.FINISHED_AND_GONE, cell=cell)
            return
        if folder.is_symlink() or any(path.is_symlink() for path in folder.rglob("*")):
            yield Finding.of(What.LINK, cell=cell)
        digest = file_digest(folder / RECORD)
        if lines:
            yield from self._of_record(cell, lines, digest)
        elif cell in self.records and self.earlier.get(cell) != digest:
            yield Finding.of(What.NOT_NAMED, cell=cell)
        for name, openings in sorted(self.opened.get(cell, {}).items()):
            yield from self._of_opening(cell, name, openings)
        if lines:
            yield from self._not_named(cell)

    def _not_named(self, cell: str) -> Iterator[Finding]:
        """Evaluations of a cell that no line on its openings names."""
        named: set[str] = set()
        for openings in self.opened.get(cell, {}).values():
            for line in openings:
                named.update(line.files)
        for path in self.store.evaluation_paths(cell):
            file = f"evaluations/{path.name}"
            if file not in named:
                yield Finding.of(What.OTHER_EVALUATION, cell=cell, file=file)

    def _of_record(self, cell: str, lines: list[Line], digest: str) -> Iterator[Finding]:
        replaced: set[str] = set()
        for line in lines:
            replaced.update(line.replaced)
        if replaced:
            yield Finding.of(What.REPLACED_CODE, cell=cell, names=sorted(replaced))
        its = _line_on(lines, RECORD, digest)
        if its is None:
            yield Finding.of(What.OTHER_RECORD, cell=cell)
            return
        if not all(_same_predictions(its, first, "val", PREDICTIONS) for first in self.journal.first(lines)):
            yield Finding.of(What.MADE_AGAIN, cell=cell)
        for file in sorted(its.files.keys() - {RECORD}):
            yield from self._of_file(cell, file, its, "val")

    def _of_opening(self, cell: str, name: str, lines: list[Line]) -> Iterator[Finding]:
        facts = f"evaluations/{name.replace('/', '-')}.json"
        path = self.store.folder(cell) / facts
        if not path.is_file():
            if self._is_interrupted(lines[-1]):
                self.interrupted.append(Finding.of(What.INTERRUPTED, cell=cell, file=facts))
            else:
                yield Finding.of(What.EVALUATION_GONE, cell=cell, file=facts)
            return
        its = _line_on(lines, facts, file_digest(path))
        if its is None:
            yield Finding.of(What.OTHER_EVALUATION, cell=cell, file=facts)
            return
        predictions = facts.removesuffix(".json") + ".parquet"
        if not all(_same_predictions(its, first, name, predictions) for first in self.journal.first(lines)):
            yield Finding.of(What.OPENED_AGAIN, cell=cell, file=facts)
        yield from self._of_file(cell, predictions, its, name)

    def _of_file(self, cell: str, file: str, line: Line, name: str) -> Iterator[Finding]:
        """What is wrong with a file that a line names. name: the set that it holds predictions of, if it does."""
        path: Path = self.store.folder(cell) / file
        if path.is_file():
            if file_digest(path) != line.files.get(file):
                yield Finding.of(What.OTHER_FILE, cell=cell, file=file)
            return
        shared = self._shared.get((cell, name.replace("/", "-")))
        if file == HISTORY and shared and cell in self.trials:
            return
        if shared is None or file in (HISTORY, "spec.json"):
            yield Finding.of(What.FILE_GONE, cell=cell, file=file)
            return
        wanted = line.outcomes.get(name) or self._added.get((cell, name))
        if wanted is None:
            self.not_held.add((cell, name))
        elif wanted != shared:
            yield Finding.of(What.OTHER_PREDICTIONS, cell=cell, set=name)

    def _is_interrupted(self, line: Line) -> bool:
        """Whether a process may have been killed between a line and the file that it tells of."""
        return line.cell not in self.searched and self.journal.is_unfinished(line)


def _line_on(lines: Iterable[Line], file: str, digest: str) -> Line | None:
    """The first of the lines that names a file with this digest."""
    for line in lines:
        if line.files.get(file) == digest:
            return line
    return None


def _same_predictions(line: Line, other: Line, name: str, file: str) -> bool:
    """Whether two lines tell of the same predictions on a set, in the file of this name."""
    if line is other:
        return True
    ours, theirs = line.outcomes.get(name), other.outcomes.get(name)
    if ours and theirs:
        return ours == theirs
    return line.files.get(file) == other.files.get(file)
