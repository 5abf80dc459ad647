"""What `report verify` found."""

from collections.abc import Mapping
from typing import Any

from reports.evidence.reruns import Rerun, RerunAnswer
from reports.evidence.verification import Difference, Differs
from reports.words.departures_words import finding_words
from reports.words.flaws_words import flaw_words
from reports.words.provenance_words import code_words

#: what differs -> its words, half a sentence with the names of its fields
DIFFERENCES: Mapping[Differs, str] = {
    Differs.MISSING: "{file} is missing",
    Differs.ADDED: "{file} was added after the report was written",
    Differs.CHANGED: "{file} was changed after the report was written",
    Differs.NOT_GIVEN: "{file} is not what the records give",
    Differs.CLASSES: "the class of {count} images is not that of the largest logit",
    Differs.CONTEXTS: "the context of {count} images is not that of the largest logit",
    Differs.METRIC: "{metric} is recorded as {then!r}; its predictions give {now!r}",
    Differs.NO_HEAD: "the journal has no head {head}: it was changed or shortened, or the head is of another folder",
    Differs.SHAPE: "{table} has other rows or columns than the records give",
    Differs.NO_FIGURE: "{file} is not a figure of these records",
    Differs.RERUN_METRIC: "{metric} is recorded as {then!r}; run again it is {now!r}",
}
#: what stands beside the checks -> its words, in sentences
NOTES: Mapping[Differs, str] = {
    Differs.WITHOUT_LOGITS: "The records are a compact archive: {count} sets of predictions hold classes and contexts "
    "without logits, so losses and calibration are as recorded.",
    Differs.METRICS_ALONE: "The archive is of an earlier version: of {count} search cells there are metrics alone.",
    Differs.EARLIER_SAMPLER: "{count} searches are of an earlier version, whose trials depended on results: that they "
    "tried what its sampler gives is checked by the commit that made them, which their records name.",
    Differs.HEAD_COVERS: "The head covers {covered} of the {lines} lines of the journal.",
    Differs.NO_JOURNAL: "The records have no journal, as earlier versions wrote none: how the searches were conducted "
    "is checked by the commit that made them.",
    Differs.NOT_COVERED: "What this cannot see: predictions made up together with records, report and manifest. "
    "Against that stand the fingerprint, if it was noted elsewhere, and running a cell again (the page and `show` have "
    "the commands). Weights are not read.",
}
RERUN_ANSWERS: Mapping[RerunAnswer, str] = {
    RerunAnswer.AS_SEEDS: "as those of two seeds do",
    RerunAnswer.UNLIKE_SEEDS: "less than those of two seeds do",
    RerunAnswer.UNKNOWN: "but too few seeds are on record to say whether that is little",
}
CODE_HINT = "check with the code that ran them, or --allow-other-code"
PAGE_HINT = "check with the code that made it, or --allow-other-code"
OTHER_CODE = "the report was made by other code, so the text of its pages can be compared by digest only"


def difference_words(difference: Difference) -> str:
    """What differs and where, as half a sentence."""
    return _place(difference.facts) + _what(difference)


def note_words(note: Difference) -> str:
    """What stands beside the checks, in sentences."""
    facts = note.facts
    match note.what:
        case Differs.FOUND:
            return finding_words(facts["finding"])
        case Differs.CODE:
            return f"{code_words(facts['use'])}."
        case Differs.ORDER_UNPROVEN:
            head = f"The journal's head is {facts['head']}." if facts["head"] else ""
            return f"Order unproven: no head was given. {head or 'No line of the journal covers all others.'}"
        case Differs.OTHER_VERSIONS:
            return f"{_what(note)}."
        case Differs.OTHER_CODE:
            return _sentence(OTHER_CODE)
        case Differs.RERUN:
            return _sentence(_what(note))
        case _:
            return NOTES[note.what].format(**facts)


def _place(facts: Mapping[str, Any]) -> str:
    """The cell and set, or the study, where something was found; empty for none."""
    if "study" in facts:
        return f"study {facts['study']} ({facts['method']} on {facts['task']}): "
    if "set" in facts:
        return f"cell {facts['cell']}, {facts['set']}: "
    if "cell" in facts:
        return f"cell {facts['cell']}: "
    return ""


def _what(difference: Difference) -> str:
    """What differs, as half a sentence."""
    facts = difference.facts
    match difference.what:
        case Differs.FOUND:
            return finding_words(facts["finding"])
        case Differs.MARGIN:
            return flaw_words(facts["change"])
        case Differs.CODE:
            return f"{code_words(facts['use'])}: {CODE_HINT}"
        case Differs.VALUE:
            then, now = facts["then"] or "empty", facts["now"] or "empty"
            return f"{facts['place']} is {then}; the records give {now}"
        case Differs.OTHER_VERSIONS:
            why = f"since its versions differ: {version_words(facts['versions'])}"
            return f"{facts['file']} cannot be compared with one that is drawn again, {why}"
        case Differs.OTHER_CODE:
            return f"{OTHER_CODE}: {PAGE_HINT}"
        case Differs.RERUN:
            return rerun_words(facts["rerun"])
        case _:
            return DIFFERENCES[difference.what].format(**facts)


def version_words(versions: Mapping[str, tuple[str | None, str]]) -> str:
    """Versions that differ: ``matplotlib 3.9, here 3.10``."""
    words = [f"{name} {then or 'unknown'}, here {here}" for name, (then, here) in versions.items()]
    return "; ".join(words)


def rerun_words(rerun: Rerun) -> str:
    """How the classes of a cell that was run again agree with those on record; no equal bits are expected here."""
    seeds = rerun.seeds
    told = ""
    if rerun.answer != RerunAnswer.UNKNOWN:
        told = f" ({100 * seeds.low:.1f} to {100 * seeds.high:.1f} %, from {seeds.pairs} pairs)"
    return (
        f"cell {rerun.cell} ran on another processor or other packages; run again here, its classes agree with "
        f"those on record in {100 * rerun.share:.1f} % of images, {RERUN_ANSWERS[rerun.answer]}{told}"
    )


def _sentence(words: str) -> str:
    """Half a sentence as a sentence."""
    return f"{words[0].upper()}{words[1:]}."
