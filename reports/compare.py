"""Two results folders side by side: what they reach, paired where it can be, and the settings in which they differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from carft.core.errors import UserError
from carft.core.metrics import Frame
from carft.store.records import Store
from carft.store.study_file import StudyFile
from reports.analysis.contrasts import Sets
from reports.analysis.forgetting import POSITIVE
from reports.analysis.levels import LEVELS
from reports.analysis.pairing import contributions
from reports.evidence.evidence import Entry, Evidence
from reports.evidence.views import read_evidence
from reports.stats.intervals import Component, Contributions, Estimate, pooled, two_way

#: fields of a study that are its results or its place, and those that are compared one by one
NO_SETTINGS = {"id", "task", "method", "search", "winner", "too_few", "grid", "selected_over", "extended_from"}
IN_PARTS = {"trials", "confirm", "training", "space", "reading"}


class Pairing(StrEnum):
    """What two cells of one task have in common."""

    SEEDS = "image and seed"
    """Search and seed too, so that one run is subtracted from one."""
    IMAGES = "image"
    """The images alone: seeds or searches differ."""
    NOTHING = "nothing"
    """The images differ, too."""


@dataclass(frozen=True)
class FolderDifference:
    """The second folder minus the first, of one entry at one place, on one task or in the mean over all of both."""

    scope: str
    place: str
    method: str
    task: str
    """Empty for the mean over tasks."""
    first: float
    """What the cells that are compared reach in the first folder, a share of 1."""
    second: float
    effect: float
    """Second minus first, a share of 1."""
    low: float
    high: float
    paired_by: Pairing
    """Of several tasks the least that one has in common."""
    n_tasks: int
    n_seeds: int
    n_groups: int


@dataclass(frozen=True)
class Setting:
    """A setting that differs. first, second: the values in either folder; none where it has no such setting."""

    scope: str
    method: str
    """Empty for what is of the cells of all methods."""
    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]


@dataclass(frozen=True)
class FolderComparison:
    """Two results folders side by side."""

    differences: Sequence[FolderDifference]
    settings: Sequence[Setting]
    only_first: Sequence[str]
    """Scopes of the first folder that the second does not have."""
    only_second: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Plain values; a bound that cannot be given is None."""
        content = asdict(self)
        for row in content["differences"]:
            for name in ("low", "high"):
                if np.isnan(row[name]):
                    row[name] = None
        return content


def compare(first: Store, second: Store) -> FolderComparison:
    """Compare what both folders hold: scopes of one name, tasks, methods. ``UserError`` when they share no scope."""
    ours = {view.name: view for view in read_evidence(first).views()}
    theirs = {view.name: view for view in read_evidence(second).views()}
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise UserError(
            f"'{first.name}' and '{second.name}' have no scope in common: {', '.join(ours)}; {', '.join(theirs)}.",
            "Compare folders with the same family of tasks.",
        )
    differences: list[FolderDifference] = []
    settings: list[Setting] = []
    for name in shared:
        differences += _differences(ours[name], theirs[name])
        settings += _settings(ours[name], theirs[name])
    shared_names = set(shared)
    return FolderComparison(differences, settings, sorted({*ours} - shared_names), sorted({*theirs} - shared_names))


def _differences(first: Evidence, second: Evidence) -> Iterator[FolderDifference]:
    """The rows of a scope: for each place and entry the mean over the tasks of both folders, then each task."""
    for place, (metric, sets) in LEVELS.items():
        for entry in (*first.entries(), POSITIVE):
            rows: list[FolderDifference] = []
            estimates: list[Estimate] = []
            pairings: list[Pairing] = []
            levels: list[tuple[float, float]] = []
            for task in first.tasks:
                names = _shared_sets(first, second, task, sets)
                found = _on_task(first, second, task, entry, names, metric) if names else None
                if found is not None:
                    estimate, pairing, level = found
                    rows.append(_row(first, place, entry, task, [estimate], [pairing], [level]))
                    estimates.append(estimate)
                    pairings.append(pairing)
                    levels.append(level)
            if rows:
                yield _row(first, place, entry, "", estimates, pairings, levels)
                yield from rows


def _shared_sets(first: Evidence, second: Evidence, task: str, sets: Sets) -> Sequence[str]:
    """Return the evaluation sets of a task; empty unless both folders have the task and all of these sets."""
    names = sets(first, task)
    if task not in second.tasks or names != sets(second, task):
        return ()
    held = {*first.set_names(task), "val"} & {*second.set_names(task), "val"}
    return names if {*names} <= held else ()


def _row(
    view: Evidence,
    place: str,
    entry: Entry,
    task: str,
    estimates: Sequence[Estimate],
    pairings: Sequence[Pairing],
    levels: Sequence[tuple[float, float]],
) -> FolderDifference:
    mean = pooled(estimates)
    low, high = mean.interval()
    order = list(Pairing)
    least = max(pairings, key=order.index)
    first, second = np.mean(levels, axis=0).tolist()
    counts = (len(estimates), mean.n_seeds, mean.n_groups)
    return FolderDifference(view.name, place, entry.label, task, first, second, mean.effect, low, high, least, *counts)


def _on_task(
    first: Evidence, second: Evidence, task: str, entry: Entry, names: Sequence[str], metric: str
) -> tuple[Estimate, Pairing, tuple[float, float]] | None:
    """The difference on a task, how it is paired, and the levels of both; None where one has no such number."""
    if entry.method not in second.methods:
        return None
    ours, theirs = first.cells(task, entry), second.cells(task, entry)
    if not ours or not theirs:
        return None
    runs = {(second.search(cell), second.seed(cell)): cell for cell in theirs}
    both = [cell for cell in ours if (first.search(cell), first.seed(cell)) in runs]
    if both:
        ours = tuple(both)
        theirs = tuple(runs[first.search(cell), first.seed(cell)] for cell in both)
    made, other = contributions(first, ours, names, metric), contributions(second, theirs, names, metric)
    if made is None or other is None:
        return None
    levels = (float(made.values.sum(1).mean()), float(other.values.sum(1).mean()))
    seeds_vary = first.methods[entry.method].kind != "untrained"
    same_images = all(_same_images(first, second, ours[0], theirs[0], name) for name in names)
    if not same_images:
        return _apart(made, other, seeds_vary), Pairing.NOTHING, levels
    if not both:
        return _paired_by_image(made, other, seeds_vary), Pairing.IMAGES, levels
    return two_way(_minus(made, other.values - made.values), seeds_vary), Pairing.SEEDS, levels


def _same_images(first: Evidence, second: Evidence, ours: str, theirs: str, name: str) -> bool:
    """Whether two cells were evaluated on the same images of a set, with the same labels and groups."""
    return _rows(first.outcome(ours, name).frame) == _rows(second.outcome(theirs, name).frame)


def _rows(frame: Frame) -> dict[str, tuple[Any, ...]]:
    """Image -> what else is known of it."""
    known = zip(frame.labels.tolist(), frame.contexts.tolist(), frame.group_names[frame.groups].tolist(), strict=True)
    return dict(zip(frame.images.to_pylist(), known, strict=True))


def _minus(made: Contributions, values: np.ndarray) -> Contributions:
    searches = made.searches[: len(values)]
    return Contributions(values, made.strata, made.weights, made.images, searches, made.names)


def _paired_by_image(made: Contributions, other: Contributions, seeds_vary: bool) -> Estimate:
    """The difference of the means over seeds: its groups' term is paired, the seeds' terms of both sides add up."""
    means = other.values.mean(0) - made.values.mean(0)
    by_image = two_way(_minus(made, means[np.newaxis]), seeds_vary=False)
    return _joined(by_image.effect, by_image.components, made, other, seeds_vary)


def _apart(made: Contributions, other: Contributions, seeds_vary: bool) -> Estimate:
    """The difference of two independent levels: all their terms add up."""
    ours, theirs = two_way(made, seeds_vary), two_way(other, seeds_vary)
    of_groups = []
    for term in (*ours.components, *theirs.components):
        if term.source == "groups":
            of_groups.append(term)
    return _joined(theirs.effect - ours.effect, of_groups, made, other, seeds_vary)


def _joined(
    effect: float, of_groups: Sequence[Component], made: Contributions, other: Contributions, seeds_vary: bool
) -> Estimate:
    """An estimate with these terms of groups and the seeds' terms of both sides."""
    components = list(of_groups)
    for side in (made, other):
        for term in two_way(side, seeds_vary).components:
            if term.source != "groups":
                components.append(term)
    seeds, groups = min(len(made.values), len(other.values)), min(made.values.shape[1], other.values.shape[1])
    return Estimate(effect, tuple(components), seeds, groups)


def _settings(first: Evidence, second: Evidence) -> Iterator[Setting]:
    """The settings of the studies of both, method by method, and of all their cells, that differ."""
    for method in first.methods:
        ours, theirs = _of_studies(first, second, method), _of_studies(second, first, method)
        if ours and theirs:
            yield from _differing(first.name, method, ours, theirs)
    yield from _differing(first.name, "", _of_cells(first), _of_cells(second))


def _differing(
    scope: str, method: str, ours: Mapping[str, set[str]], theirs: Mapping[str, set[str]]
) -> Iterator[Setting]:
    for name in dict.fromkeys((*ours, *theirs)):
        values, others = ours.get(name, set()), theirs.get(name, set())
        if values != others:
            yield Setting(scope, method, name, tuple(sorted(values)), tuple(sorted(others)))


def _of_studies(view: Evidence, other: Evidence, method: str) -> dict[str, set[str]]:
    """Setting -> its values in the studies of a method on the tasks that both views have; none without studies."""
    found: dict[str, set[str]] = defaultdict(set)
    searches: dict[str, int] = defaultdict(int)
    for study in view.studies:
        if study.method == method and study.task in other.tasks:
            searches[study.task] += 1
            for name, value in _of_study(study).items():
                found[name].add(value)
    for count in searches.values():
        found["searches"].add(str(count))
    return found


def _of_study(study: StudyFile) -> dict[str, str]:
    """Setting -> its value in words of the file."""
    settings = study.model_dump(exclude=NO_SETTINGS | IN_PARTS) | study.training.model_dump() | study.reading
    for name, (low, high, first) in study.space.items():
        settings[f"range of {name}"] = f"{low:g} to {high:g}, first {first:g}"
    settings |= {"trials": len(study.trials), "confirm seeds": len(study.confirm)}
    return {name: str(value) for name, value in settings.items()}


def _of_cells(view: Evidence) -> dict[str, set[str]]:
    """What the finished confirm cells of a view were made with: versions, processor, NUMERICS."""
    found: dict[str, set[str]] = defaultdict(set)
    for _, _, cell in view.confirm_cells():
        if cell in view.records:
            made = view.records[cell].provenance
            facts = {"numerics": made.get("numerics"), "carft": made.get("carft"), "python": made.get("python")}
            facts |= made.get("packages") or {}
            facts["processor"] = (made.get("cpu") or {}).get("model")
            facts["GPU"] = (made.get("machine") or {}).get("gpu")
            for name, value in facts.items():
                if value is not None:
                    found[name].add(str(value))
    return found
