"""C9: the gain shrinks where the zero-shot model is weak."""

import math

from scipy import optimize

from reports.judge.claims.claim import Claim, Direction, Verdict, VerdictNumber
from reports.judge.claims.rules import not_run
from reports.judge.contrasts.contrast import Contrast
from reports.judge.entry import CAR_FT, FT, ZERO_SHOT
from reports.judge.estimate import Estimate
from reports.judge.evidence import Evidence
from reports.judge.levels import levels_by_task
from reports.judge.ranks import RankCorrelation, rank_correlation

FEWEST_TASKS = 5


class WeakZeroShot(Claim):
    """The correlation over tasks of the gain with zero-shot accuracy."""

    def decide(self, evidence: Evidence) -> Verdict:
        result = Contrast(CAR_FT, FT).estimate(evidence)
        # never the test images, of which the gain is taken: sampling alone would correlate the two
        levels = levels_by_task(evidence, ZERO_SHOT, "top1", lambda *_: ["val"])
        tasks: list[str] = []
        gains: list[Estimate] = []
        starts: list[float] = []
        cells = list(result.cells)
        for task, (gain, _) in result.estimates.items():
            if task in levels:
                start, start_cells = levels[task]
                tasks.append(task)
                gains.append(gain)
                starts.append(start.effect)
                cells.append(start_cells[0])
        if len(tasks) < FEWEST_TASKS:
            missing = f"zeroshot, ft and car_ft on at least {FEWEST_TASKS} tasks"
            size = len(evidence.scope.family.tasks)
            if size >= FEWEST_TASKS:
                return not_run(self, evidence, missing)
            missing += f" of one family, and this one has {size}: first add tasks to it"
            return not_run(self, evidence, missing, command="")
        correlation = rank_correlation([gain.effect for gain in gains], starts)
        direction, place = _direction(correlation)
        reason = f"{place} Permutation p = {correlation.p:.2f} over {len(tasks)} tasks."
        if math.isnan(correlation.value):
            reason = "All tasks have the same gain or the same start: there is nothing to correlate."
        number = VerdictNumber(
            "Spearman's correlation of CAR-FT - FT on test with zero-shot on validation images",
            effect=correlation.value,
            low=correlation.low,
            high=correlation.high,
            n_tasks=len(tasks),
            n_seeds=min(e.n_seeds for e in gains),
            n_groups=sum(e.n_groups for e in gains),
            n_searches=min(e.n_searches for e in gains),
            smallest_visible=smallest_visible_correlation(len(tasks)),
            floor="tasks",
            unit="rank correlation",
            group=evidence.card(tasks[0]).group,
        )
        return Verdict(
            self,
            evidence.name,
            evidence.scale,
            direction=direction,
            reasons=(reason,),
            number=number,
            cells=tuple(cells),
            unequal=result.unequal,
            damage=result.flaws,
        )


def _direction(correlation: RankCorrelation) -> tuple[Direction, str]:
    """Where the interval of the correlation lies, and that in a sentence."""
    if correlation.low > 0:
        return "for", "The whole interval of the correlation lies above 0."
    if correlation.high < 0:
        return "against", "The whole interval of the correlation lies below 0."
    return "open", "The interval of the correlation reaches 0."


def smallest_visible_correlation(count: int) -> float:
    """The correlation whose interval leaves 0 in 80 % of repetitions: z with the variance of the interval itself."""

    def excess(r: float) -> float:
        return math.atanh(r) - (1.96 + 0.84) * math.sqrt((1 + r**2 / 2) / (count - 3))

    return float(optimize.brentq(excess, 0.0, 1 - 1e-12))


CLAIM = WeakZeroShot(
    id="C9",
    title="The gain shrinks where zero-shot is weak",
    statement="Over tasks, the gain of CAR-FT over fine-tuning rises with zero-shot accuracy.",
    rule=(
        "Spearman's correlation over tasks of CAR-FT minus FT on the test set with zero-shot "
        "accuracy on the validation images: lower bound above 0."
    ),
    source="a limit that the paper is said to state (second-hand)",
    asked_of=("several",),
    needs="test",
)
