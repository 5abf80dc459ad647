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
from carft.store.predictions import SHARED
from carft.store.records import Store
from reports.build import sources_of, write_pages, write_tables
from reports.claims.claim import Verdict
from reports.claims.own import NAME
from reports.claims.verdicts import changed_margins
from reports.evidence.findings import Check, Finding, What
from reports.evidence.origins import CodeOrigin, codes_used
from reports.evidence.protocol import why_unchecked
from reports.figures.figure import DrawnFigure, draw_figures
from reports.render import manifest as manifests
from reports.render.formatting import unpacked
from reports.render.page import Content
from reports.render.pictures import FOLDER, read_pictures
from reports.tables.table import Sources, table_cards
from reports.words.flaws import flaw_words

#: recomputed numbers may differ in the last bits on another processor or another numpy, never more
RELATIVE, ABSOLUTE = 1e-9, 1e-12
NOT_COVERED = (
    "What this cannot see: predictions made up together with records, report and manifest. Against that stand the "
    "fingerprint, if it was noted elsewhere, and running a cell again (the page and `show` have the commands). Weights "
    "are not read."
)


@dataclass
class Case:
    """One report and the records it claims to come from; everything is made again at most once."""

    store: Store
    folder: Path
    scratch: Path
    allow_other_code: bool = False
    head: str = ""
    notes: list[str] = field(default_factory=list)

    @cached_property
    def left_out_by_design(self) -> set[str]:
        """Search cells that no journal had to name, whose predictions a compact archive of 0.1.0 leaves out."""
        if not any((self.store.root / SHARED).glob("*")):
            return set()
        early = {record.id for record in self.store.records() if not record.in_journal}
        return early & {trial.cell for study in self.store.studies() for trial in study.trials}

    @cached_property
    def manifest(self) -> manifests.Manifest:
        return manifests.Manifest.read(self.folder, self.store.name)

    @cached_property
    def records(self) -> dict[str, str]:
        """Digests of the records; of failures the older ones, of whole files, where the manifest has those."""
        found, then = manifests.record_digests(self.store), self.manifest.records
        whole = {name: self.store.root / name for name in found if name.startswith("failures/")}
        for name, path in whole.items():
            if then.get(name) == (digest := file_digest(path)):
                found[name] = digest
        return found

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
        cells = {cell for verdict in self.sources.verdicts for cell in verdict.cells}
        for cell in list(cells):
            cells.update(evidence.records[cell].cell.parents if cell in evidence.records else ())
        for study in evidence.archive.studies:
            if not cells.isdisjoint(study.confirm):
                cells.update(trial.cell for trial in study.trials)
        return cells

    def same(self, *keys: str) -> bool:
        """Whether the report was made with the same code, machine or packages as are here."""
        return not self.other_versions(*keys)

    def other_versions(self, *keys: str) -> str:
        """What the report was made with that is not here, such as ``matplotlib 3.9, here 3.10``; empty for nothing."""
        then, now = _flat(self.manifest.made_with, keys), _flat(manifests.made_with(), keys)
        others = [name for name in now if then.get(name) != now[name]]
        return "; ".join(f"{name} {then.get(name, 'unknown')}, here {now[name]}" for name in others)


def _flat(made_with: Mapping[str, Any], keys: Sequence[str]) -> dict[str, str]:
    """The versions of these keys by name."""
    versions: dict[str, str] = {}
    for key in keys:
        value = made_with.get(key)
        if isinstance(value, dict):
            versions |= {str(name): str(version) for name, version in value.items()}
        else:
            versions[key] = str(value)[:16]
    return versions


@dataclass(frozen=True)
class VerifyCheck:
    """What a check compared, and every difference by name."""

    name: str
    compared: int
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """The outcome of all checks."""

    checks: tuple[VerifyCheck, ...]
    notes: tuple[str, ...]
    fingerprint: str
    verdicts: tuple[Verdict, ...] = ()
    """Made again from the records; empty where they give none."""

    @property
    def holds(self) -> bool:
        return not any(check.differences for check in self.checks)


#: of each comparison what differs, in words, or None
Comparisons = Iterator[str | None]


def verify(store: Store, folder: Path, allow_other_code: bool = False, head: str = "") -> Verification:
    """All checks of a report; ``UserError`` when there is no report or no results folder to check.

    allow_other_code: whether a report that other code made may hold; its pages are then compared by digest only. head:
    a head of the journal that was noted elsewhere; without one the order of what was done is not proven.
    """
    store.require_present()
    checks = []
    with tempfile.TemporaryDirectory() as scratch:
        case = Case(store, folder, Path(scratch), allow_other_code, head)
        fingerprint = manifests.fingerprint(case.manifest.records)
        for name, check in CHECKS.items():
            compared = list(_placed("", check(case)))
            checks.append(VerifyCheck(name, len(compared), tuple(filter(None, compared))))
        verdicts = _verdicts(case)
    return Verification(tuple(checks), (*case.notes, NOT_COVERED), fingerprint, verdicts)


def _verdicts(case: Case) -> tuple[Verdict, ...]:
    try:
        return tuple(case.sources.verdicts)
    except Exception:  # as in a check, which has named it
        return ()


def _placed(place: str, comparisons: Comparisons) -> Comparisons:
    """Put ``place`` before every difference. An exception counts as a difference: a changed file may raise any."""
    try:
        for difference in comparisons:
            yield None if difference is None else f"{place}{difference}"
    except Exception as error:
        yield f"{place}{Finding.of(What.UNCHECKED, why=why_unchecked(error)).words}"


def _report_files(case: Case) -> Comparisons:
    """Every file of the report against the manifest; tables, figures and pictures that the manifest does not name."""
    made = [case.folder / name for name in case.manifest.report]
    inside = [path for name in ("tables", "figures", FOLDER) for path in case.folder.glob(f"{name}/*")]
    there = [*inside, *(p for p in made if p.is_file())]
    yield from _digests(case.manifest.report, manifests.digests(case.folder, set(there)))


def _digests(then: Mapping[str, str], now: Mapping[str, str]) -> Comparisons:
    for name in sorted({*then, *now}):
        if name not in now:
            yield f"{name} is missing"
        elif name not in then:
            yield f"{name} was added after the report was written"
        else:
            yield None if then[name] == now[name] else f"{name} was changed after the report was written"


def _recorded_metrics(case: Case) -> Comparisons:
    """Every recorded metric against the one its prediction file gives; predicted classes against their logits."""
    store, without_logits, left_out = case.store, 0, 0
    for record in store.records():
        recorded = {"val": record.metrics, **{k: v.metrics for k, v in store.evaluations(record.id).items()}}
        for name, metrics in recorded.items():
            may_miss = name == "val" and record.id in case.left_out_by_design
            if may_miss and not store.has_predictions(record.id, name):
                left_out += 1
                continue
            without_logits += not store.has_logits(record.id, name)
            yield from _placed(f"cell {record.id}, {name}: ", _one_set(store, record.id, name, metrics))
    if without_logits:
        case.notes.append(
            f"The records are a compact archive: {without_logits} sets of predictions hold classes and contexts "
            "without logits, so losses and calibration are as recorded."
        )
    if left_out:
        case.notes.append(f"The archive is of an earlier version: of {left_out} search cells there are metrics alone.")


def _one_set(store: Store, cell: str, name: str, recorded: Mapping[str, float]) -> Comparisons:
    outcomes = store.outcomes(cell, name)
    names = [metric for metric in recorded if metric.startswith(f"{name}/")]
    if store.has_logits(cell, name):
        predictions = store.predictions(cell, name)
        metrics = with_prefix(name, score(predictions))
        for what, wrong in (
            ("class", outcomes.predicted != predictions.predicted),
            ("context", outcomes.predicted_contexts != predictions.predicted_contexts),
        ):
            yield f"the {what} of {wrong.sum()} images is not that of the largest logit" if wrong.any() else None
    else:
        metrics = with_prefix(name, score_classes(outcomes))
        names = [metric for metric in names if not metric.endswith("/loss")]
    for metric in names:
        then, now = recorded[metric], metrics.get(metric, math.nan)
        is_same = math.isclose(then, now, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
        yield None if is_same else f"{metric} is recorded as {then!r}; its predictions give {now!r}"


def _departures(case: Case, *checks: Check) -> Comparisons:
    """What the check of the protocol found that this check is to name, with the study that it stands against."""
    archive = case.sources.evidence.archive
    studies = {study.id: study for study in archive.studies}
    for of_check, against, finding in archive.protocol.found:
        if of_check not in checks:
            continue
        named = [f"study {s.id} ({s.method} on {s.task}): " for s in map(studies.__getitem__, against)]
        yield from (f"{place}{finding.words}" for place in ([""] if of_check is Check.FILES else named) or [""])


def _winners(case: Case) -> Comparisons:
    """Every study's winner against selection on validation, and its confirm cells against the winner."""
    yield from (None for study in case.sources.evidence.archive.studies if study.winner)
    yield from _departures(case, Check.WINNERS)


def _conduct(case: Case) -> Comparisons:
    """Every study against the protocol: its plan, its identity, its trials as the sequence gives them, its confirm
    seeds, and whether cells that were tested or searched are left out."""
    archive = case.sources.evidence.archive
    if earlier := sum(not study.sampler for study in archive.studies):
        case.notes.append(
            f"{earlier} searches are of an earlier version, whose trials depended on results: that they tried what its "
            "sampler gives is checked by the commit that made them, which their records name."
        )
    yield from (None for study in archive.studies if study.winner)
    yield from _departures(case, Check.CONDUCT, Check.IDENTITY)
    yield from map(flaw_words, changed_margins(case.sources.evidence).values())


def _code(case: Case) -> Comparisons:
    """The code that ran the cells: it must be this code or published code, or other code is allowed."""
    for use in codes_used(case.sources.evidence.archive.protocol.journal):
        case.notes.append(f"{use.words}.")
        is_other = use.origin == CodeOrigin.OTHER and not case.allow_other_code
        yield f"{use.words}: check with the code that ran them, or --allow-other-code" if is_other else None


def _journal(case: Case) -> Comparisons:
    """Every file of a cell against the journal, the head that was given, and the losses of first steps."""
    check = case.sources.evidence.archive.protocol
    journal = check.journal
    if case.head and not (covered := journal.covered(case.head)):
        yield f"the journal has no head {case.head}: it was changed or shortened, or the head is of another folder"
    elif case.head:
        case.notes.append(f"The head covers {len(covered)} of the {len(journal.lines)} lines of the journal.")
        after = check.after_head(case.head)
        behind = case.behind_verdicts
        yield from (finding.words for cell, finding in after.items() if cell in behind)
        if further := len(after.keys() - behind):
            case.notes.append(Finding.of(What.MORE_AFTER_HEAD, count=further).words)
    if not journal.lines:
        case.notes.append(
            "The records have no journal, as earlier versions wrote none: how the searches were conducted is checked "
            "by the commit that made them."
        )
        return
    if not case.head:
        ends = f"The journal's head is {journal.head}." if journal.head else "No line of the journal covers all others."
        case.notes.append(f"Order unproven: no head was given. {ends}")
    case.notes += [finding.words for finding in check.notes]
    files_below(case.store.root, ("cells", "studies", JOURNAL))  # refuses links, which no manifest holds
    yield from (None for name in case.records if name.startswith("cells/"))
    yield from _departures(case, Check.FILES)


def _tables(case: Case) -> Comparisons:
    """Every value of every table against the one made again from the records; verdicts are among the tables."""
    for path in write_tables(case.sources, case.scratch / "tables"):
        name, shown = path.stem, case.folder / "tables" / path.name
        if not shown.is_file():
            yield f"{name} is missing"
            continue
        rows, made_rows = map(_csv_rows, (shown, path))
        if rows[:1] != made_rows[:1] or list(map(len, rows)) != list(map(len, made_rows)):
            yield f"{name} has other rows or columns than the records give"
            continue
        there, made = (pd.DataFrame(each[1:], columns=each[0]) for each in (rows, made_rows))
        yield from repeat(None, made.size)
        value, given = (table.apply(pd.to_numeric, errors="coerce").to_numpy(float) for table in (there, made))
        differs = (there.to_numpy() != made.to_numpy()) & ~np.isclose(value, given, RELATIVE, ABSOLUTE)
        for row, column in np.argwhere(differs):
            place = f"{name}.{table_cards()[name].key(made.iloc[row].to_dict())}.{made.columns[column]}"
            words = [str(table.iat[row, column]) or "empty" for table in (there, made)]
            yield f"{place} is {words[0]}; the records give {words[1]}"


def _csv_rows(path: Path) -> list[list[str]]:
    """The columns and rows of a table. pandas would take values before the first column for the names of rows."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [row for row in csv.reader(stream) if row]


def _figures(case: Case) -> Comparisons:
    """Every figure is there and no other is, and every byte of it is what is drawn again.

    One that other versions drew may differ: it could not be compared, which holds only where other code is allowed.
    """
    other = case.other_versions("code", "machine", "packages")
    shown = case.folder / "figures"
    for drawn in case.figures:
        for path in (drawn.png, drawn.svg):
            name = f"figures/{path.name}"
            words = _compare(shown / path.name, path, name, Path.read_bytes)
            if words and other and (shown / path.name).is_file():
                words = f"{name} cannot be compared with one that is drawn again, since its versions differ: {other}"
                if case.allow_other_code:
                    case.notes.append(f"{words}.")
                    words = None
            yield words
    expected = {drawn.name for drawn in case.figures}
    for path in sorted(shown.glob("*.svg")):
        yield None if path.stem in expected else f"figures/{path.name} is not a figure of these records"


def _pages(case: Case) -> Comparisons:
    """Every page against one rendered again around the report's own figures and pictures."""
    if not case.same("code"):
        words = "the report was made by other code, so the text of its pages can be compared by digest only"
        case.notes.append(f"{words[0].upper()}{words[1:]}.")
        yield None if case.allow_other_code else f"{words}: check with the code that made it, or --allow-other-code"
        return
    shown = case.folder / "figures"
    own = [replace(drawn, png=shown / drawn.png.name, svg=shown / drawn.svg.name) for drawn in case.figures]
    pictures = read_pictures((case.folder / FOLDER).glob("*.jpg"))
    content = Content(case.sources, own, manifests.fingerprint(case.records), pictures)
    for path in write_pages(content, case.scratch):
        yield _compare(
            case.folder / path.name, path, path.name, lambda page: unpacked(page.read_text(encoding="utf-8"))
        )


def _compare(shown: Path, made: Path, name: str, read: Callable[[Path], object]) -> str | None:
    if not shown.is_file():
        return f"{name} is missing"
    return None if read(shown) == read(made) else f"{name} is not what the records give"


CHECKS: dict[str, Callable[[Case], Comparisons]] = {
    "files of the report against the manifest": _report_files,
    "records against the manifest": lambda case: _digests(case.manifest.records, case.records),
    "recorded metrics against predictions": _recorded_metrics,
    "winners against validation": _winners,
    "studies against the protocol": _conduct,
    "files against the journal": _journal,
    "code of the cells": _code,
    "tables and verdicts against records": _tables,
    "figures against records": _figures,
    "pages against records": _pages,
}
