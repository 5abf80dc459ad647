"""Which cells were opened on held-out sets, and what a reader must know of the cells behind a number.

Tables and page print a caveat beside every row that rests on such a cell.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property

from carft.catalog.resolve import RANDOM
from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.data.checking import UNREADABLE
from carft.store.study_file import too_narrow_ranges
from reports.evidence.evidence import Evidence
from reports.evidence.origins import plugins_used
from reports.evidence.protocol import DEPARTED

#: what is said of a number whose test set was seen before selection
MARK = "test seen during search"
#: the same, of cells of a study that began or went on once test numbers of its question were known
EXTENDED = "extended after test was seen"
#: the same, of cells of which a journal tells their record alone
FOUND = "found, not made here"
FIXTURE = "fixture: no real image"
UNATTESTED = "data not attested"
DIFFERENT_PIXELS = "pixels differ from the attested ones"
FAILED = "data fail attestation"
LEFT_OUT = "images that cannot be read are left out"
ALLOWED_EDGES = "search range too narrow, which the recipe allows"
UNTRAINED_START = "random weights"
PLUGIN = "ran in a process that had loaded a plug-in"
ONE_TEMPLATE = "one context template: the KL is 0, car_ft is ft"
#: the answer in a record -> what is said of it
ANSWERS: Mapping[str, str] = {
    "yes": "",
    "unknown": UNATTESTED,
    "pixels differ": DIFFERENT_PIXELS,
    "no: fixture": FIXTURE,
}


@dataclass(frozen=True)
class SealedAccess:
    """Which cells were opened on held-out sets: by the log, and each evaluation that is there at least once."""

    evidence: Evidence

    @cached_property
    def openings(self) -> dict[str, Counter[str]]:
        """Cell -> (set -> times). Without a log every evaluation counts once."""
        openings: dict[str, Counter[str]] = defaultdict(Counter)
        for line in self.evidence.store.unsealings():
            openings[line.cell][line.set] += 1
        for cell in self.evidence.records:
            for name in self.evidence.archive.evaluated(cell):
                openings[cell][name] = max(1, openings[cell][name])
        return dict(openings)

    @cached_property
    def by(self) -> dict[str, set[str]]:
        """Cell -> commands that opened it; empty without a log."""
        by: dict[str, set[str]] = defaultdict(set)
        for line in self.evidence.store.unsealings():
            by[line.cell].add(line.by)
        return dict(by)

    @cached_property
    def roles(self) -> dict[str, str]:
        """Cell with a record -> search, confirm, grid, untrained, post-hoc or single."""
        roles = {}
        for record in self.evidence.records.values():
            trained = "single" if record.cell.hyperparameters else "untrained"
            roles[record.id] = "post-hoc" if record.cell.parents else trained
        studies = self.evidence.archive.studies
        for study in studies:
            roles |= dict.fromkeys(study.grid, "grid") | dict.fromkeys(study.confirm, "confirm")
        return roles | {trial.cell: "search" for study in studies for trial in study.trials}

    @cached_property
    def seen(self) -> set[str]:
        """Search cells that were opened, but not by a sweep for oracle selection, which chooses nothing of a report."""
        oracle = {trial.cell for study in self.evidence.archive.studies if study.oracle for trial in study.trials}
        planned = {cell for cell in oracle if self.by.get(cell) == {"sweep"}}
        return {cell for cell in self.openings if self.roles.get(cell) == "search"} - planned

    @cached_property
    def marked(self) -> dict[str, set[str]]:
        """Mark -> cells of the studies that it is of, and what was interpolated from them; most serious first."""
        check, studies = self.evidence.archive.protocol, self.evidence.archive.studies
        tainted = {c for s in studies if any(t.cell in self.seen for t in s.trials) for c in s.confirm}
        departed = {c for s in studies if s.id in check.departures for c in s.confirm}
        extended = {c for s in studies if s.extended_from or s.id in check.late for c in s.confirm}
        marks = {MARK: self.seen | tainted, DEPARTED: departed, EXTENDED: extended, FOUND: check.cells.found}
        cells: Mapping[str, Set[str]] = marks
        made_of = {record.id: record.cell.parents for record in self.evidence.records.values()}
        return {
            mark: {*own, *(cell for cell, parents in made_of.items() if not own.isdisjoint(parents))}
            for mark, own in cells.items()
        }

    def words(self) -> str:
        """The state of the seal in a few sentences."""
        if not self.openings:
            return "No cell was unsealed."
        counts = Counter(self.roles.get(cell, "superseded") for cell in self.openings)
        listed = ", ".join(f"{count} {role}" for role, count in sorted(counts.items()))
        most = max(times for sets in self.openings.values() for times in sets.values())
        words = [
            f"{len(self.openings)} cells were unsealed ({listed}), "
            f"{'each set once' if most == 1 else f'a set up to {most} times'}."
        ]
        if not counts["search"]:
            words.append("No search cell was unsealed.")
        elif oracle := counts["search"] - len(self.seen):
            words.append(f"{oracle} search cells were opened by the sweep for oracle selection alone.")
        words += [f"{len(cells)} cells are marked '{mark}'." for mark, cells in self.marked.items() if cells]
        if not self.by:
            words.append("The folder has no log of unsealings, so repeated openings cannot be seen.")
        return " ".join(words)


def caveats(evidence: Evidence, access: SealedAccess) -> dict[str, tuple[str, ...]]:
    """Cell -> its cautions, most serious first; cells without any are left out.

    A record without an answer about its data (of an older version) counts as not attested.
    """
    cautions = {}
    used = plugins_used(evidence.archive.protocol.journal, evidence.records)
    beside = {cell for use in used for cell in use.others}
    narrow = {cell for view in evidence.views() for cell in _allowed_edges(view)}
    for record in evidence.records.values():
        attested = record.made_with.digests.get("attested", "unknown")
        words = (
            *(mark for mark, cells in access.marked.items() if record.id in cells),
            PLUGIN if beside & {record.id, *record.cell.parents} else "",
            ALLOWED_EDGES if narrow & {record.id, *record.cell.parents} else "",
            UNTRAINED_START if record.cell.pretrained == RANDOM else "",
            ONE_TEMPLATE if record.cell.method.startswith("car_ft") and has_one_template(evidence, record.cell) else "",
            # an attestation names unreadable images last: a text that begins with them names no other problem
            LEFT_OUT
            if attested.startswith(f"no: {UNREADABLE}")
            else ANSWERS.get(attested, FIXTURE if "fixture" in attested else FAILED),
        )
        if any(words):
            cautions[record.id] = tuple(filter(None, words))
    return cautions


def _allowed_edges(view: Evidence) -> set[str]:
    """Confirm cells of methods whose ranges are too narrow but for a recipe that allows it, of every reading."""
    studies = [study for kept in view.readings.values() for study in kept]
    narrow = {method for method, _ in too_narrow_ranges(studies, with_allowed=True)}
    return {cell for study in studies if study.allow_edges and study.method in narrow for cell in study.confirm}


def has_one_template(evidence: Evidence, cell: Cell) -> bool:
    """Whether the contexts of a cell's loss are a single one; false where the task or its bank is not known here."""
    try:
        return len(evidence.card(cell.task).bank(cell.reading.context_templates)) < 2
    except UserError:
        return False


def caution_words(cells: Iterable[str], known: Mapping[str, tuple[str, ...]]) -> str:
    """The cautions of the cells behind a number, each once: ``random weights; fixture: no real image``."""
    return "; ".join(dict.fromkeys(word for cell in cells for word in known.get(cell, ())))
