"""What is said of verdicts: the word, the reason, the number, and what would show more."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reports.judge.claims.claim import INCONCLUSIVE, NO_DIFFERENCE, Verdict
from reports.judge.estimate import LEVEL, Estimate
from reports.judge.part import MEAN_OF_SUITES, MEAN_OF_TASKS, Part
from reports.note import Note

#: numbers of replicates, and times the groups, that a sentence on what would show more names
MORE_REPLICATES, MORE_GROUPS = 10, 4
#: what replicates are called, by whether they are searches
REPLICATES = {True: "searches", False: "seeds"}


def shown_word(verdict: Verdict) -> str:
    """The word as people are shown it, with its flag: ``no difference above 0.5`` names the margin in points."""
    if verdict.flag:
        return f"{verdict.verdict} ({verdict.flag})"
    margin = verdict.equivalence
    if margin is None or not verdict.verdict.endswith(NO_DIFFERENCE):
        return verdict.verdict
    return f"{verdict.verdict} above {100 * margin:.2g}"


def reason_words(verdict: Verdict, with_command: bool = True) -> str:
    """Why it is this word, in sentences. with_command: whether what was not run is followed by what runs it."""
    if verdict.missing:
        words = f"Missing: {verdict.missing}."
        if verdict.command and with_command:
            words += f" Run: {verdict.command}"
        return words
    sentences = []
    if verdict.unequal:
        sentences.append(f"The two sides differ in more than the method: {_joined(verdict.unequal)}.")
    if verdict.damage:
        sentences.append(f"Part of the evidence is missing or in doubt: {_joined(verdict.damage)}.")
    if verdict.flag and verdict.direction != "open":
        sentences.append(f"The intervals alone would say: {verdict.of_intervals}.")
    if verdict.verdict == INCONCLUSIVE:
        sentences.append(_bounds(verdict))
    return " ".join(filter(None, (*sentences, *verdict.reasons)))


def _joined(notes: Sequence[Note]) -> str:
    return "; ".join(note.words for note in notes)


def _bounds(verdict: Verdict) -> str:
    """Both bounds of an interval that decides nothing, in a sentence; empty without one."""
    low, high = verdict.number.low, verdict.number.high
    if low is None or high is None or not math.isfinite(low):
        return ""
    bounds = f"{100 * low:+.2f} and at most {100 * high:+.2f} points"
    if verdict.number.unit != "points":
        bounds = f"{low:+.2f} and at most {high:+.2f}"
    return f"It is at least {bounds}."


def power_words(verdict: Verdict) -> str:
    """What more seeds or groups would buy; empty without an interval."""
    if verdict.shown is not None:
        return visible_words(verdict.shown.estimate, verdict.number.group)
    number = verdict.number
    if number.unit == "points" or number.smallest_visible is None:
        return ""
    return f"{number.n_tasks} tasks see a correlation of {number.smallest_visible:.2f}; only more tasks help."


def visible_words(estimate: Estimate, group: str) -> str:
    """The smallest effect that the estimate detects, now and with more seeds or groups; empty without an interval."""
    many, now = estimate.replicates, estimate.smallest_visible()
    if not now > 0:
        return ""
    kind, ten = REPLICATES[estimate.n_searches > 1], max(MORE_REPLICATES, 2 * many)
    with_seeds, with_groups = estimate.scaled(seeds=ten / many), estimate.scaled(groups=MORE_GROUPS)
    return (
        f"With {many} {kind} and {estimate.n_groups} {group}s it sees {_points(now)} points; {ten} {kind} would see "
        f"{_points(with_seeds.smallest_visible())}, {MORE_GROUPS} times the {group}s "
        f"{_points(with_groups.smallest_visible())}."
    )


def _points(value: float) -> str:
    digits = 1 if value >= 0.001 else 2
    return f"{100 * value:.{digits}f}"


def tuning_words(verdict: Verdict) -> str:
    """Whether the interval covers the luck of the search; empty without one."""
    searches = verdict.number.n_searches
    if searches == 0:
        return ""
    covers = f"{searches} searches a study: the interval covers tuning luck."
    if searches == 1:
        covers = "One search a study: the interval does not cover tuning luck, so the verdict is suggested at most."
    return covers


def doubt_words(unequal: Sequence[Note], damage: Sequence[Note]) -> str:
    """Why the evidence of a verdict or part is in doubt although there are numbers, as half a sentence."""
    if unequal:
        return "the two sides differ in more than the method"
    if not damage:
        return ""
    more = f", and {len(damage) - 1} more" * (len(damage) > 1)
    return damage[0].words + more


def first_sight(verdict: Verdict) -> str:
    """What effect and interval do not show: a doubt, why the claim is open, or the margin; empty if there is none."""
    shown = verdict.shown
    if shown is None or not shown.deciding or math.isnan(shown.low):
        return ""
    if verdict.flag:
        return f"In doubt: {doubt_words(verdict.unequal, verdict.damage)}."
    if verdict.direction == "open":
        return "" if shown.low <= 0 <= shown.high else next(iter(verdict.reasons), "")
    if verdict.direction == NO_DIFFERENCE or not shown.margin:
        return ""
    own = ", this audit's own" * verdict.asked.has_own_margin
    return f"The margin is {100 * shown.margin:+g} points{own}."


def worst_of(verdict: Verdict) -> int:
    """Of how many deciding parts a verdict shows the worst; 0 where it has one part, or shows none of them."""
    if verdict.shown is None or not verdict.shown.deciding or len(verdict.deciding) < 2:
        return 0
    return len(verdict.deciding)


def beside_words(verdict: Verdict) -> str:
    """The mean beside the worst part that a verdict shows: ``mean of suites +0.9 (-0.3 to +2.2)``; mostly empty."""
    if not worst_of(verdict) or verdict.shown is None:
        return ""
    for part in verdict.parts:
        is_mean = part.place in (MEAN_OF_SUITES, MEAN_OF_TASKS) and not part.pooling
        if is_mean and not part.deciding and part.sides == verdict.shown.sides and not math.isnan(part.estimate.effect):
            return f"{part.place} {100 * part.estimate.effect:+.1f} ({interval_words(part)})"
    return ""


def interval_words(part: Part) -> str:
    """The interval in points; why there is none where it cannot be computed."""
    if math.isnan(part.low):
        sources = part.estimate.sources_without_variance
        if "seeds" in sources:
            return "one seed, no interval"
        if "groups" in sources:
            return "one group in a set, no interval"
        return "no interval"
    return f"{100 * part.low:+.1f} to {100 * part.high:+.1f}"


def computed_words(part: Part) -> str:
    """The interval as effect -/+ quantile x standard error, in points; why there is none where it has none."""
    estimate = part.estimate
    if not math.isfinite(estimate.se):
        return f"{100 * estimate.effect:+.3f} points; no interval, which needs two seeds and two groups"
    quantile = estimate.quantile((1 + LEVEL) / 2)
    return (
        f"{100 * estimate.effect:+.3f} -/+ {quantile:.3f} x {100 * estimate.se:.3f} "
        f"= {100 * part.low:+.3f} to {100 * part.high:+.3f} points"
    )


def variance_rows(part: Part) -> list[dict[str, Any]]:
    """The terms of the variance of the effect, in points squared, with degrees of freedom."""
    rows = []
    for source, (variance, degrees) in part.estimate.terms.items():
        row: dict[str, Any] = {"source": source, "variance": None, "degrees of freedom": None}
        if math.isfinite(variance):
            row["variance"] = 1e4 * variance
        if math.isfinite(degrees):
            row["degrees of freedom"] = degrees
        rows.append(row)
    return rows


def variance_words(part: Part) -> str:
    """The terms of the variance, in points squared, in a line: ``groups 0.52 (36.0 degrees of freedom)``."""
    words = []
    for source, (variance, degrees) in part.estimate.terms.items():
        words.append(f"{source} {1e4 * variance:.3g} ({degrees:.1f} degrees of freedom)")
    return ", ".join(words)


#: keys of a verdict for scripts -> what they hold
COLUMNS: Mapping[str, Callable[[Verdict], Any]] = {
    "claim": lambda v: v.claim,
    "verdict": lambda v: v.verdict,
    "scope": lambda v: v.scope,
    "scale": lambda v: v.scale,
    "unit": lambda v: v.number.unit,
    "basis": lambda v: v.basis,
    "effect": lambda v: v.number.effect,
    "low": lambda v: v.number.low,
    "high": lambda v: v.number.high,
    "n_tasks": lambda v: v.number.n_tasks,
    "n_seeds": lambda v: v.number.n_seeds,
    "n_groups": lambda v: v.number.n_groups,
    "smallest_visible": lambda v: v.number.smallest_visible,
    "part": lambda v: v.number.part,
    "reason": reason_words,
    "power": power_words,
    "command": lambda v: v.command,
    "caution": lambda v: "; ".join(v.cautions),
    "n_searches": lambda v: v.number.n_searches,
    "covers_tuning_luck": lambda v: v.covers_tuning_luck,
    "power_to_show": lambda v: v.power,
    "metric": lambda v: v.number.metric,
    "direction": lambda v: v.direction,
    "flag": lambda v: v.flag,
    "equivalence": lambda v: v.equivalence,
    "p_adjusted": lambda v: v.p_adjusted,
}


def as_dict(verdict: Verdict) -> dict[str, Any]:
    """What scripts rely on, and the reason, in the order of columns. Numbers that are not finite are None."""
    return _plain({name: value(verdict) for name, value in COLUMNS.items()})


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The same with all parts, and below each part the tasks that it pools. Effects and bounds are shares of 1."""

    def numbers(estimate: Estimate) -> dict[str, Any]:
        low, high = estimate.interval()
        return _plain({"effect": estimate.effect, "low": low, "high": high})

    parts = []
    for part in verdict.parts:
        tasks = [{"task": task, **numbers(estimate)} for task, estimate in part.by_task]
        parts.append({"part": part.name, "decides": part.deciding, **numbers(part.estimate), "tasks": tasks})
    return {**as_dict(verdict), "parts": parts}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    plain = dict(values)
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            plain[name] = None
    return plain
