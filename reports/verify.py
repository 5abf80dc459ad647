"""`report verify`: make every number of a report again from raw predictions, and name whatever differs.

Caught: a changed byte in any record or any file of the report, a recorded metric that its predictions do not give, a
winner that validation does not select, a trial that its sequence does not give, confirm seeds that are not the
protocol's, a tested cell that no study names, a table, a figure or a page that the records do not give.
Not caught, and said so: predictions that were made up together with all that follows from them. Only running cells
again (`show` has their commands) and a fingerprint noted elsewhere speak against that.
"""

import csv
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from carft.core.files import file_digest, files_below
from carft.core.metrics import score, score_classes, with_prefix
from carft.store.journal import JOURNAL
from carft.store.predictions import SHARED, codes_in, outcomes_of, predictions_of
from carft.store.records import Store
from reports.build import sources_of, write_pages, write_tables
from reports.claims.claim import Verdict
from reports.claims.own import NAME
from reports.claims.verdicts import changed_margins
from reports.evidence.findings import Finding, FoundBy, What
from reports.evidence.origins import CodeOrigin, codes_used
from reports.evidence.protocol_check import why_unchecked
from reports.evidence.verification import Difference, Differs
from reports.figures.figure import DrawnFigure, draw_figures
from reports.render import manifest as manifests
from reports.render.formatting import unpacked
from reports.render.page import Content
from reports.render.pictures import FOLDER, read_pictures
from reports.tables.table import Sources, table_cards

#: recomputed numbers may differ in the last bits on another processor or another numpy, never more
RELATIVE, ABSOLUTE = 1e-9, 1e-12


@dataclass(frozen=True)
class RecordFiles:
    """The files of a results folder against the manifest of a report."""

    compared: tuple[Difference | None, ...]
    """One entry for each file; None where folder and manifest agree."""
    in_cells: int
    """Number of files of cells in the folder."""
    fingerprint: str
    """Fingerprint of the records in the folder."""


@dataclass
class Case:
    """One report and the records it claims to come from; everything is made again at most once."""

    store: Store
    folder: Path
    scratch: Path
    allow_other_code: bool = False
    head: str = ""
    notes: list[Difference] = field(default_factory=list)
    """What stands beside the checks and is no difference."""

    def note(self, what: Differs, **facts: Any) -> None:
        """Add a note."""
        self.notes.append(Difference.of(what, **facts))

    @cached_property
    def left_out_by_design(self) -> set[str]:
        """Search cells that no journal had to name, whose predictions a compact archive of 0.1.0 leaves out."""
        if not any((self.store.root / SHARED).glob("*")):
            return set()
        early = {record.id for record in self.store.records() if not record.in_journal}
        searched: set[str] = set()
        for study in self.store.studies():
            searched.update(study.trial_cells)
        return early & searched

    @cached_property
    def _manifest(self) -> tuple[manifests.Manifest, str]:
        whole = manifests.Manifest.read(self.folder, self.store.name)
        return replace(whole, records={}), manifests.fingerprint(whole.records)

    @property
    def manifest(self) -> manifests.Manifest:
        """The manifest without the digests of records, which are in :attr:`record_files`."""
        return self._manifest[0]

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the records that the manifest names."""
        return self._manifest[1]

    @cached_property
    def record_files(self) -> RecordFiles:
        """The files of the records against the manifest. Their digests take much memory, and are not kept."""
        then, now = manifests.Manifest.read(self.folder, self.store.name).records, manifests.record_digests(self.store)
        for name in now:
            if name.startswith("failures/"):  # of failures older manifests have digests of whole files
                whole = file_digest(self.store.root / name)
                if then.get(name) == whole:
                    now[name] = whole
        in_cells = sum(name.startswith("cells/") for name in now)
        return RecordFiles(tuple(_digests(then, now)), in_cells, manifests.fingerprint(now))

    @cached_property
    def sources(self) -> Sources:
        copy = self.folder / NAME
        return sources_of(self.store, str(copy) if copy.is_file() else "")

    @cached_property
    def figures(self) -> list[DrawnFigure]:
        """Every figure drawn again."""
        return draw_figures(self.sources.tables(), self.sources.evidence.scale, self.scratch / "figures")

    @cached_property
    def behind_verdicts(self) -> set[str]:
        """The cells that verdicts rest on, those that they are made of, and the searches that chose them."""
        evidence = self.sources.evidence
        cells: set[str] = set()
        for verdict in self.sources.verdicts:
            cells.update(verdict.cells)
        for cell in list(cells):
            if cell in evidence.records:
                cells.update(evidence.records[cell].cell.parents)
        for study in evidence.archive.studies:
            if not cells.isdisjoint(study.confirm):
                cells.update(study.trial_cells)
        return cells

    def same(self, *keys: str) -> bool:
        """Whether the report was made with the same code, machine or packages as are here."""
        return not self.other_versions(*keys)

    def other_versions(self, *keys: str) -> dict[str, tuple[str | None, str]]:
        """What the report was made with that is not here: name -> (version then, None where unknown; version here)."""
        then, now = _flat(self.manifest.made_with, keys), _flat(manifests.made_with(), keys)
        others = {}
        for name, version in now.items():
            if then.get(name) != version:
                others[name] = then.get(name), version
        return others


def _flat(made_with: Mapping[str, Any], keys: Sequence[str]) -> dict[str, str]:
    """The versions of these keys by name."""
    versions: dict[str, str] = {}
    for key in keys:
        value = made_with.get(key)
        if isinstance(value, dict):
            for name, version in value.items():
                versions[str(name)] = str(version)
        else:
            versions[key] = str(value)[:16]
    return versions


@dataclass(frozen=True)
class VerifyCheck:
    """What a check compared, and every difference by name."""

    name: str
    compared: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Verification:
    """The outcome of all checks."""

    checks: tuple[VerifyCheck, ...]
    notes: tuple[Difference, ...]
    fingerprint: str
    verdicts: tuple[Verdict, ...] = ()
    """Made again from the records; empty where they give none."""

    @property
    def holds(self) -> bool:
        return not any(check.differences for check in self.checks)


#: of each comparison what differs, or None
Comparisons = Iterator[Difference | None]


def verify(store: Store, folder: Path, allow_other_code: bool = False, head: str = "") -> Verification:
    """All checks of a report; ``UserError`` when there is no report or no results folder to check.

    allow_other_code: whether a report that other code made may hold; its pages are then compared by digest only. head:
    a head of the journal that was noted elsewhere; without one the order of what was done is not proven.
    """
    store.require_present()
    with tempfile.TemporaryDirectory() as scratch:
        case = Case(store, folder, Path(scratch), allow_other_code, head)
        fingerprint = case.fingerprint
        checks = []
        for name in CHECKS:
            checks.append(checked(case, name))
        verdicts = _verdicts(case)
    case.note(Differs.NOT_COVERED)
    return Verification(tuple(checks), tuple(case.notes), fingerprint, verdicts)


def checked(case: Case, name: str) -> VerifyCheck:
    """What one of :data:`CHECKS` finds; it may add notes to the case."""
    compared, found = 0, []
    for one in _whatever_it_raises(CHECKS[name](case)):
        compared += 1
        if one is not None:
            found.append(one)
    return VerifyCheck(name, compared, tuple(found))


def _verdicts(case: Case) -> tuple[Verdict, ...]:
    try:
        return tuple(case.sources.verdicts)
    except Exception:  # as in a check, which has named it
        return ()


def _whatever_it_raises(comparisons: Comparisons) -> Comparisons:
    """The same. An exception counts as a difference: a changed file may raise any."""
    try:
        yield from comparisons
    except Exception as error:
        yield Difference.of(Differs.FOUND, finding=Finding.of(What.UNCHECKED, why=why_unchecked(error)))


def _report_files(case: Case) -> Comparisons:
    """Every file of the report against the manifest; tables, figures and pictures that the manifest does not name."""
    there = set()
    for name in case.manifest.report:
        path = case.folder / name
        if path.is_file():
            there.add(path)
    for name in ("tables", "figures", FOLDER):
        there.update(case.folder.glob(f"{name}/*"))
    yield from _digests(case.manifest.report, manifests.digests(case.folder, there))


def _record_files(case: Case) -> Comparisons:
    """Every file of the records against the manifest."""
    yield from case.record_files.compared


def _digests(then: Mapping[str, str], now: Mapping[str, str]) -> Comparisons:
    for name in sorted({*then, *now}):
        if name not in now:
            yield Difference.of(Differs.MISSING, file=name)
        elif name not in then:
            yield Difference.of(Differs.ADDED, file=name)
        elif then[name] != now[name]:
            yield Difference.of(Differs.CHANGED, file=name)
        else:
            yield None


def _recorded_metrics(case: Case) -> Comparisons:
    """Every recorded metric against the one its prediction file gives; predicted classes against their logits."""
    store, without_logits, left_out = case.store, 0, 0
    for record in store.records():
        recorded = {"val": record.metrics}
        for name, evaluation in store.evaluations(record.id).items():
            recorded[name] = evaluation.metrics
        for name, metrics in recorded.items():
            may_miss = name == "val" and record.id in case.left_out_by_design
            if may_miss and not store.has_predictions(record.id, name):
                left_out += 1
                continue
            without_logits += not store.has_logits(record.id, name)
            for found in _whatever_it_raises(_one_set(store, record.id, name, metrics)):
                yield None if found is None else found.at(cell=record.id, set=name)
    if without_logits:
        case.note(Differs.WITHOUT_LOGITS, count=without_logits)
    if left_out:
        case.note(Differs.METRICS_ALONE, count=left_out)


def _one_set(store: Store, cell: str, name: str, recorded: Mapping[str, float]) -> Comparisons:
    table, has_logits = store.prediction_table(cell, name), store.has_logits(cell, name)
    if has_logits:
        predictions = predictions_of(table, store.predictions_path(cell, name))
        metrics = with_prefix(name, score(predictions))
        yield _other_codes(Differs.CLASSES, codes_in(table, "pred"), predictions.predicted)
        yield _other_codes(Differs.CONTEXTS, codes_in(table, "context_pred"), predictions.predicted_contexts)
    else:
        metrics = with_prefix(name, score_classes(outcomes_of(table)))
    for metric, then in recorded.items():
        if not metric.startswith(f"{name}/") or (metric == f"{name}/loss" and not has_logits):
            continue
        now = metrics.get(metric, math.nan)
        if math.isclose(then, now, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            yield None
        else:
            yield Difference.of(Differs.METRIC, metric=metric, then=then, now=now)


def _other_codes(what: Differs, recorded: np.ndarray, given: np.ndarray) -> Difference | None:
    """That the logits give another class or context of some images."""
    count = int((recorded != given).sum())
    return Difference.of(what, count=count) if count else None


def _departures(case: Case, *checks: FoundBy) -> Comparisons:
    """What the check of the protocol found that this check is to name, with the study that it stands against."""
    archive = case.sources.evidence.archive
    studies = {study.id: study for study in archive.studies}
    for of_check, against, finding in archive.protocol.found:
        if of_check not in checks:
            continue
        found = Difference.of(Differs.FOUND, finding=finding)
        if of_check is FoundBy.FILES or not against:
            yield found
            continue
        for name in against:
            study = studies[name]
            yield found.at(study=study.id, method=study.method, task=study.task)


def _one_each(count: int) -> Comparisons:
    """So many comparisons that found nothing."""
    yield from repeat(None, count)


def _with_winner(case: Case) -> int:
    """The number of studies that have a winner."""
    return sum(bool(study.winner) for study in case.sources.evidence.archive.studies)


def _winners(case: Case) -> Comparisons:
    """Every study's winner against selection on validation, and its confirm cells against the winner."""
    yield from _one_each(_with_winner(case))
    yield from _departures(case, FoundBy.WINNERS)


def _conduct(case: Case) -> Comparisons:
    """Every study against the protocol: its plan, its identity, its trials as the sequence gives them, its confirm
    seeds, and whether cells that were tested or searched are left out."""
    earlier = sum(not study.sampler for study in case.sources.evidence.archive.studies)
    if earlier:
        case.note(Differs.EARLIER_SAMPLER, count=earlier)
    yield from _one_each(_with_winner(case))
    yield from _departures(case, FoundBy.CONDUCT, FoundBy.IDENTITY)
    for change in changed_margins(case.sources.evidence).values():
        yield Difference.of(Differs.MARGIN, change=change)


def _code(case: Case) -> Comparisons:
    """The code that ran the cells: it must be this code or published code, or other code is allowed."""
    for use in codes_used(case.sources.evidence.archive.protocol.journal):
        case.note(Differs.CODE, use=use)
        if use.origin == CodeOrigin.OTHER and not case.allow_other_code:
            yield Difference.of(Differs.CODE, use=use)
        else:
            yield None


def _journal(case: Case) -> Comparisons:
    """Every file of a cell against the journal, the head that was given, and the losses of first steps."""
    check = case.sources.evidence.archive.protocol
    journal = check.journal
    if case.head:
        yield from _after_head(case)
    if not journal.lines:
        case.note(Differs.NO_JOURNAL)
        return
    if not case.head:
        case.note(Differs.ORDER_UNPROVEN, head=journal.head)
    for finding in check.notes:
        case.note(Differs.FOUND, finding=finding)
    files_below(case.store.root, ("cells", "studies", JOURNAL))  # refuses links, which no manifest holds
    yield from _one_each(case.record_files.in_cells)
    yield from _departures(case, FoundBy.FILES)


def _after_head(case: Case) -> Comparisons:
    """Whether the journal has the head that was given, and cells behind verdicts that are after it."""
    check = case.sources.evidence.archive.protocol
    covered = check.journal.covered(case.head)
    if not covered:
        yield Difference.of(Differs.NO_HEAD, head=case.head)
        return
    case.note(Differs.HEAD_COVERS, covered=len(covered), lines=len(check.journal.lines))
    further = 0
    for cell, finding in check.after_head(case.head).items():
        if cell in case.behind_verdicts:
            yield Difference.of(Differs.FOUND, finding=finding)
        else:
            further += 1
    if further:
        case.note(Differs.FOUND, finding=Finding.of(What.MORE_AFTER_HEAD, count=further))


def _tables(case: Case) -> Comparisons:
    """Every value of every table against the one made again from the records; verdicts are among the tables."""
    for path in write_tables(case.sources, case.scratch / "tables"):
        name, shown = path.stem, case.folder / "tables" / path.name
        if not shown.is_file():
            yield Difference.of(Differs.MISSING, file=name)
            continue
        values = _count_of_values(path)
        if values is not None and file_digest(shown) == file_digest(path):  # as of nearly all; it takes no memory
            yield from _one_each(values)
            continue
        there, made = _csv_table(shown), _csv_table(path)
        if there is None or made is None or there.shape != made.shape or list(there) != list(made):
            yield Difference.of(Differs.SHAPE, table=name)
            continue
        yield from _one_each(made.size)
        differs = (there.to_numpy() != made.to_numpy()) & ~np.isclose(_floats(there), _floats(made), RELATIVE, ABSOLUTE)
        for row, column in np.argwhere(differs):
            key = table_cards()[name].key(made.iloc[row].to_dict())
            place = f"{name}.{key}.{made.columns[column]}"
            then, now = str(there.iat[row, column]), str(made.iat[row, column])
            yield Difference.of(Differs.VALUE, place=place, then=then, now=now)


def _count_of_values(path: Path) -> int | None:
    """The number of values below the names of columns; None where :func:`_csv_table` gives no table."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = Counter(len(row) for row in csv.reader(stream) if row)
    if len(rows) != 1:
        return None
    ((width, count),) = rows.items()
    return width * (count - 1)


def _csv_table(path: Path) -> pd.DataFrame | None:
    """A table as text; None where a row is longer or shorter than the first, and for an empty file.

    pandas would take values before the first column for the names of rows.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if row]
    if len({len(row) for row in rows}) != 1:
        return None
    return pd.DataFrame(rows[1:], columns=rows[0])


def _floats(table: pd.DataFrame) -> np.ndarray:
    """The values of a table; NaN for one that is no number."""
    return table.apply(pd.to_numeric, errors="coerce").to_numpy(float)


def _figures(case: Case) -> Comparisons:
    """Every figure is there and no other is, and every byte of it is what is drawn again.

    One that other versions drew may differ: it could not be compared, which holds only where other code is allowed.
    """
    shown = case.folder / "figures"
    versions = case.other_versions("code", "machine", "packages")
    for drawn in case.figures:
        for path in (drawn.png, drawn.svg):
            yield _figure(case, shown / path.name, path, versions)
    expected = {drawn.name for drawn in case.figures}
    for path in sorted(shown.glob("*.svg")):
        if path.stem in expected:
            yield None
        else:
            yield Difference.of(Differs.NO_FIGURE, file=f"figures/{path.name}")


def _figure(case: Case, shown: Path, made: Path, versions: Mapping[str, tuple[str | None, str]]) -> Difference | None:
    """A figure of the report against the one that was drawn again. versions: as of :meth:`Case.other_versions`."""
    name = f"figures/{made.name}"
    found = _compare(shown, made, name, Path.read_bytes)
    if found is None or found.what == Differs.MISSING or not versions:
        return found
    if not case.allow_other_code:
        return Difference.of(Differs.OTHER_VERSIONS, file=name, versions=versions)
    case.note(Differs.OTHER_VERSIONS, file=name, versions=versions)
    return None


def _pages(case: Case) -> Comparisons:
    """Every page against one rendered again around the report's own figures and pictures."""
    if not case.same("code"):
        case.note(Differs.OTHER_CODE)
        yield None if case.allow_other_code else Difference.of(Differs.OTHER_CODE)
        return
    shown = case.folder / "figures"
    own = [replace(drawn, png=shown / drawn.png.name, svg=shown / drawn.svg.name) for drawn in case.figures]
    pictures = read_pictures((case.folder / FOLDER).glob("*.jpg"))
    content = Content(case.sources, own, case.record_files.fingerprint, pictures)
    for path in write_pages(content, case.scratch):
        yield _compare(case.folder / path.name, path, path.name, _unpacked_page)


def _unpacked_page(path: Path) -> str:
    return unpacked(path.read_text(encoding="utf-8"))


def _compare(shown: Path, made: Path, name: str, read: Callable[[Path], object]) -> Difference | None:
    if not shown.is_file():
        return Difference.of(Differs.MISSING, file=name)
    if file_digest(shown) == file_digest(made) or read(shown) == read(made):
        return None
    return Difference.of(Differs.NOT_GIVEN, file=name)


CHECKS: dict[str, Callable[[Case], Comparisons]] = {
    "files of the report against the manifest": _report_files,
    "records against the manifest": _record_files,
    "recorded metrics against predictions": _recorded_metrics,
    "winners against validation": _winners,
    "studies against the protocol": _conduct,
    "files against the journal": _journal,
    "code of the cells": _code,
    "tables and verdicts against records": _tables,
    "figures against records": _figures,
    "pages against records": _pages,
}
