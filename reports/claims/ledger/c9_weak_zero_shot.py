"""C9: the gain shrinks where the zero-shot model is weak."""

import math
from collections.abc import Mapping, Sequence

from scipy import optimize

from reports.analysis.contrasts import ASSUMED, Contrast
from reports.analysis.levels import levels_by_task
from reports.claims.claim import Claim, Direction, Verdict
from reports.claims.power import Spread, needed_words
from reports.claims.rules import not_run
from reports.evidence.evidence import CAR_FT, FT, ZERO_SHOT, Evidence
from reports.stats.intervals import Estimate
from reports.stats.ranks import RankCorrelation, rank_correlation

FEWEST_TASKS = 5


class WeakZeroShot(Claim):
    """The correlation over tasks of the gain with zero-shot accuracy."""

    def decide(self, evidence: Evidence) -> Verdict:
        result = Contrast(CAR_FT, FT).estimate(evidence)
        # never the test images, of which the gain is taken: sampling alone would correlate the two
        levels = levels_by_task(evidence, ZERO_SHOT, "top1", lambda *_: ["val"])
        starts = {task: levels[task][0] for task in result.estimates if task in levels}
        tasks = list(starts)
        if len(tasks) < FEWEST_TASKS:
            missing = f"zeroshot, ft and car_ft on at least {FEWEST_TASKS} tasks"
            if (count := len(evidence.scope.family.tasks)) < FEWEST_TASKS:
                missing += f" of one family, and this one has {count}: first add tasks to it"
            return not_run(self, evidence, missing)
        gains, accuracies = [result.estimates[task][0] for task in tasks], [starts[task].effect for task in tasks]
        correlation = rank_correlation([gain.effect for gain in gains], accuracies)
        direction, finding = _direction(correlation, len(tasks))
        spreads = {"the gain": Spread.of(gains), "zero-shot accuracy": Spread.of(list(starts.values()))}
        finding += _errors_in_variables(*(spread.reliability for spread in spreads.values()))
        unit = evidence.card(tasks[0]).group
        visible = smallest_visible_correlation(len(tasks))
        return Verdict(
            self,
            evidence.scale,
            direction,
            effect=correlation.value,
            low=correlation.low,
            high=correlation.high,
            n_tasks=len(tasks),
            n_seeds=min(e.n_seeds for e in gains),
            n_groups=sum(e.n_groups for e in gains),
            n_searches=min(e.n_searches for e in gains),
            smallest_visible=visible,
            floor="tasks",
            finding=finding,
            unequal=result.unequal,
            damage=result.flaws,
            underpowered=_only_noise(gains, spreads, unit) if direction == "open" else "",
            headline="Spearman's correlation of CAR-FT - FT on test with zero-shot on validation images",
            cells=(*result.cells, *(levels[task][1][0] for task in tasks)),
            scope=evidence.name,
            unit="rank correlation",
            power=f"{len(tasks)} tasks see a correlation of {visible:.2f}; only more tasks help.",
        )


def _direction(correlation: RankCorrelation, count: int) -> tuple[Direction, str]:
    if math.isnan(correlation.value):
        return "open", "All tasks have the same gain or the same start: there is nothing to correlate."
    p = f"Permutation p = {correlation.p:.2f} over {count} tasks."
    if correlation.low > 0:
        return "for", f"The whole interval of the correlation lies above 0. {p}"
    if correlation.high < 0:
        return "against", f"The whole interval of the correlation lies below 0. {p}"
    return "open", f"The interval of the correlation reaches 0. {p}"


def _only_noise(gains: Sequence[Estimate], spreads: Mapping[str, Spread], unit: str) -> str:
    """Which variable varies no more than sampling error, and how many seeds would show it; empty if none."""
    words = [
        f"Over tasks {name} has a standard deviation of {100 * math.sqrt(spread.observed):.1f} points, and sampling "
        f"alone makes {100 * math.sqrt(spread.noise):.1f} (F test, p = {spread.p:.2f})."
        for name, spread in spreads.items()
        if spread.is_noise
    ]
    if not words:
        return ""

    def shown(seeds: float, groups: float) -> float:
        return Spread.of([gain.scaled(seeds, groups) for gain in gains]).shown(ASSUMED)

    wanted = f"A true standard deviation of the gain of {100 * ASSUMED:g} points would show in"
    words.append("A correlation of ranks that are noise has no meaning.")
    return f"{' '.join(words)} {wanted} {100 * shown(1, 1):.0f} %. {needed_words(shown, gains[0], unit)}"


def _errors_in_variables(of_gains: float, of_starts: float) -> str:
    """How far sampling noise in both variables pulls a correlation towards 0, from the shares that are no noise."""
    return (
        f" Both are measured with error, which pulls the correlation towards 0: of the variance over tasks "
        f"{100 * of_gains:.0f} % of the gain's and {100 * of_starts:.0f} % of zero-shot accuracy's is no sampling "
        f"noise, so a true correlation of 1 would be expected to show as {math.sqrt(of_gains * of_starts):.2f}."
    )


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
        "accuracy on the validation images: lower bound above 0. Not decidable where the spread "
        "of either over tasks is no larger than sampling noise."
    ),
    source="a limit that the paper is said to state (second-hand)",
    asked_of=("nine",),
    needs="test",
)
