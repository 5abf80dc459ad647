"""C9: whether the gain shrinks where the zero-shot model is weak."""

from __future__ import annotations

import math
from dataclasses import replace

from scipy import optimize

from reports.analysis.contrasts import Contrast, every_suite
from reports.claims.rules import Answer, Claim, Verdict, not_run
from reports.evidence.evidence import CAR_FT, FT, ZERO_SHOT, Evidence
from reports.stats.ranks import RankCorrelation, rank_correlation

FEWEST_TASKS = 5


def zero_shot_accuracy(evidence: Evidence, task: str) -> float | None:
    """Accuracy of the pretrained model on a task's test set; None when it was not run."""
    cells = evidence.cells(task, ZERO_SHOT)
    return evidence.metrics(cells[0])["test/top1"] if cells else None


def shrinks(claim: Claim, evidence: Evidence) -> Verdict:
    """C9: Spearman's correlation over tasks of the ID gain with zero-shot accuracy."""
    found = Contrast(CAR_FT, FT).found(evidence)
    start = {task: zero_shot_accuracy(evidence, task) for task in found.estimates}
    tasks = [task for task, value in start.items() if value is not None]
    if len(tasks) < FEWEST_TASKS:
        return not_run(claim, evidence, f"zeroshot, ft and car_ft on at least {FEWEST_TASKS} tasks")
    levels = [start[task] or 0.0 for task in tasks]
    correlation = rank_correlation([found.estimates[task][0].effect for task in tasks], levels)
    answer, reason = _answer(correlation)
    if found.unequal or found.flaws:
        answer = "not comparable" if found.unequal else "inconclusive"
        reason = f"{'; '.join((*found.unequal, *found.flaws))}. {reason}"
    estimates = [found.estimates[task][0] for task in tasks]
    visible = correlation_visible_with(len(tasks))
    verdict = Verdict(
        claim=claim.id,
        title=claim.title,
        verdict=answer,
        scale=evidence.scale,
        effect=correlation.value,
        low=correlation.low,
        high=correlation.high,
        n_tasks=len(tasks),
        n_seeds=min(e.n_seeds for e in estimates),
        n_groups=sum(e.n_groups for e in estimates),
        n_searches=min(e.n_searches for e in estimates),
        smallest_visible=visible,
        floor="tasks",
        reason=reason,
        headline="Spearman's correlation of CAR-FT - FT with zero-shot, ID test",
        cells=found.cells,
        scope=evidence.name,
        unit="rank correlation",
        power=f"{len(tasks)} tasks see a correlation of {visible:.2f}; only more tasks help.",
    )
    return replace(verdict, reason=verdict.reason + _out_of_distribution(evidence, tasks, levels))


def _answer(correlation: RankCorrelation) -> tuple[Answer, str]:
    if math.isnan(correlation.value):
        return "inconclusive", "All tasks have the same gain or the same start: there is nothing to correlate."
    p = f"Permutation p = {correlation.p:.2f} over {correlation.count} tasks."
    if correlation.low > 0:
        return "reproduced", f"The whole interval of the correlation lies above 0. {p}"
    if correlation.high < 0:
        return "contradicted", f"The whole interval of the correlation lies below 0. {p}"
    return "inconclusive", f"The interval of the correlation reaches 0. {p}"


def _out_of_distribution(evidence: Evidence, tasks: list[str], levels: list[float]) -> str:
    found = Contrast(CAR_FT, FT, "top1", every_suite).found(evidence).estimates
    if not set(tasks) <= set(found):
        return ""
    beside = rank_correlation([found[task][0].effect for task in tasks], levels)
    return (
        f" Out of distribution: {beside.value:+.2f} ({beside.low:+.2f} to {beside.high:+.2f}), which decides nothing."
    )


def correlation_visible_with(count: int) -> float:
    """The correlation whose interval leaves 0 in 80 % of repetitions: z with the variance of the interval itself."""

    def excess(r: float) -> float:
        return math.atanh(r) - (1.96 + 0.84) * math.sqrt((1 + r**2 / 2) / (count - 3))

    return float(optimize.brentq(excess, 0.0, 1 - 1e-12))
