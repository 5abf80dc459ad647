"""What a check of the protocol can find, and the fields of each kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class FoundBy(Enum):
    """The check that names a finding."""

    CONDUCT = auto()
    """Studies against the protocol."""
    IDENTITY = auto()
    """Studies against what they say of themselves."""
    WINNERS = auto()
    """Winners against validation."""
    FILES = auto()
    """Files against the journal."""


class What(Enum):
    """Kind of a finding. ``reports/words/departures_words.py`` has the words, with the names of its fields."""

    # of the journal
    NO_JOURNAL = auto()
    BROKEN_CHAIN = auto()
    UNCHECKED = auto()
    # of cells
    FINISHED_AND_GONE = auto()
    OPENED_AND_GONE = auto()
    NOT_NAMED = auto()
    OTHER_RECORD = auto()
    MADE_AGAIN = auto()
    REPLACED_CODE = auto()
    EVALUATION_GONE = auto()
    OTHER_EVALUATION = auto()
    OPENED_AGAIN = auto()
    OTHER_INPUTS = auto()
    NOT_ATTESTED_PIXELS = auto()
    OTHER_PIXELS = auto()
    OTHER_HEADS = auto()
    OTHER_FEATURES = auto()
    LINK = auto()
    OTHER_FILE = auto()
    FILE_GONE = auto()
    OTHER_PREDICTIONS = auto()
    FIRST_LOSS = auto()
    # of studies against the plan
    STUDY_GONE = auto()
    NOT_PLANNED = auto()
    OTHER_TRIALS = auto()
    SEEDS_MISSING = auto()
    OTHER_SEEDS = auto()
    TRIAL_MISSING = auto()
    EDGES_ALLOWED = auto()
    ORACLE = auto()
    OTHER_SUITES = auto()
    OTHER_STORED = auto()
    STORED_GONE = auto()
    STORED_ADDED = auto()
    # of studies
    TRIALS_SHRANK = auto()
    WINNER_CHANGED = auto()
    EXTENSION_HIDDEN = auto()
    SEED_OUTSIDE = auto()
    WINNER_OUTSIDE = auto()
    NUMBERING = auto()
    OTHER_CELL = auto()
    OUTSIDE_RANGE = auto()
    OFF_SEQUENCE = auto()
    MORE_TRIALS = auto()
    NO_RANGES = auto()
    OTHER_ID = auto()
    OTHER_CELLS = auto()
    OTHER_WINNER = auto()
    OTHER_CONFIRMED = auto()
    # what is no departure by itself
    INTERRUPTED = auto()
    FOUND = auto()
    VERSIONS = auto()
    PLUGIN = auto()
    NOT_HELD = auto()
    DIGESTS_ADDED = auto()
    NO_FAILURES = auto()
    AFTER_HEAD = auto()
    OPENED_AFTER_HEAD = auto()
    MORE_AFTER_HEAD = auto()


@dataclass(frozen=True)
class Finding:
    """What a check found. facts: the fields of its kind."""

    what: What
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @staticmethod
    def of(what: What, **facts: Any) -> "Finding":
        """A finding with these fields."""
        return Finding(what, facts)
