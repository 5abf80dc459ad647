"""Which cells were opened on held-out sets, and what a reader must know of the cells behind a number.

Tables and page print a caveat beside every row that rests on such a cell.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property

from carft.catalog.resolve import RANDOM
from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.data.checking import UNREADABLE
from carft.store.journal import Line
from carft.store.record_files import Record
from reports.judge.evidence import Evidence
from reports.judge.protocol import DEPARTED

#: the cautions that are no finding of a rule, most serious first
EXTENDED = "extended after test was seen"
RANDOM_WEIGHTS = "random weights"
ONE_TEMPLATE = "one context template: the KL is 0, car_ft is ft"
#: what a record says of its data against the published digests -> what a reader must know; else it begins with "no:"
ATTESTED = {"yes": "", "unknown": "data not attested", "pixels differ": "pixels differ from the attested ones"}


@dataclass(frozen=True)
class SealedAccess:
    """Which cells were opened on held-out sets: by the log, and each evaluation that is there at least once."""

    evidence: Evidence

    @cached_property
    def _lines(self) -> list[Line]:
        return self.evidence.folder.journal.of("opened")

    @cached_property
    def openings(self) -> dict[str, Counter[str]]:
        """Cell -> (set -> times). Without a log every evaluation counts once."""
        openings: dict[str, Counter[str]] = defaultdict(Counter)
        for line in self._lines:
            openings[line.cell][line.set] += 1
        for cell in self.evidence.records:
            for name in self.evidence.folder.evaluated(cell):
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
    def marked(self) -> dict[str, set[str]]:
        """Caution -> cells of the studies that it is of, and what was made of them; most serious first."""
        folder = self.evidence.folder
        marked: dict[str, set[str]] = {DEPARTED: set(), EXTENDED: set()}
        for study in folder.studies:
            if study.id in self.evidence.broken:
                marked[DEPARTED].update(study.confirm)
            if study.extended_from:
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
        for mark, cells in self.marked.items():
            if cells:
                words.append(f"{len(cells)} cells are marked '{mark}'.")
        if not self.by:
            words.append("The folder has no log of unsealings, so repeated openings cannot be seen.")
        return " ".join(words)


def caveats(evidence: Evidence, access: SealedAccess) -> dict[str, tuple[str, ...]]:
    """Cell -> its cautions, most serious first; cells without any are left out."""
    cautions = {}
    for record in evidence.records.values():
        cell = record.cell
        found: list[str] = []
        for caution, cells in access.marked.items():
            if record.id in cells:
                found.append(caution)
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


def attestation(record: Record) -> str:
    """What a reader must know of a record's data against the published digests; empty where they agree."""
    text = (record.provenance.get("digests") or {}).get("attested", "unknown")
    if text in ATTESTED:
        return ATTESTED[text]
    if text.startswith(f"no: {UNREADABLE}"):  # unreadable images are named last, so nothing stands before them
        return "images that cannot be read are left out"
    return "fixture: no real image" if "fixture" in text else "data fail attestation"


def has_one_template(evidence: Evidence, cell: Cell) -> bool:
    """Whether the contexts of a cell's loss are a single one; false where the task or its bank is not known here."""
    try:
        return len(evidence.card(cell.task).bank(cell.reading.context_templates)) < 2
    except UserError:
        return False
