"""Which cells were unsealed, how often and by what, and which numbers were seen before a search had ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import pandas as pd

from carft.store.study import StudyFile
from reports.evidence.evidence import Evidence
from reports.evidence.protocol import DEPARTED

#: what tables and page say of a row that rests on such cells
MARK = "test seen during search"
#: the same, of cells of a study that began or went on once test numbers of its question were known
EXTENDED = "extended after test was seen"
COLUMNS = ("cell", "task", "method", "role", "sets", "most_often", "by", "caution")


@dataclass(frozen=True)
class SealedAccess:
    """What the log and the evaluations say.

    openings: cell -> (set -> times). by: cell -> commands. roles: cell -> search, confirm, grid, untrained,
    post-hoc, single.
    planned: search cells that a sweep opened for oracle selection, which chooses nothing that is reported.
    seen: search cells that were opened otherwise. tainted: they, and what was confirmed or interpolated from their
    studies. extended: confirm cells, and what was interpolated from them, of studies that went on after test was seen.
    departed: the same of studies that left the protocol. logged: whether the folder has a journal, or the log of an
    earlier version; without one every evaluation counts once.
    """

    openings: Mapping[str, Mapping[str, int]]
    by: Mapping[str, tuple[str, ...]]
    roles: Mapping[str, str]
    tasks: Mapping[str, tuple[str, str]]
    planned: frozenset[str]
    seen: frozenset[str]
    tainted: frozenset[str]
    extended: frozenset[str]
    departed: frozenset[str]
    logged: bool

    @staticmethod
    def of(evidence: Evidence) -> SealedAccess:
        """Count the openings: the log where there is one, and every evaluation at least once."""
        log = evidence.store.unsealings()
        openings: dict[str, Counter[str]] = defaultdict(Counter)
        by: dict[str, set[str]] = defaultdict(set)
        for line in log:
            openings[line.cell][line.set] += 1
            by[line.cell].add(line.by)
        for cell in evidence.records:
            for name in evidence.store.evaluated(cell):
                openings[cell][name] = max(1, openings[cell][name])
        studies = evidence.archive.studies
        roles = _roles(evidence, studies)
        searched = frozenset(cell for cell in openings if roles.get(cell) == "search")
        oracle = {t.cell for s in studies if s.oracle for t in s.trials}
        planned = frozenset(cell for cell in searched & oracle if by[cell] == {"sweep"})
        seen = searched - planned
        confirmed = {c for s in studies if seen & {t.cell for t in s.trials} for c in s.confirm}
        check = evidence.archive.protocol
        extended = [s for s in studies if s.extended_from or s.id in check.late]
        departed = [s for s in studies if s.id in check.departures]
        return SealedAccess(
            openings,
            {cell: tuple(sorted(names)) for cell, names in by.items()},
            roles,
            {r.id: (evidence.label(r.cell.task), r.cell.method) for r in evidence.records.values()},
            planned,
            seen,
            _with_curves(evidence, seen | confirmed),
            _with_curves(evidence, {c for s in extended for c in s.confirm}),
            _with_curves(evidence, {c for s in departed for c in s.confirm}),
            bool(log),
        )

    @property
    def most_often(self) -> int:
        """The largest number of times one cell was opened on one set."""
        return max((times for sets in self.openings.values() for times in sets.values()), default=0)

    def words(self) -> str:
        """The state of the seal in a few sentences."""
        if not self.openings:
            return "No cell was unsealed."
        counts = Counter(self.roles.get(cell, "superseded") for cell in self.openings)
        listed = ", ".join(f"{count} {role}" for role, count in sorted(counts.items()))
        often = "each set once" if self.most_often == 1 else f"a set up to {self.most_often} times"
        log = "" if self.logged else " The folder has no log of unsealings, so repeated openings cannot be seen."
        warning = (
            f" {len(self.seen)} search cells were unsealed: test numbers were seen before selection. Every number "
            f"that rests on their studies is marked '{MARK}'."
            if self.seen
            else " No search cell was unsealed."
            if not self.planned
            else f" {len(self.planned)} search cells were opened by the sweep for oracle selection alone."
        )
        more = (
            f" {len(self.extended)} cells belong to studies that began, or went on, after test numbers of their "
            f"question could be seen; they are marked '{EXTENDED}'."
            if self.extended
            else ""
        )
        return f"{len(self.openings)} cells were unsealed ({listed}), {often}.{warning}{more}{self._departures()}{log}"

    def _departures(self) -> str:
        """What the folder tells of how its studies were conducted."""
        return (
            f" {len(self.departed)} cells belong to studies that were not conducted by the protocol; they are marked "
            f"'{DEPARTED}', and nothing is decided by them."
            if self.departed
            else ""
        )

    def table(self) -> pd.DataFrame:
        """One row per unsealed cell."""
        rows = []
        for cell, sets in sorted(self.openings.items()):
            task, method = self.tasks.get(cell, ("", ""))
            by, caution = " ".join(self.by.get(cell, ())), MARK if cell in self.seen else ""
            names, often = " ".join(sorted(sets)), max(sets.values())
            rows.append((cell, task, method, self.roles.get(cell, "superseded"), names, often, by, caution))
        return pd.DataFrame(rows, columns=list(COLUMNS))


def _roles(evidence: Evidence, studies: Sequence[StudyFile]) -> dict[str, str]:
    roles = {}
    for record in evidence.records.values():
        if record.cell.parents:
            roles[record.id] = "post-hoc"
        else:
            roles[record.id] = "single" if record.cell.hyperparameters else "untrained"
    for study in studies:
        roles.update(dict.fromkeys(study.grid, "grid") | dict.fromkeys(study.confirm, "confirm"))
    for study in studies:
        roles.update(dict.fromkeys((t.cell for t in study.trials), "search"))
    return roles


def _with_curves(evidence: Evidence, cells: Set[str]) -> frozenset[str]:
    """Cells and what was made of them."""
    return frozenset({*cells, *(r.id for r in evidence.records.values() if cells & set(r.cell.parents))})
