"""Which cells were opened on held-out sets, and what a reader must know of the cells behind a number.

Tables and page print a caveat beside every row that rests on such a cell.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from carft.catalog.resolve import RANDOM
from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.store.journal import Line
from carft.store.study_file import too_narrow_ranges
from reports.evidence.evidence import Evidence
from reports.evidence.origins import attestation
from reports.evidence.protocol import DEPARTED

#: the cautions that are no finding of a rule, most serious first
TEST_SEEN = "test seen during search"
EXTENDED = "extended after test was seen"
ALLOWED_EDGES = "search range too narrow, which the recipe allows"
RANDOM_WEIGHTS = "random weights"
ONE_TEMPLATE = "one context template: the KL is 0, car_ft is ft"


@dataclass(frozen=True)
class SealedAccess:
    """Which cells were opened on held-out sets: by the log, and each evaluation that is there at least once."""

    evidence: Evidence

    @cached_property
    def _lines(self) -> list[Line]:
        return self.evidence.archive.protocol.journal.of("opened")

    @cached_property
    def openings(self) -> dict[str, Counter[str]]:
        """Cell -> (set -> times). Without a log every evaluation counts once."""
        openings: dict[str, Counter[str]] = defaultdict(Counter)
        for line in self._lines:
            openings[line.cell][line.set] += 1
        for cell in self.evidence.records:
            for name in self.evidence.archive.evaluated(cell):
                openings[cell][name] = max(1, openings[cell][name])
        return dict(openings)

    @cached_property
    def by(self) -> dict[str, set[str]]:
        """Cell -> commands that opened it; empty without a log."""
        by: dict[str, set[str]] = defaultdict(set)
        for line in self._lines:
            by[line.cell].add(line.by)
        return dict(by)

    @cached_property
    def roles(self) -> dict[str, str]:
        """Cell with a record -> its column ``role``."""
        return dict(self.evidence.archive.cells["role"])

    @cached_property
    def seen(self) -> set[str]:
        """Search cells that were opened, but not by a sweep for oracle selection, which chooses nothing of a report."""
        seen = set()
        for cell in self.openings:
            if self.roles.get(cell) == "search":
                seen.add(cell)
        for study in self.evidence.archive.studies:
            for cell in study.trial_cells:
                if study.oracle and self.by.get(cell) == {"sweep"}:
                    seen.discard(cell)
        return seen

    @cached_property
    def marked(self) -> dict[str, set[str]]:
        """Caution -> cells of the studies that it is of, and what was made of them; most serious first."""
        archive = self.evidence.archive
        marked = {TEST_SEEN: set(self.seen), DEPARTED: set(), EXTENDED: set()}
        for study in self.evidence.archive.studies:
            if not self.seen.isdisjoint(study.trial_cells):
                marked[TEST_SEEN].update(study.confirm)
            if study.id in archive.departures:
                marked[DEPARTED].update(study.confirm)
            if study.extended_from or study.id in archive.protocol.late:
                marked[EXTENDED].update(study.confirm)
        for cells in marked.values():
            made = set()
            for record in self.evidence.records.values():
                if not cells.isdisjoint(record.cell.parents):
                    made.add(record.id)
            cells |= made
        return marked

    @property
    def words(self) -> str:
        """The state of the seal in a few sentences."""
        if not self.openings:
            return "No cell was unsealed."
        most = max(max(sets.values()) for sets in self.openings.values())
        often = "each set once" if most == 1 else f"a set up to {most} times"
        words = [f"{len(self.openings)} cells were unsealed, {often}."]
        searched = [cell for cell in self.openings if self.roles.get(cell) == "search"]
        oracle = len(searched) - len(self.seen)
        if not searched:
            words.append("No search cell was unsealed.")
        elif oracle:
            words.append(f"{oracle} search cells were opened by the sweep for oracle selection alone.")
        for mark, cells in self.marked.items():
            if cells:
                words.append(f"{len(cells)} cells are marked '{mark}'.")
        if not self.by:
            words.append("The folder has no log of unsealings, so repeated openings cannot be seen.")
        return " ".join(words)


def caveats(evidence: Evidence, access: SealedAccess) -> dict[str, tuple[str, ...]]:
    """Cell -> its cautions, most serious first; cells without any are left out."""
    narrow: set[str] = set()
    for view in evidence.views():
        narrow |= _allowed_edges(view)
    cautions = {}
    for record in evidence.records.values():
        cell, used = record.cell, {record.id, *record.cell.parents}
        found: list[str] = []
        for caution, cells in access.marked.items():
            if record.id in cells:
                found.append(caution)
        if narrow & used:
            found.append(ALLOWED_EDGES)
        if cell.pretrained == RANDOM:
            found.append(RANDOM_WEIGHTS)
        if cell.method.startswith("car_ft") and has_one_template(evidence, cell):
            found.append(ONE_TEMPLATE)
        attested = attestation(record)
        if attested:
            found.append(attested)
        if found:
            cautions[record.id] = tuple(found)
    return cautions


def _allowed_edges(view: Evidence) -> set[str]:
    """Confirm cells of methods whose ranges are too narrow but for a recipe that allows it, of every reading."""
    studies = list(chain.from_iterable(view.readings.values()))
    narrow = {method for method, _ in too_narrow_ranges(studies, with_allowed=True)}
    cells: set[str] = set()
    for study in studies:
        if study.allow_edges and study.method in narrow:
            cells.update(study.confirm)
    return cells


def has_one_template(evidence: Evidence, cell: Cell) -> bool:
    """Whether the contexts of a cell's loss are a single one; false where the task or its bank is not known here."""
    try:
        return len(evidence.card(cell.task).bank(cell.reading.context_templates)) < 2
    except UserError:
        return False
