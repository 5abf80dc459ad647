"""C9: the gain shrinks where the zero-shot model is weak."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from reports.analysis.contrasts import Contrast
from reports.analysis.levels import levels_by_task
from reports.claims.claim import Claim, Decision, Direction, Ground, Lack, Missing, Verdict, VerdictNumber
from reports.claims.rules import not_run
from reports.evidence.evidence import CAR_FT, FT, ZERO_SHOT, Evidence
from reports.stats.intervals import Estimate
from reports.stats.ranks import RankCorrelation, rank_correlation

FEWEST_TASKS = 5


@dataclass(frozen=True)
class Correlated(Ground):
    """The correlation over so many tasks, and the shares of both variances over tasks that are no sampling noise."""

    direction: Direction
    correlation: RankCorrelation
    count: int
    of_gains: float
    of_starts: float


class WeakZeroShot(Claim):
    """The correlation over tasks of the gain with zero-shot accuracy."""

    def decide(self, evidence: Evidence) -> Verdict:
        result = Contrast(CAR_FT, FT).estimate(evidence)
        # never the test images, of which the gain is taken: sampling alone would correlate the two
        levels = levels_by_task(evidence, ZERO_SHOT, "top1", lambda *_: ["val"])
        tasks: list[str] = []
        gains: list[Estimate] = []
        starts: list[Estimate] = []
        cells = list(result.cells)
        for task, (gain, _) in result.estimates.items():
            if task in levels:
                start, start_cells = levels[task]
                tasks.append(task)
                gains.append(gain)
                starts.append(start)
                cells.append(start_cells[0])
        if len(tasks) < FEWEST_TASKS:
            sides, size = ("zeroshot", "ft", "car_ft"), len(evidence.scope.family.tasks)
            lack = Lack.TASKS if size >= FEWEST_TASKS else Lack.LARGER_FAMILY
            return not_run(self, evidence, Missing(lack, sides, least=FEWEST_TASKS, count=size))
        correlation = rank_correlation([gain.effect for gain in gains], [start.effect for start in starts])
        direction = _direction(correlation)
        ground = Correlated(direction, correlation, len(tasks), reliability(gains), reliability(starts))
        number = VerdictNumber(
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
            Decision(direction, (ground,)),
            number,
            cells=tuple(cells),
            unequal=result.unequal,
            damage=result.flaws,
        )


def _direction(correlation: RankCorrelation) -> Direction:
    if correlation.low > 0:
        return "for"
    if correlation.high < 0:
        return "against"
    return "open"


def reliability(estimates: Sequence[Estimate]) -> float:
    """The share of the variance over tasks that is no sampling noise, at least 0; NaN where the noise is not known."""
    noise = float(np.mean([estimate.se**2 for estimate in estimates]))
    observed = float(np.var([estimate.effect for estimate in estimates], ddof=1))
    if math.isnan(noise):
        return math.nan
    if not observed > 0:
        return 0.0
    return max(0.0, 1 - noise / observed)


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
