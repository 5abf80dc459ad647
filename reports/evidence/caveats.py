"""What a reader must know of the cells behind a number before believing it. Tables and page print it beside the row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from carft.core.errors import UserError
from carft.spec.cell import Cell
from carft.spec.resolve import RANDOM
from carft.store.study import narrow_ranges
from reports.evidence.evidence import Evidence
from reports.evidence.protocol import DEPARTED
from reports.evidence.sealed_access import EXTENDED, MARK, SealedAccess

FIXTURE = "fixture: no real image"
UNATTESTED = "data not attested"
DIFFERENT_PIXELS = "pixels differ from the attested ones"
FAILED = "data fail attestation"
ALLOWED_EDGES = "search range too narrow, which the recipe allows"
UNTRAINED_START = "random weights"
ONE_TEMPLATE = "one context template: the KL is 0, car_ft is ft"
#: the answer in a record -> what is said of it
ANSWERS: Mapping[str, str] = {
    "yes": "",
    "unknown": UNATTESTED,
    "pixels differ": DIFFERENT_PIXELS,
    "no: fixture": FIXTURE,
}


def caveats(evidence: Evidence, unsealings: SealedAccess) -> dict[str, tuple[str, ...]]:
    """Cell -> its cautions, most serious first; cells without any are left out.

    A record without an answer about its data (of an older version) counts as not attested.
    """
    found: dict[str, tuple[str, ...]] = {}
    narrow = {cell for view in evidence.views() for cell in _allowed_edges(view)}
    for record in evidence.records.values():
        attested = str(record.provenance["digests"].get("attested", "unknown"))
        words = (
            MARK if record.id in unsealings.tainted else "",
            DEPARTED if record.id in unsealings.departed else "",
            EXTENDED if record.id in unsealings.extended else "",
            ALLOWED_EDGES if narrow & {record.id, *record.cell.parents} else "",
            UNTRAINED_START if record.cell.pretrained == RANDOM else "",
            ONE_TEMPLATE if record.cell.method.startswith("car_ft") and has_one_template(evidence, record.cell) else "",
            ANSWERS.get(attested, FIXTURE if "fixture" in attested else FAILED),
        )
        if any(words):
            found[record.id] = tuple(filter(None, words))
    return found


def _allowed_edges(view: Evidence) -> set[str]:
    """Confirm cells of methods whose ranges are too narrow but for a recipe that allows it, of every reading."""
    studies = [study for kept in (view.readings or {}).values() for study in kept]
    narrow = {method for method, _ in narrow_ranges(studies, with_allowed=True)}
    return {cell for study in studies if study.allow_edges and study.method in narrow for cell in study.confirm}


def has_one_template(evidence: Evidence, cell: Cell) -> bool:
    """Whether the contexts of a cell's loss are a single one; false where the task or its bank is not known here."""
    try:
        return len(evidence.card(cell.task).bank(cell.reading.context_templates)) < 2
    except UserError:
        return False


def said_of(cells: Iterable[str], known: Mapping[str, tuple[str, ...]]) -> str:
    """The cautions of the cells behind a number, each once: ``random weights; fixture: no real image``."""
    return "; ".join(dict.fromkeys(word for cell in cells for word in known.get(cell, ())))
