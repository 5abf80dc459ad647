"""What the records hold for a report: confirm cells by task and method, and their outcomes as contributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from carft.cell import Cell, Reading, task_key
from carft.data.catalog import DOWNSTREAM_ICONS, Card, card
from carft.errors import Refusal
from carft.methods import METHODS, trained_methods
from carft.records import Outcomes, Record, Store
from carft.selection import best_alpha
from reports.statistics import Contributions

Source = tuple[str, ...]  # cells of one entry, by seed


@dataclass(frozen=True)
class Entry:
    """A row of the tables: a method, possibly interpolated from ``parent`` at ``alpha`` (None: by validation)."""

    method: str
    parent: str | None = None
    alpha: float | None = None

    @property
    def label(self) -> str:
        """A short name for tables and figures."""
        if self.parent is None:
            return self.method
        chosen = "" if self.alpha is None else f" alpha {self.alpha:g}"
        return f"{self.method}({self.parent}){chosen}"


ZERO_SHOT, FT, CAR_FT = Entry("zeroshot"), Entry("ft"), Entry("car_ft")
WISE, WISE_CAR = Entry("wise_ft", "ft"), Entry("wise_ft", "car_ft")
#: every registered method, then the interpolations of every trained one
TABLE_ENTRIES = (
    *(Entry(name) for name, method in METHODS.items() if method.kind != "post-hoc"),
    *(Entry("wise_ft", name) for name in trained_methods()),
)


@dataclass
class Evidence:
    """All that a report may rest on, read once."""

    store: Store
    records: Mapping[str, Record]
    studies: Sequence[Mapping[str, Any]]
    dropped: Sequence[Mapping[str, Any]]
    _outcomes: dict[tuple[str, str], Outcomes] = field(default_factory=dict)
    _metrics: dict[str, Mapping[str, float]] = field(default_factory=dict)

    @staticmethod
    def of(store: Store) -> Evidence:
        """Read records and studies. One training recipe is reported, that of the largest budget with a winner.

        Of several studies of one (task, method) under it the one with most trials is kept; all others are named.
        """
        found = sorted(store.studies(), key=_size)
        studies = [s for s in found if s["data_version"] == card(s["task"]).version]
        budget = studies[-1]["training"] if studies else None
        best: dict[tuple[str, str], Mapping[str, Any]] = {}
        dropped: list[Mapping[str, Any]] = [s for s in found if s not in studies]
        for study in studies:
            key = (study["task"], study["method"])
            if study["training"] != budget:
                dropped.append(study)
                continue
            if key in best:
                dropped.append(best[key])
            best[key] = study
        order = list(METHODS)
        kept = sorted(best.values(), key=lambda s: (s["task"], order.index(s["method"])))
        return Evidence(store, {r.id: r for r in store.records()}, kept, dropped)

    @cached_property
    def tasks(self) -> list[str]:
        """The tasks that are pooled: of the nine those that have a study; without any of them, all that have one.

        A task that holds the drawings of others (icons/all) is never pooled with them.
        """
        studied = {s["task"] for s in self.studies}
        return [t for t in DOWNSTREAM_ICONS if t in studied] or sorted(studied)

    def finished_trials(self, task: str, method: str) -> int:
        """Search trials of a study that ended with a record."""
        study = self.study(task, method)
        return sum(t["cell"] in self.records for t in study["trials"]) if study else 0

    @property
    def scale(self) -> str:
        """``paper``, ``own`` or ``miniature``: of several, the last of these."""
        scales = {card(t).scale for t in self.tasks}
        return next((scale for scale in ("miniature", "own") if scale in scales), "paper")

    def card(self, task: str) -> Card:
        return card(task)

    def study(self, task: str, method: str) -> Mapping[str, Any] | None:
        """The study of a task and method, if any."""
        return next((s for s in self.studies if (s["task"], s["method"]) == (task, method)), None)

    def cells(self, task: str, entry: Entry) -> Source:
        """Finished, fully unsealed cells of an entry, by seed; empty when there are none."""
        if entry.parent is not None:
            return tuple(
                filter(None, (self._interpolated(p, entry.alpha) for p in self.cells(task, Entry(entry.parent))))
            )
        if METHODS[entry.method].kind == "untrained":
            found = [
                r.id for r in self.records.values() if r.cell.method == entry.method and self._is_start(r.cell, task)
            ]
        else:
            study = self.study(task, entry.method)
            found = list(study["confirm"]) if study else []
        return tuple(c for c in found if c in self.records and self._sealed_open(c, task))

    def _is_start(self, cell: Cell, task: str) -> bool:
        """Whether an untrained cell is what the task's studies start from: same model, weights and default reading."""
        study = next((s for s in self.studies if s["task"] == task), None)
        start = (study["model"], study["pretrained"]) if study else (card(task).model, card(task).pretrained)
        current = task_key(cell.task) == task_key(task) and cell.data_version == card(task).version
        return current and (cell.model, cell.pretrained) == start and cell.reading == Reading()

    def _sealed_open(self, cell: str, task: str) -> bool:
        return self.store.evaluated(cell) >= set(self.set_names(task))

    @cached_property
    def _curves(self) -> dict[str, dict[float, Record]]:
        curves: dict[str, dict[float, Record]] = {}
        for record in self.records.values():
            if record.cell.method == "wise_ft":
                curves.setdefault(record.cell.parents[0], {})[record.cell.hyperparameters["alpha"]] = record
        return curves

    def _interpolated(self, parent: str, alpha: float | None) -> str | None:
        curve = self._curves.get(parent, {})
        if not curve:
            return None
        if alpha is None:
            alpha = best_alpha({a: r.metrics for a, r in curve.items()})
        return curve[alpha].id if alpha in curve else None

    def alphas(self) -> list[float]:
        """All alphas of the curves, sorted."""
        return sorted({a for curve in self._curves.values() for a in curve})

    def set_names(self, task: str) -> list[str]:
        """``test``, if the task has one, and ``ood/<suite>``."""
        return list(card(task).sets)

    def outcomes(self, cell: str, name: str) -> Outcomes:
        """Outcomes of a cell on a set, read once."""
        key = (cell, name)
        if key not in self._outcomes:
            self._outcomes[key] = self.store.outcomes(cell, name)
        return self._outcomes[key]

    def metrics(self, cell: str) -> Mapping[str, float]:
        """All metrics of a cell, read once."""
        if cell not in self._metrics:
            self._metrics[cell] = self.store.metrics(cell)
        return self._metrics[cell]

    def seed(self, cell: str) -> int:
        return self.records[cell].cell.seed


def _size(study: Mapping[str, Any]) -> tuple[int, int, int, int]:
    return (bool(study["winner"]), study["training"]["epochs"], len(study["trials"]), len(study["confirm"]))


def contributions(evidence: Evidence, cells: Sequence[str], names: Sequence[str], what: str) -> Contributions | None:
    """Contributions of a metric averaged over the named sets, for the cells of one entry (one row per cell).

    what: ``top1``, or ``context`` for context recognition, macro-averaged over the known contexts of each set; None
    when a set has no known context. ``Refusal`` when the cells were not evaluated on the same groups.
    """
    rows: list[dict[str, float]] = []
    strata: dict[str, tuple[str, ...]] = {}
    for cell in cells:
        row: dict[str, float] = {}
        for name in names:
            outcome = evidence.outcomes(cell, name)
            if what == "context" and not (outcome.contexts >= 0).any():
                return None
            weights, right = _weights_and_hits(outcome, what)
            groups, index = np.unique(outcome.groups, return_inverse=True)
            for group, value in zip(groups, np.bincount(index, weights * right / len(names)), strict=True):
                row[group] = row.get(group, 0.0) + float(value)
                if not rows:
                    strata[group] = (*strata.get(group, ()), name)
        if row.keys() != strata.keys():
            raise _other_images(cells[0], cell)
        rows.append(row)
    order = tuple(sorted(strata))
    values = np.array([[row[group] for group in order] for row in rows])
    return Contributions(values, np.array(["+".join(strata[group]) for group in order]), order)


def _other_images(first: str, second: str) -> Refusal:
    return Refusal(
        f"Cells {first} and {second} were evaluated on different images, so their difference means nothing.",
        "Use one results folder per version of the data.",
    )


def _weights_and_hits(outcome: Outcomes, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights (N,) that sum to 1 and hits (N,) of 0 and 1, so that the metric is their dot product.

    Images whose context is not known have weight 0 in context recognition.
    """
    if what == "top1":
        count = len(outcome.labels)
        return np.full(count, 1 / count), (outcome.predicted == outcome.labels).astype(float)
    known = outcome.contexts >= 0
    contexts, index, counts = np.unique(outcome.contexts[known], return_inverse=True, return_counts=True)
    weights = np.zeros(len(known))
    weights[known] = 1 / (len(contexts) * counts[index])
    return weights, (outcome.predicted_contexts == outcome.contexts).astype(float)


def paired(
    evidence: Evidence, task: str, first: Entry, second: Entry, names: Sequence[str], what: str
) -> tuple[Contributions, tuple[str, ...]] | None:
    """first minus second, paired by seed and image; an untrained entry pairs with every seed. None when missing.

    Returns the contributions of the difference and the cells it rests on.
    """
    ours, theirs = evidence.cells(task, first), evidence.cells(task, second)
    pairs = _pairs(evidence, ours, theirs)
    if not pairs:
        return None
    a = contributions(evidence, [p[0] for p in pairs], names, what)
    b = contributions(evidence, [p[1] for p in pairs], names, what)
    used = tuple(dict.fromkeys(cell for pair in pairs for cell in pair))
    if a is None or b is None:
        return None
    if a.groups != b.groups:
        raise _other_images(*pairs[0])
    return Contributions(a.values - b.values, a.strata, a.groups), used


def _pairs(evidence: Evidence, ours: Source, theirs: Source) -> list[tuple[str, str]]:
    fixed = [c for c in theirs if METHODS[evidence.records[c].cell.method].kind == "untrained"]
    if fixed:
        return [(cell, fixed[0]) for cell in ours]
    by_seed = {evidence.seed(cell): cell for cell in theirs}
    return [(cell, by_seed[seed]) for cell in ours if (seed := evidence.seed(cell)) in by_seed]
