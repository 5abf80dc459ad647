"""Two results folders side by side: what they reach on the same images and seeds, and the settings that differ."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from carft.core.errors import UserError
from carft.core.metrics import Frame
from carft.store.records import Store
from reports.judge.contrasts.contrast import Sets
from reports.judge.entry import Entry
from reports.judge.estimate import Estimate
from reports.judge.evidence import Evidence
from reports.judge.forgetting import POSITIVE
from reports.judge.intervals.pooling import pooled
from reports.judge.intervals.two_way import two_way
from reports.judge.levels import LEVELS
from reports.judge.pairing import contributions
from reports.judge.views import evidence_of
from reports.read.folder import read_folder
from reports.render.tables.table import numbers_of

#: fields of a study that are no settings: its results, its place, and those whose parts are settings
NO_SETTINGS = {
    *("id", "task", "method", "search", "winner", "too_few", "grid", "selected_over", "extended_from"),
    *("trials", "confirm", "training", "space", "reading"),
}


#: column -> value
Row = dict[str, Any]


@dataclass(frozen=True)
class FolderComparison:
    """Two results folders side by side."""

    differences: Sequence[Row]
    """The second folder minus the first: scope, place, method, task (empty for the mean over tasks), levels of both,
    effect, low and high in shares of 1 (None for no bound), numbers of tasks, seeds and groups."""
    settings: Sequence[Row]
    """Settings that differ: scope, method (empty for what is of all cells), name, the values in either folder."""
    only_first: Sequence[str]
    """Scopes of the first folder that the second does not have."""
    only_second: Sequence[str]


def compare(first: Store, second: Store) -> FolderComparison:
    """Compare what both folders hold: scopes of one name, tasks, methods. ``UserError`` when they share no scope."""
    ours = {view.name: view for view in evidence_of(read_folder(first)).views()}
    theirs = {view.name: view for view in evidence_of(read_folder(second)).views()}
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise UserError(
            f"'{first.name}' and '{second.name}' have no scope in common: {', '.join(ours)}; {', '.join(theirs)}.",
            "Compare folders with the same family of tasks.",
        )
    differences: list[Row] = []
    settings: list[Row] = []
    for name in shared:
        differences += _differences(ours[name], theirs[name])
        settings += _settings(ours[name], theirs[name])
    return FolderComparison(differences, settings, sorted({*ours} - {*shared}), sorted({*theirs} - {*shared}))


def _differences(first: Evidence, second: Evidence) -> Iterator[Row]:
    """The rows of a scope: for each place and entry the mean over the tasks of both folders, then each task."""
    for place, (metric, sets) in LEVELS.items():
        for entry in (*first.entries(), POSITIVE):
            if entry.method not in second.methods:
                continue
            on_tasks = {}
            for task in first.tasks:
                found = _on_task(first, second, task, entry, metric, sets)
                if found is not None:
                    on_tasks[task] = found
            if on_tasks:
                yield _row(first, place, entry, "", list(on_tasks.values()))
                for task, found in on_tasks.items():
                    yield _row(first, place, entry, task, [found])


def _row(
    view: Evidence, place: str, entry: Entry, task: str, of_tasks: Sequence[tuple[Estimate, Sequence[float]]]
) -> Row:
    estimates, levels = zip(*of_tasks, strict=True)
    mean = pooled(estimates)
    numbers = numbers_of(mean, "effect", "low", "high", "n_seeds", "n_groups")
    if math.isnan(mean.se):
        numbers |= {"low": None, "high": None}
    first, second = np.mean(levels, axis=0).tolist()
    named = {"scope": view.name, "place": place, "method": entry.label, "task": task}
    return {**named, "first": first, "second": second, **numbers, "n_tasks": len(of_tasks)}


def _on_task(
    first: Evidence, second: Evidence, task: str, entry: Entry, metric: str, sets: Sets
) -> tuple[Estimate, tuple[float, float]] | None:
    """The difference on a task and the levels of both; None without the same images and a seed that both have."""
    names = sets(first, task)
    if not names or task not in second.tasks or not {*names} <= {*first.set_names(task)} & {*second.set_names(task)}:
        return None
    runs = {(second.search(cell), second.seed(cell)): cell for cell in second.cells(task, entry)}
    ours, theirs = [], []
    for cell in first.cells(task, entry):
        run = first.search(cell), first.seed(cell)
        if run in runs:
            ours.append(cell)
            theirs.append(runs[run])
    if not ours:
        return None
    for name in names:
        if _images(first.outcome(ours[0], name).frame) != _images(second.outcome(theirs[0], name).frame):
            return None
    a, b = contributions(first, ours, names, metric), contributions(second, theirs, names, metric)
    if a is None or b is None:
        return None
    seeds_vary = first.methods[entry.method].kind != "untrained"
    levels = float(a.values.sum(1).mean()), float(b.values.sum(1).mean())
    return two_way(replace(a, values=b.values - a.values), seeds_vary), levels


def _images(frame: Frame) -> dict[str, tuple[Any, ...]]:
    """Image -> its label, context and group."""
    known = zip(frame.labels.tolist(), frame.contexts.tolist(), frame.group_names[frame.groups].tolist(), strict=True)
    return dict(zip(frame.images.to_pylist(), known, strict=True))


def _settings(first: Evidence, second: Evidence) -> Iterator[Row]:
    """What differs in the studies of methods that both have, and in what all their cells were made with."""
    ours, theirs = _facts(first, second.tasks), _facts(second, first.tasks)
    both = {"", *first.searches_of(first.trained_methods)} & {"", *second.searches_of(second.trained_methods)}
    for method, name in dict.fromkeys((*ours, *theirs)):
        values, others = ours.get((method, name), set()), theirs.get((method, name), set())
        if method in both and values != others:
            sides = {"first": sorted(values), "second": sorted(others)}
            yield {"scope": first.name, "method": method, "name": name, **sides}


def _facts(view: Evidence, tasks: Sequence[str]) -> Mapping[tuple[str, str], set[str]]:
    """(method, setting) -> its values in the studies on these tasks; without method, what cells were made with."""
    facts: dict[tuple[str, str], set[str]] = defaultdict(set)
    for study in view.studies:
        if study.task not in tasks:
            continue
        settings = study.model_dump(exclude=NO_SETTINGS) | study.training.model_dump() | study.reading
        for name, (low, high, guess) in study.space.items():
            settings[f"range of {name}"] = f"{low:g} to {high:g}, first {guess:g}"
        settings["searches"] = len(view.searches(study.task, study.method))
        settings |= {"trials": len(study.trials), "confirm seeds": len(study.confirm)}
        for name, value in settings.items():
            facts[study.method, name].add(str(value))
    cells = view.folder.cells.loc[[cell for _, cell in view.confirm_cells()]]
    for name in ("machine", "torch", "code"):
        facts["", name].update(set(cells[name]) - {""})
    return facts
