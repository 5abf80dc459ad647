"""What `report verify` can find. Each kind has fields; ``reports/words/verify_words.py`` has the words."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any


class Differs(Enum):
    """What a check found to differ, or what stands beside the checks."""

    # a file of the report or of the records
    MISSING = auto()
    ADDED = auto()
    CHANGED = auto()
    NOT_GIVEN = auto()
    """The records give another."""
    # recorded metrics
    CLASSES = auto()
    CONTEXTS = auto()
    METRIC = auto()
    # the conduct of studies and the code
    FOUND = auto()
    """A finding of the check of the protocol."""
    MARGIN = auto()
    CODE = auto()
    NO_HEAD = auto()
    # tables, figures, pages
    SHAPE = auto()
    VALUE = auto()
    OTHER_VERSIONS = auto()
    NO_FIGURE = auto()
    OTHER_CODE = auto()
    # cells that were run again
    RERUN = auto()
    RERUN_METRIC = auto()
    # no differences
    WITHOUT_LOGITS = auto()
    METRICS_ALONE = auto()
    EARLIER_SAMPLER = auto()
    HEAD_COVERS = auto()
    NO_JOURNAL = auto()
    ORDER_UNPROVEN = auto()
    NOT_COVERED = auto()


@dataclass(frozen=True)
class Difference:
    """What a check found. facts: the fields of its words."""

    what: Differs
    facts: Mapping[str, Any]

    @staticmethod
    def of(what: Differs, **facts: Any) -> "Difference":
        """A difference, or a note, with these fields."""
        return Difference(what, facts)

    def at(self, **place: str) -> "Difference":
        """The same with the place where it was found: a cell and a set, or a study."""
        return replace(self, facts={**self.facts, **place})
