"""What is said of departures from the protocol, and of what is none by itself."""

from collections.abc import Mapping
from typing import Any

from reports.evidence.findings import Finding, What

#: items of a list that a sentence names
NAMED = 5
#: kind -> half a sentence for a departure, with the names of its fields
WORDS: Mapping[What, str] = {
    # of the journal
    What.NO_JOURNAL: "the records name a journal, which is missing",
    What.BROKEN_CHAIN: "{words}",
    What.UNCHECKED: "cannot be checked: {why}",
    # of cells
    What.FINISHED_AND_GONE: "cell {cell} finished and has no record",
    What.OPENED_AND_GONE: "cell {cell} was opened on test and has no record",
    What.NOT_NAMED: "the journal does not name cell {cell}",
    What.OTHER_RECORD: "the record of cell {cell} is not the one that the journal names",
    What.MADE_AGAIN: "cell {cell} was made again with other predictions; the first record counts, and it is not here",
    What.REPLACED_CODE: "cell {cell} ran with replaced code: {names}",
    What.EVALUATION_GONE: "cell {cell} was opened and {file} is missing",
    What.OTHER_EVALUATION: "{file} of cell {cell} is not what the journal names",
    What.OPENED_AGAIN: "{file} of cell {cell} was made again with other predictions; the first ones count",
    What.OTHER_INPUTS: "cell {cell} was computed with other {kind} than most cells of its task",
    What.NOT_ATTESTED_PIXELS: "cell {cell} used other pixels of {set} than the attested ones",
    What.OTHER_PIXELS: "cell {cell} used other pixels of {set} than most cells that compute from the same",
    What.OTHER_HEADS: "cell {cell} used other heads than most cells that compute from the same",
    What.OTHER_FEATURES: "cell {cell} used other stored features than most cells that compute from the same",
    What.LINK: "the folder of cell {cell} is or holds a link",
    What.OTHER_FILE: "cells/{cell}/{file} is not what the journal names",
    What.FILE_GONE: "cells/{cell}/{file} is missing, and the journal names it",
    What.OTHER_PREDICTIONS: "the predictions of cell {cell} on {set} are not those that the journal has a digest of",
    What.FIRST_LOSS: "cell {cell}: its first loss is {loss:.6g}, that of others with its seed is {middle:.6g}",
    # of studies against the plan
    What.STUDY_GONE: "study {study} of {method} on {task} had a winner and is not here",
    What.NOT_PLANNED: "no plan of the journal names it",
    What.OTHER_TRIALS: "it has {trials} trials; the journal plans {planned}",
    What.SEEDS_MISSING: "its confirm cells lack the planned seeds {seeds}",
    What.OTHER_SEEDS: "confirm cells {cells} are not the winner with a planned seed",
    What.TRIAL_MISSING: "trial {trial} has neither a record nor a failure that the journal names",
    What.EDGES_ALLOWED: "it allows winners at the edge of a range, and its plan does not",
    What.ORACLE: "it says that a sweep opened its trials, and no plan does",
    What.OTHER_SUITES: "its plan evaluates on {planned}, and the results are now evaluated on {now}",
    What.OTHER_STORED: "{file} is not the one that the last plan rests on",
    What.STORED_GONE: "{file} is missing, and a plan rests on it",
    What.STORED_ADDED: "{file} is there, and no plan rests on it",
    # of studies
    What.TRIALS_SHRANK: "it had {trials} trials when cell {cell} was selected",
    What.WINNER_CHANGED: "cell {cell} was its winner when test was opened, and it does not say so",
    What.EXTENSION_HIDDEN: "it was extended after test was seen, and does not say so",
    What.SEED_OUTSIDE: "cell {cell} is the winner with seed {seed}, was opened on test and is no confirm cell",
    What.WINNER_OUTSIDE: "cell {cell} of another winner was opened on test by a sweep, and no study names it",
    What.NUMBERING: "its trials are numbered {numbers}",
    What.OTHER_CELL: "trial {trial} lists cell {cell}, but its parameters give cell {given}",
    What.OUTSIDE_RANGE: "trial {trial} tried {name} {value:g}, which its range does not give",
    What.OFF_SEQUENCE: "trial {trial} tried {name} {value:g}; the sequence of its search gives {given:g}",
    What.MORE_TRIALS: "{count} more departures of its trials",
    What.NO_RANGES: "it does not say which ranges it searched",
    What.OTHER_ID: "its id is not that of what it says",
    What.OTHER_CELLS: "cells {cells} were not run as it says",
    What.OTHER_WINNER: "the winner is {winner}; validation selects {chosen}",
    What.OTHER_CONFIRMED: "confirm cells {cells} are not the winner's",
    # what is no departure by itself
    What.INTERRUPTED: "Interrupted: a process ended before {file} of cell {cell} was on disk; the same sweep goes on.",
    What.FOUND: "{count} cells were found and not made: no line tells how they came to be ({cells}).",
    What.VERSIONS: "Cells ran with {count} versions of the code: {versions}.",
    What.PLUGIN: "{count} cells ran in a process that had the plugin {file} (digest {digest}).",
    What.NOT_HELD: "The journal has no digests of {count} predictions that are here without logits, as earlier "
    "versions wrote none: the archive's own manifest and the fingerprint stand for them.",
    What.DIGESTS_ADDED: "The digests of {count} predictions were added to the journal later, "
    "from the records ({when}).",
    What.NO_FAILURES: "The journal's plans are of an earlier version, which held neither failures nor "
    "digests of stored cards: trials that failed are not checked.",
    What.AFTER_HEAD: "cell {cell} is after the head: no line that the head covers names it",
    What.OPENED_AFTER_HEAD: "cell {cell} is after the head: no line that the head covers names its opening on {set}",
    What.MORE_AFTER_HEAD: "{count} further cells, on which no verdict rests, are after the head.",
}
#: kinds whose lists are cut
CUT = {What.OTHER_SEEDS, What.NUMBERING, What.FOUND}


def finding_words(finding: Finding) -> str:
    """A finding in words."""
    facts = {name: _said(value, finding.what in CUT) for name, value in finding.facts.items()}
    return WORDS[finding.what].format(**facts)


def _said(value: Any, is_cut: bool) -> Any:
    """A fact: the items of a list, cells by version of the code, and ``none`` for nothing."""
    if isinstance(value, Mapping):
        value = [f"{code} ({count} cells)" for code, count in value.items()]
    if isinstance(value, list):
        shown = list(map(str, value))
        if is_cut and len(value) > NAMED:
            shown[NAMED:] = ["..."]
        value = ", ".join(shown)
    if value in (None, ""):
        return "none"
    return value
