"""Everything that is decided on a results folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from reports.judge.caveats import SealedAccess, caveats
from reports.judge.claims.claim import Verdict, each_once
from reports.judge.claims.verdicts import verdicts
from reports.judge.equal_settings import by_scope
from reports.judge.established import Asked, ask_controls
from reports.judge.evidence import Evidence
from reports.judge.null_checks import NullCheck, null_checks
from reports.judge.views import evidence_of
from reports.read.folder import Folder
from reports.read.note import Note


@dataclass(frozen=True)
class Findings:
    """What tables, figures and pages show."""

    evidence: Evidence
    """The first scope, with the others."""
    checks: Sequence[NullCheck]
    controls: Sequence[Asked]
    """In every scope."""
    verdicts: Sequence[Verdict]
    """Each with its cautions: page, tables, terminal and JSON all show these."""
    equal_settings: pd.DataFrame
    """As of :func:`reports.judge.equal_settings.by_scope`."""
    unsealings: SealedAccess
    """Which cells were evaluated on sealed sets."""
    caveats: Mapping[str, Sequence[str]]
    """Cell -> what a reader must know of a number that rests on it."""
    notes: Sequence[Note]
    """What cannot be used, of files that are read on demand too."""


def judge(folder: Folder) -> Findings:
    """Decide everything; ``UserError`` where the folder holds no study."""
    evidence = evidence_of(folder)
    checks, controls, access = null_checks(evidence), ask_controls(evidence), SealedAccess(evidence)
    known = caveats(evidence, access)
    found = []
    for verdict in verdicts(evidence, checks):
        found.append(replace(verdict, cautions=cautions_of(known, verdict.cells)))
    _read_all(evidence)
    notes = (*evidence.notes, *folder.files.notes)
    return Findings(evidence, checks, controls, found, by_scope(evidence), access, known, notes)


def cautions_of(caveats: Mapping[str, Sequence[str]], cells: Iterable[str]) -> tuple[str, ...]:
    """What a reader must know of a number that rests on these cells; mostly empty."""
    known: list[str] = []
    for cell in cells:
        known += caveats.get(cell, ())
    return each_once(known)


def _read_all(evidence: Evidence) -> None:
    """Read every file that is reported, so that those that cannot be read are known."""
    for view in evidence.views():
        for task in view.tasks:
            for entry in view.entries():
                view.cells(task, entry)
        for _, cell in view.confirm_cells():
            view.folder.files.history(cell)
