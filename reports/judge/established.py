"""Controls: what independent work has established, asked of every experiment before its verdicts are believed.

Where the controls do not show, a claim that does not show either says nothing: the experiment lacks assay sensitivity
(ICH E10, section 1.5).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard

import numpy as np
import pandas as pd

from reports.judge.contrasts.contrast import Contrast, every_suite, pool
from reports.judge.entry import FT, ZERO_SHOT, Entry
from reports.judge.estimate import Component, Estimate
from reports.judge.evidence import Evidence
from reports.judge.forgetting import CONTROL_ALPHA, POSITIVE, forgotten
from reports.judge.levels import Recognition
from reports.judge.part import Part
from reports.judge.ranks import ONE_SIDED, holm
from reports.read.references import NAMES, TEST, reported_gain

ControlAnswer = Literal["holds", "does not hold", "not run"]
WISE_PAPER = "WiSE-FT, arXiv 2109.01903"


@dataclass(frozen=True)
class Control:
    """One established statement."""

    name: str
    statement: str
    source: str
    """Who established it."""
    measure: Callable[[Evidence], Part | None]
    """Its difference in one scope; None where it was not run."""
    reported: float = math.nan
    """The size on ImageNet in the reference numbers, a share of 1; NaN where none is on record."""
    joint: bool = False
    """Whether it is one of those that Holm's correction adjusts together."""


def _remedy(name: str, title: str, entry: Entry, source: str, joint: bool = True) -> Control:
    """That a remedy has more accuracy out of distribution than FT."""
    reported, pipeline = reported_gain(NAMES.get(name, ""))

    def measure(evidence: Evidence) -> Part | None:
        return pool(evidence, Contrast(entry, FT, "top1", every_suite), title)

    origin = f"{source}; size: {pipeline}" if pipeline else source
    statement = f"{title} is ahead of fine-tuning out of distribution."
    return Control(title, statement, origin, measure, reported, joint=joint)


def _recognition_above_chance(evidence: Evidence) -> Part | None:
    """Zero-shot's context recognition minus chance."""
    recognition = Recognition.of(evidence, "context")
    if recognition is None:
        return None
    above = replace(recognition.level, effect=recognition.level.effect - recognition.chance)
    tasks: list[str] = []
    used: list[str] = []
    for task in evidence.tasks:
        cells = evidence.cells(task, ZERO_SHOT)
        if cells:
            tasks.append(task)
            used += cells
    return Part("zero-shot - chance, contexts", above, tuple(used), tuple(tasks), metric="context")


def forgets_more(evidence: Evidence) -> Part | None:
    """What a doubled learning rate of FT costs out of distribution: a line of each task in log2 of it, one slope.

    It rests on all cells of FT that were evaluated, search cells among them; those of one task and learning rate count
    as one point. Tasks are fixed: each has an intercept of its own. None with fewer than two learning rates.
    """
    cells = _evaluated_of_ft(evidence)
    if "ood/mean/top1" not in cells:  # no cell of the folder was evaluated on a suite
        return None
    cells = cells.assign(rate=np.log2(cells["hp/lr"].astype(float)))
    points = cells.groupby(["task", "rate"])["ood/mean/top1"].mean().reset_index("rate")
    x, y = (points - points.groupby("task").transform("mean")).to_numpy(float).T
    if not x.any():
        return None
    tasks = [task for task in evidence.tasks if task in points.index]
    slope = float(x @ y / (x @ x))
    free = len(x) - len(tasks) - 1
    variance = math.nan
    if free > 0:
        variance = float(((y - slope * x) ** 2).sum() / free / (x @ x))
    estimate = Estimate(-slope, (Component(variance, free, "trials"),), cells["seed"].nunique(), 0)
    title = "FT, loss for a doubled learning rate, mean of suites"
    return Part(title, estimate, tuple(cells.index), tuple(tasks))


def _evaluated_of_ft(evidence: Evidence) -> pd.DataFrame:
    """The cells of FT in a scope, search cells among them, that were evaluated on all suites of their task."""
    evaluated = []
    for task in evidence.tasks:
        suites = evidence.suites(task)
        for study in evidence.searches(task, FT.method):
            for cell in dict.fromkeys([*study.trial_cells, *study.confirm]):
                if suites and cell in evidence.records and evidence.folder.evaluated(cell) >= set(suites):
                    evaluated.append(cell)
    return evidence.folder.cells.loc[evaluated]


GAINS = Control(
    "fine-tuning gains ID",
    "Fine-tuning raises accuracy in distribution.",
    f"{WISE_PAPER}; size: {reported_gain('Zero-shot', TEST)[1]}",
    lambda evidence: pool(evidence, Contrast(FT, ZERO_SHOT), "FT - zero-shot, ID test"),
    -reported_gain("Zero-shot", TEST)[0],
)
FORGETS = Control(
    "fine-tuning forgets OOD",
    "Fine-tuning lowers accuracy out of distribution below that of zero-shot.",
    f"{WISE_PAPER}; size: {reported_gain('Zero-shot')[1]}",
    forgotten,
    reported_gain("Zero-shot")[0],
)
POSITIVE_CONTROL = _remedy(POSITIVE.label, f"WiSE-FT at alpha {CONTROL_ALPHA:g}", POSITIVE, WISE_PAPER, joint=False)
CONTROLS: Sequence[Control] = (
    GAINS,
    FORGETS,
    Control(
        "a larger learning rate forgets more",
        "With a larger learning rate fine-tuning loses more out of distribution. In points for a doubled one.",
        f"{WISE_PAPER}, on hyperparameters; no size on record",
        forgets_more,
    ),
    POSITIVE_CONTROL,
    _remedy("lp_ft", "LP-FT", Entry("lp_ft"), "arXiv 2202.10054"),
    _remedy("flyp", "FLYP", Entry("flyp"), "arXiv 2212.00638"),
    _remedy("l2_sp", "L2-SP", Entry("l2_sp"), "arXiv 1802.01483"),
    _remedy("kd", "KD", Entry("kd"), "arXiv 1503.02531"),
    _remedy("soup", "uniform soup", Entry("soup", "ft", greedy=0.0), "arXiv 2203.05482; no size on record"),
    _remedy("soup", "greedy soup", Entry("soup", "ft", greedy=1.0), "arXiv 2203.05482; no size on record"),
    Control(
        "contexts are recognised",
        "Zero-shot recognises contexts above chance. In points above chance.",
        "CAR-FT, arXiv 2211.16175; no size on record",
        _recognition_above_chance,
    ),
)


@dataclass(frozen=True)
class Asked:
    """A control in one scope."""

    scope: str
    scale: str
    control: Control
    answer: ControlAnswer
    words: str
    """What is missing or unequal of it, or what its number stands beside; mostly empty."""
    part: Part | None = None
    p_adjusted: float = math.nan
    """One-sided, after Holm over the remedies that were run; NaN for a control that stands alone."""


def ask_controls(evidence: Evidence) -> list[Asked]:
    """Every control in every scope. A control holds where its interval lies above 0, of the remedies after Holm."""
    asked: list[Asked] = []
    for view in evidence.views():
        asked += _measured_controls(view)
    return asked


def _measured_controls(view: Evidence) -> Iterator[Asked]:
    """Every control in one scope."""
    parts = {control.name: control.measure(view) for control in CONTROLS}
    adjusted = _adjusted(parts)
    for control in CONTROLS:
        part, p = parts[control.name], adjusted.get(control.name, math.nan)
        words = part.doubts if part is not None else ""
        recognition = Recognition.of(view, "context") if control.measure is _recognition_above_chance else None
        if recognition is not None:
            words = recognition.words
        yield Asked(view.name, view.scale, control, _answer(part, p), words, part, p)


def _has_interval(part: Part | None) -> TypeGuard[Part]:
    return part is not None and not math.isnan(part.low)


def _adjusted(parts: Mapping[str, Part | None]) -> dict[str, float]:
    """Name -> one-sided p value after Holm, of the controls that are adjusted together and have an interval."""
    names, p_values = [], []
    for control in CONTROLS:
        part = parts[control.name]
        if control.joint and _has_interval(part):
            names.append(control.name)
            p_values.append(part.estimate.p_above())
    return dict(zip(names, holm(p_values), strict=True))


def _answer(part: Part | None, p: float) -> ControlAnswer:
    """Whether a control holds: by its p value after Holm, or by its interval where it stands alone (NaN)."""
    if not _has_interval(part):
        return "not run"
    shows = p < ONE_SIDED
    if math.isnan(p):
        shows = part.low > 0
    return "holds" if shows else "does not hold"


def remedies(evidence: Evidence) -> Sequence[Entry]:
    """What a scope has of trained methods but FT, of WiSE-FT at the fixed alpha, and of soups of FT."""
    entries = [POSITIVE]
    for entry in evidence.entries():
        if entry.method == "soup" and entry.parent == FT.method:
            entries.append(entry)
    for name in evidence.trained_methods:
        if name != FT.method:
            entries.append(Entry(name))
    return list(filter(evidence.has, entries))
