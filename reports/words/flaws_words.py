"""What is said of evidence that is missing or unsound, and of sides that differ in more than the method."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from carft.config.registry import hyperparameter_words
from reports.analysis.contrasts import Part
from reports.analysis.flaws import (
    CellsGone,
    Flaw,
    NoInterval,
    NotByProtocol,
    OneSidedSeeds,
    SameOnTasks,
    SearchesMissing,
    TaskMissing,
    TasksMissing,
    TasksUnlike,
    TrialsGone,
)
from reports.claims.ledger.c6_domainbed import FewSeeds
from reports.claims.ledger.c11_readings import ReadingsLost
from reports.claims.verdicts import NullCheckFailed, RangesTooNarrow
from reports.evidence.note import Note
from reports.words.null_checks_words import check_words

#: tasks that a sentence names
NAMED = 3


def named(names: Sequence[str]) -> str:
    """The first few by name."""
    shown = list(names[:NAMED])
    if len(names) > NAMED:
        shown.append("...")
    return ", ".join(shown)


def search_words(search: int) -> str:
    """Which search it is, where it is not the first."""
    return "" if search == 1 else f", search {search}"


def flaw_words(flaw: Flaw, details: bool = True) -> str:
    """A flaw as half a sentence. details: whether names and counts stand in brackets."""

    def brackets(words: str) -> str:
        return f" ({words})" if details else ""

    match flaw:
        case TasksMissing(tasks, of):
            are = "is" if len(tasks) == 1 else "are"
            return f"{len(tasks)} of {of} tasks {are} missing{brackets(named(tasks))}"
        case TaskMissing(task):
            return f"{task} is missing"
        case NoInterval(task):
            return f"{task} has no interval{_why_no_interval(flaw)}"
        case OneSidedSeeds(task):
            return f"{task} has seeds that only one side was run with"
        case TrialsGone(task, method):
            return f"{task}: no trial of {method} is left"
        case CellsGone(task, entry, cells, soups):
            gone = f"cell{'s' * (len(cells) > 1)} {', '.join(cells)}"
            if soups:
                gone = f"the soups of {soups} searches"
            return f"{task}: {gone} of {entry} not finished or not readable"
        case SearchesMissing(method, searches):
            listed = named(sorted(f"{task}{search_words(search)}" for task, search in searches))
            return f"{len(searches)} planned searches of {method} are missing{brackets(listed)}"
        case NotByProtocol(note):
            return note.text
        case TasksUnlike():
            return _unlike(flaw)
        case FewSeeds(least):
            return f"fewer than {least} seeds"
        case NullCheckFailed(checks):
            listed = "; ".join(f"{check.name}: {check_words(check)}" for check in checks)
            return f"a null check failed{brackets(listed)}"
        case RangesTooNarrow(ranges):
            counted = []
            for method, name, at_edge, of in ranges:
                counted.append(f"{name} of {method}{brackets(f'{at_edge} of {of}')}")
            return f"the search range is too narrow: winners lie at the edge for {', '.join(counted)}"
        case ReadingsLost(readings):
            return f"no estimate under {'; '.join(readings)}"
    raise TypeError(flaw)


def flaws_of(part: Part) -> str:
    """All that is missing of a part, and what its sides differ in; mostly empty."""
    words = []
    for flaw in part.flaws:
        words.append(flaw_words(flaw))
    for found in part.unequal:
        words.append(inequality_words(found))
    return "; ".join(words)


def _why_no_interval(flaw: NoInterval) -> str:
    """``: it has one seed, and one drawing in test alone``; empty where that is not known."""
    found = ["one seed"] * flaw.has_one_seed
    for sets in flaw.lone:
        found.append(f"one {flaw.unit} in {' and '.join(sets)}{' alone' * flaw.has_more_sets}")
    if not found:
        return ""
    return f": it has {', and '.join(found)}"


def _counts(counts: Sequence[int]) -> str:
    """A count of each search: ``6``, or ``6 + 6``."""
    return " + ".join(map(str, counts)) or "0"


def _ranges(ranges: Sequence[Sequence[tuple[str, float, float]]]) -> str:
    """Search ranges, each once."""
    words = []
    for of_study in ranges:
        each = []
        for name, low, high in of_study:
            each.append(f"{hyperparameter_words(name)} {low:g} to {high:g}")
        words.append(" and ".join(each))
    return " or ".join(dict.fromkeys(words)) or "none"


def _each(values: Sequence[Any]) -> str:
    return " or ".join(map(str, values))


#: what must be alike on all tasks -> its name, and how what a task states is said
SAME: Mapping[SameOnTasks, tuple[str, Callable[[Sequence[Any]], str]]] = {
    SameOnTasks.CONFIRM_SEEDS: ("numbers of confirm seeds", _counts),
    SameOnTasks.RANGES: ("search ranges", _ranges),
    SameOnTasks.SEARCH_SEEDS: ("search seeds", _each),
    SameOnTasks.VERSIONS: ("versions", _each),
}


def _unlike(flaw: TasksUnlike) -> str:
    what, said = SAME[flaw.what]
    listed = []
    for value, tasks in sorted((said(value), tasks) for value, tasks in flaw.values):
        listed.append(f"{value} on {named(tasks)}")
    return f"the tasks have different {what} of {flaw.method}: {', '.join(listed)}"


def inequality_words(found: Note) -> str:
    """What two sides differ in and where, as half a sentence."""
    where = ""
    if found.tasks:
        where = f" on {named(found.tasks)}"
    return f"{found.text}{where}"
