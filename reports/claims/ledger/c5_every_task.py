"""C5: CAR-FT beats fine-tuning on every downstream task."""

from dataclasses import replace

from reports.analysis.contrasts import OF_CARD, Contrast, parts_of_tasks, sampled
from reports.claims.claim import Claim, Verdict
from reports.claims.rules import beside, decide
from reports.evidence.evidence import CAR_FT, FT, Evidence


class EveryTask(Claim):
    """One deciding part a task, in the metric of its card; top-1 stands beside another metric."""

    def decide(self, evidence: Evidence) -> Verdict:
        contrast, mean = Contrast(CAR_FT, FT, OF_CARD), "CAR-FT - FT, mean of tasks"
        result = contrast.estimate(evidence)
        parts = parts_of_tasks(result, "CAR-FT - FT, ")
        parts += [*beside(evidence, {mean: contrast}), *sampled(evidence, contrast, mean)]
        others = {task for task, metric in result.metrics.items() if metric != "top1"}
        if others:
            plain = parts_of_tasks(Contrast(CAR_FT, FT).estimate(evidence), "CAR-FT - FT, ")
            parts += [replace(p, name=f"{p.name}, top-1", deciding=False) for p in plain if p.tasks[0] in others]
        verdict = decide(self, evidence, parts, "ft and car_ft")
        if verdict.missing or not result.estimates:
            return verdict
        gains = [estimate.effect > 0 for estimate, _ in result.estimates.values()]
        words = f"{verdict.finding} {sum(gains)} of {len(gains)} tasks gain."
        if others:
            by = ", ".join(task for task in result.estimates if task in others)
            words += f" Decided on mean per class, the usual metric of: {by}; top-1 stands beside it."
        return replace(verdict, finding=words)


CLAIM = EveryTask(
    id="C5",
    title="Every downstream task gains",
    statement="CAR-FT beats fine-tuning on every downstream task.",
    rule=(
        "CAR-FT minus FT on each test set, in the metric of the task's card (top-1, or mean per "
        "class where that is the field's usual metric): all lower bounds above 0 "
        "(intersection-union). Contradicted if an upper bound lies below 0 after Holm."
    ),
    source=(
        "abstract of arXiv 2211.16175: 'brings accuracy gains on nine downstream tasks'; no "
        "trustworthy reference numbers"
    ),
    asked_of=("nine",),
    needs="test",
    gain="tasks",
)
