"""CAR-FT minus FT with winners chosen on test: an upper bound for both sides, never a result."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from carft.store.study_file import StudyFile
from reports.judge.contrasts.contrast import Contrast, ContrastResult, Sets, id_test
from reports.judge.entry import CAR_FT, FT
from reports.judge.evidence import Evidence
from reports.judge.intervals.two_way import two_way
from reports.judge.pairing import Mismatch, difference


def oracle(
    evidence: Evidence, sets: Sets = id_test, select_by: Sets | None = None, what: str = "top1"
) -> ContrastResult | None:
    """CAR-FT minus FT of the search cells that are best on test; None unless all were opened, on the same images.

    Search cells have one seed, so there is no seed term and the intervals are too short.

    sets: where the sides are compared. select_by: where the cells are selected by top-1, by default the same sets.
    what: the metric of the comparison, as of :class:`Contrast`.
    """
    estimates = {}
    for task in evidence.tasks:
        names, by = sets(evidence, task), (select_by or sets)(evidence, task)
        studies, others = evidence.searches(task, CAR_FT.method), evidence.searches(task, FT.method)
        if not names or not studies or len(studies) != len(others):
            return None
        pairs = []
        for study, other in zip(studies, others, strict=True):
            ours, theirs = best_on_test(evidence, study, by), best_on_test(evidence, other, by)
            if ours is None or theirs is None:
                return None
            pairs.append((ours, theirs))
        try:
            counted = difference(evidence, pairs, names, Contrast(CAR_FT, FT, what).metric(evidence, task))
        except Mismatch:
            return None
        if counted is None:
            return None
        estimates[task] = two_way(counted[0], seeds_vary=False), tuple(chain.from_iterable(pairs))
    return ContrastResult(estimates) if estimates else None


def best_on_test(evidence: Evidence, study: StudyFile, names: Sequence[str]) -> str | None:
    """The search cell with the highest mean top-1 on these sealed sets; None unless all finished ones were unsealed."""
    scores = {}
    for trial in evidence.finished_trials(study):
        if not evidence.folder.is_open(trial.cell, study.task, names):
            return None
        metrics = evidence.metrics(trial.cell)
        scores[trial.cell] = np.mean([metrics[f"{name}/top1"] for name in names])
    if not scores:
        return None
    return list(scores)[int(np.argmax(list(scores.values())))]
