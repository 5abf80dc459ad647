"""What a check of the protocol can find. Each kind has fields; its words are made here alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Check(Enum):
    """What is checked."""

    CONDUCT = "studies against the protocol"
    IDENTITY = "studies against what they say of themselves"
    WINNERS = "winners against validation"
    FILES = "files against the journal"


class What(Enum):
    """Kind of a finding -> its words, with the names of its fields."""

    # of the journal
    NO_JOURNAL = "the records name a journal, which is missing"
    BROKEN_CHAIN = "{words}"
    UNCHECKED = "cannot be checked: {why}"
    # of cells
    FINISHED_AND_GONE = "cell {cell} finished and has no record"
    OPENED_AND_GONE = "cell {cell} was opened on test and has no record"
    NOT_NAMED = "the journal does not name cell {cell}"
    OTHER_RECORD = "the record of cell {cell} is not the one that the journal names"
    MADE_AGAIN = "cell {cell} was made again with other predictions; the first record counts, and it is not here"
    REPLACED_CODE = "cell {cell} ran with replaced code: {names}"
    EVALUATION_GONE = "cell {cell} was opened and {file} is missing"
    OTHER_EVALUATION = "{file} of cell {cell} is not what the journal names"
    OPENED_AGAIN = "{file} of cell {cell} was made again with other predictions; the first ones count"
    OTHER_INPUTS = "cell {cell} was computed with other {kind} than most cells of its task"
    NOT_ATTESTED_PIXELS = "cell {cell} used other pixels of {set} than the attested ones"
    OTHER_PIXELS = "cell {cell} used other pixels of {set} than most cells that compute from the same"
    OTHER_HEADS = "cell {cell} used other heads than most cells that compute from the same"
    OTHER_FEATURES = "cell {cell} used other stored features than most cells that compute from the same"
    LINK = "the folder of cell {cell} is or holds a link"
    OTHER_FILE = "cells/{cell}/{file} is not what the journal names"
    FILE_GONE = "cells/{cell}/{file} is missing, and the journal names it"
    OTHER_PREDICTIONS = "the predictions of cell {cell} on {set} are not those that the journal has a digest of"
    FIRST_LOSS = "cell {cell}: its first loss is {loss:.6g}, that of others with its seed is {middle:.6g}"
    # of studies against the plan
    STUDY_GONE = "study {study} of {method} on {task} had a winner and is not here"
    NOT_PLANNED = "no plan of the journal names it"
    OTHER_TRIALS = "it has {trials} trials; the journal plans {planned}"
    SEEDS_MISSING = "its confirm cells lack the planned seeds {seeds}"
    OTHER_SEEDS = "confirm cells {cells} are not the winner with a planned seed"
    TRIAL_MISSING = "trial {trial} has neither a record nor a failure that the journal names"
    EDGES_ALLOWED = "it allows winners at the edge of a range, and its plan does not"
    ORACLE = "it says that a sweep opened its trials, and no plan does"
    OTHER_SUITES = "its plan evaluates on {planned}, and the results are now evaluated on {now}"
    OTHER_STORED = "{file} is not the one that the last plan rests on"
    STORED_GONE = "{file} is missing, and a plan rests on it"
    STORED_ADDED = "{file} is there, and no plan rests on it"
    # of studies
    TRIALS_SHRANK = "it had {trials} trials when cell {cell} was selected"
    WINNER_CHANGED = "cell {cell} was its winner when test was opened, and it does not say so"
    EXTENSION_HIDDEN = "it was extended after test was seen, and does not say so"
    SEED_OUTSIDE = "cell {cell} is the winner with seed {seed}, was opened on test and is no confirm cell"
    WINNER_OUTSIDE = "cell {cell} of another winner was opened on test by a sweep, and no study names it"
    NUMBERING = "its trials are numbered {numbers}"
    OTHER_CELL = "trial {trial} lists cell {cell}, but its parameters give cell {given}"
    OUTSIDE_RANGE = "trial {trial} tried {name} {value:g}, which its range does not give"
    OFF_SEQUENCE = "trial {trial} tried {name} {value:g}; the sequence of its search gives {given:g}"
    MORE_TRIALS = "{count} more departures of its trials"
    NO_RANGES = "it does not say which ranges it searched"
    OTHER_ID = "its id is not that of what it says"
    OTHER_CELLS = "cells {cells} were not run as it says"
    OTHER_WINNER = "the winner is {winner}; validation selects {chosen}"
    OTHER_CONFIRMED = "confirm cells {cells} are not the winner's"
    # what is no departure by itself
    INTERRUPTED = "Interrupted: a process ended before {file} of cell {cell} was on disk; the same sweep goes on."
    FOUND = "{count} cells were found and not made: no line tells how they came to be ({cells})."
    VERSIONS = "Cells ran with {count} versions of the code: {listed}."
    PLUGIN = "{count} cells ran in a process that had the plugin {file} (digest {digest})."
    NOT_HELD = (
        "The journal has no digests of {count} predictions that are here without logits, as earlier versions wrote "
        "none: the archive's own manifest and the fingerprint stand for them."
    )
    DIGESTS_ADDED = "The digests of {count} predictions were added to the journal later, from the records ({when})."
    NO_FAILURES = (
        "The journal's plans are of an earlier version, which held neither failures nor digests of stored cards: "
        "trials that failed are not checked."
    )
    AFTER_HEAD = "cell {cell} is after the head: no line that the head covers names {event}"
    MORE_AFTER_HEAD = "{count} further cells, on which no verdict rests, are after the head."


@dataclass(frozen=True)
class Finding:
    """What a check found. facts: the fields of its kind."""

    what: What
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def words(self) -> str:
        """The finding in words: half a sentence for a departure."""
        return self.what.value.format(**self.facts)

    @staticmethod
    def of(what: What, **facts: Any) -> "Finding":
        """A finding with these fields."""
        return Finding(what, facts)
