"""C5: CAR-FT beats fine-tuning on every downstream task."""

from dataclasses import replace

from reports.judge.claims.claim import Claim, Verdict
from reports.judge.claims.rules import beside, decide
from reports.judge.contrasts.contrast import OF_CARD, Contrast, parts_of_tasks, sampled
from reports.judge.entry import CAR_FT, FT
from reports.judge.evidence import Evidence
from reports.judge.part import MEAN_OF_TASKS


class EveryTask(Claim):
    """One deciding part a task, in the metric of its card; top-1 stands beside another metric."""

    def decide(self, evidence: Evidence) -> Verdict:
        contrast, sides = Contrast(CAR_FT, FT, OF_CARD), "CAR-FT - FT"
        result = contrast.estimate(evidence)
        parts = parts_of_tasks(result, sides)
        parts += beside(evidence, sides, {MEAN_OF_TASKS: contrast})
        parts += sampled(evidence, contrast, sides, MEAN_OF_TASKS)
        others = tuple(task for task in result.estimates if result.metrics[task] != "top1")
        if others:
            for part in parts_of_tasks(Contrast(CAR_FT, FT).estimate(evidence), sides):
                if part.tasks[0] in others:
                    parts.append(replace(part, place=f"{part.place}, top-1", deciding=False))
        verdict = decide(self, evidence, parts, "ft and car_ft")
        if verdict.missing or not result.estimates:
            return verdict
        gaining = sum(estimate.effect > 0 for estimate, _ in result.estimates.values())
        reason = f"{gaining} of {len(result.estimates)} tasks gain."
        if others:
            usual = f"mean per class, the usual metric of: {', '.join(others)}"
            reason += f" Decided on {usual}; top-1 stands beside it."
        return verdict.with_reason(reason)


CLAIM = EveryTask(
    id="C5",
    title="Every downstream task gains",
    statement="CAR-FT beats fine-tuning on every downstream task.",
    rule=(
        "CAR-FT minus FT on each test set, in the metric of the task's card (top-1, or mean per "
        "class where that is the field's usual metric): all lower bounds above 0."
    ),
    source=(
        "abstract of arXiv 2211.16175: 'brings accuracy gains on nine downstream tasks'; no "
        "trustworthy reference numbers"
    ),
    asked_of=("several",),
    needs="test",
    gain="tasks",
)
