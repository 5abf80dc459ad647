"""The evidence that is missing from a contrast, and where its studies left the protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from reports.judge.entry import Entry
from reports.judge.evidence import Evidence, which_search
from reports.note import Note, few


def lost(evidence: Evidence, task: str, entry: Entry) -> Iterator[Note]:
    """Which confirm cells, interpolations or soups of an entry are missing."""
    studies, cells = evidence.searches(task, entry.searched), evidence.cells(task, entry)
    gone = f"of {entry.label} not finished or not readable"
    if entry.greedy is not None:
        if len(cells) < len(studies):
            yield Note("cells", f"{task}: the soups of {len(studies) - len(cells)} searches {gone}")
        return
    absent: set[str] = set()
    for study in studies:
        absent.update(study.confirm)
    for cell in cells:
        made_of = evidence.records[cell].cell.parents if entry.parent else [cell]
        absent.difference_update(made_of)
    if absent:
        names = f"cell{'s' * (len(absent) > 1)} {', '.join(sorted(absent))}"
        yield Note("cells", f"{task}: {names} {gone}", cells=tuple(sorted(absent)))


def flaws_of_method(evidence: Evidence, method: str, tasks: Sequence[str]) -> Iterator[Note]:
    """Planned searches without a winner, and departures from the protocol."""
    absent = sorted(f"{plan.task}{which_search(plan)}" for plan in evidence.absent(method))
    if absent:
        yield Note("searches", f"{len(absent)} planned searches of {method} are missing ({few(absent)})")
    yield from departures(evidence, tasks, method)


def departures(evidence: Evidence, tasks: Sequence[str], method: str) -> Iterator[Note]:
    """Where the studies of a method left the protocol, by task; what belongs to no study stands alone."""
    for task in tasks:
        for study, note in evidence.departures(task, method):
            yield replace(note, text=f"{task}, {method}{which_search(study)}: {note.text}")
    yield from evidence.broken.get("", ())
