"""`report verify`: rebuild the report from its records, compare every table, and name what differs.

It sees mistakes: a file that was changed, a table of other records, a rule of the protocol that was broken. It does not
see forgery: whoever owns the folder can change records, journal and report alike (docs/reliability.md).
"""

import csv
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carft.store.journal import JOURNAL, journal_digest
from carft.store.records import Store
from reports.judge.claims.claim import Verdict
from reports.judge.claims.verdicts import changed_margins
from reports.judge.evidence import Evidence, which_search
from reports.pipeline import findings_of
from reports.render.manifest import Manifest, fingerprint, made_with, record_digests
from reports.render.report import write_tables
from reports.render.tables.table import make_tables, table_cards

#: recomputed numbers may differ in the last bits on another processor or another numpy, never more
RELATIVE, ABSOLUTE = 1e-9, 1e-12
LIMITS = (
    "What this cannot see: records, journal and report that their owner changed alike. Publish all three in git, with "
    "the sha256 of the journal."
)
NO_JOURNAL = "The records have no journal: in which order test sets were opened is not known."

#: column -> value, as a CSV file has it
Row = dict[str, str]


@dataclass(frozen=True)
class VerifyCheck:
    """What a check compared, and every difference in words."""

    name: str
    compared: int
    differences: Sequence[str]


@dataclass(frozen=True)
class Verification:
    """The outcome of all checks."""

    checks: Sequence[VerifyCheck]
    notes: Sequence[str]
    """What stands beside the checks and is no difference."""
    fingerprint: str
    """That of the records that are here."""
    journal: str
    """The sha256 of the journal; see :func:`carft.store.journal.journal_digest`."""
    verdicts: Sequence[Verdict]
    """Made again from the records."""

    @property
    def holds(self) -> bool:
        return not any(check.differences for check in self.checks)


def verify(store: Store, folder: Path) -> Verification:
    """Compare a report with its records; ``UserError`` where there is no report, no results folder or no study."""
    store.require_present()
    manifest = Manifest.read(folder, store.name)
    findings = findings_of(store)
    records = record_digests(store)
    with tempfile.TemporaryDirectory() as scratch:
        paths = write_tables(make_tables(findings), Path(scratch))
        tables = list(_other_tables(folder / "tables", paths))
    studies, broken = findings.evidence.folder.studies, broken_rules(findings.evidence)
    checks = (
        VerifyCheck("records against the manifest", len(records), list(_changed(manifest.records, records))),
        VerifyCheck("tables and verdicts against records", len(paths), tables),
        VerifyCheck("studies against the protocol", len(studies), broken),
    )
    notes = [*_other_versions(manifest), LIMITS]
    if not findings.evidence.folder.journal.lines:
        notes.insert(0, NO_JOURNAL)
    journal = journal_digest(store.root / JOURNAL)
    return Verification(checks, notes, fingerprint(records), journal, findings.verdicts)


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Files of records that are missing, that were added, or that have another digest than a manifest names."""
    for name in sorted({*then, *now}):
        if name not in now:
            yield f"{name} is missing"
        elif name not in then:
            yield f"{name} was added after the report was written"
        elif then[name] != now[name]:
            yield f"{name} was changed after the report was written"


def _other_tables(folder: Path, made: Sequence[Path]) -> Iterator[str]:
    """Every value of a report's tables that its records do not give."""
    for path in made:
        shown = folder / path.name
        if not shown.is_file():
            yield f"{path.stem} is missing"
        elif shown.read_bytes() != path.read_bytes():
            yield from _other_values(path.stem, _rows(shown), _rows(path))


def _other_values(name: str, shown: Sequence[Row], given: Sequence[Row]) -> Iterator[str]:
    """Every value of a table that its records do not give."""
    if list(map(list, shown)) != list(map(list, given)):
        yield f"{name} has other rows or columns than the records give"
        return
    for row, wanted in zip(shown, given, strict=True):
        for column, now in wanted.items():
            if not _is_same(row[column] or "", now):
                address = f"{name}.{table_cards()[name].key(wanted)}.{column}"
                yield f"{address} is {row[column] or 'empty'}; the records give {now or 'empty'}"


def _rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _is_same(then: str, now: str) -> bool:
    """Whether two values are one text, or numbers that differ in their last bits."""
    try:
        return then == now or math.isclose(float(then), float(now), rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    except ValueError:
        return False


def broken_rules(evidence: Evidence) -> list[str]:
    """Rules that the studies broke, and margins that are not those of a plan."""
    studies = {study.id: study for study in evidence.folder.studies}
    broken = []
    for name, notes in evidence.broken.items():
        place = ""
        if name:
            study = studies[name]
            place = f"study {name} ({study.method} on {study.task}{which_search(study)}): "
        for note in notes:
            broken.append(f"{place}{note.text}")
    for note in changed_margins(evidence).values():
        broken.append(note.text)
    return broken


def _other_versions(manifest: Manifest) -> Iterator[str]:
    """With what the report was made that is not here."""
    then, now = dict(manifest.made_with), dict(made_with())
    then |= then.pop("packages")
    now |= now.pop("packages")
    others = []
    for name, here in now.items():
        if then.get(name) != here:
            others.append(f"{name} {str(then.get(name, 'unknown'))[:16]}, here {str(here)[:16]}")
    if others:
        yield f"The report was made with other versions: {'; '.join(others)}."
