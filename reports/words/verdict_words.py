"""What is said of verdicts: the word, the reason, the number, and what would show more."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reports.analysis.contrasts import Part
from reports.analysis.flaws import Flaw
from reports.claims.claim import INCONCLUSIVE, NO_DIFFERENCE, Lack, Missing, Verdict
from reports.claims.ledger.c7_state_of_the_art import Records
from reports.claims.ledger.c9_weak_zero_shot import Correlated
from reports.claims.ledger.c10_tuning import Tuned
from reports.claims.ledger.c11_readings import UnderReadings
from reports.claims.notes import mean_beside, variance_rows, worst_of
from reports.evidence.note import Note
from reports.stats.intervals import LEVEL, Estimate
from reports.stats.ranks import ONE_SIDED
from reports.words.caveats_words import caution_words
from reports.words.flaws_words import flaw_words, inequality_words
from reports.words.grounds_words import ground_words

#: numbers of replicates, and times the groups, that a sentence on what would show more names
MORE_REPLICATES, MORE_GROUPS = 10, 4
#: what replicates are called, by whether they are searches
REPLICATES = {True: "searches", False: "seeds"}


def shown_word(verdict: Verdict) -> str:
    """The word as people are shown it, with its flag: ``no difference above 0.5`` names the margin in points."""
    if verdict.flag:
        return f"{verdict.verdict} ({verdict.flag})"
    margin = verdict.decision.equivalence
    if margin is None or not verdict.verdict.endswith(NO_DIFFERENCE):
        return verdict.verdict
    return f"{verdict.verdict} above {100 * margin:.2g}"


def headline(verdict: Verdict) -> str:
    """What the number that stands for the claim is of; empty where there is none."""
    if verdict.shown is not None:
        return verdict.shown.name
    match verdict.decision.grounds:
        case (Records(average), *_):
            return f"CAR-FT - {average.method}, average of five sets"
        case (Correlated(), *_):
            return "Spearman's correlation of CAR-FT - FT on test with zero-shot on validation images"
        case (Tuned(widest=widest), *_):
            return f"widest gap: {widest.claim.id}, {widest.part.place}"
        case (UnderReadings(weakest=weakest, weakest_reading=reading), *_):
            return f"{weakest.name}, under {reading} (weakest)"
    return ""


def reason_words(verdict: Verdict, with_command: bool = True) -> str:
    """Why it is this word, in sentences. with_command: whether what was not run is followed by what runs it."""
    if verdict.missing:
        words = f"Missing: {missing_words(verdict.missing)}."
        if verdict.command and with_command:
            words += f" Run: {verdict.command}"
        return words
    sentences: list[str] = []
    if verdict.unequal:
        differing = "; ".join(map(inequality_words, verdict.unequal))
        sentences.append(f"The two sides differ in more than the method: {differing}.")
    if verdict.damage:
        sentences.append(f"Part of the evidence is missing or in doubt: {'; '.join(map(flaw_words, verdict.damage))}.")
    if verdict.flag and verdict.direction != "open":
        sentences.append(f"The intervals alone would say: {verdict.of_intervals}.")
    if verdict.verdict == INCONCLUSIVE:
        sentences.append(bounds_words(verdict))
    sentences += map(ground_words, verdict.decision.grounds)
    return " ".join(filter(None, sentences))


def bounds_words(verdict: Verdict) -> str:
    """Both bounds of an interval that decides nothing, in a sentence; empty without one."""
    low, high = verdict.number.low, verdict.number.high
    if low is None or high is None or not math.isfinite(low):
        return ""
    bounds = f"{100 * low:+.2f} and at most {100 * high:+.2f} points"
    if verdict.number.unit != "points":
        bounds = f"{low:+.2f} and at most {high:+.2f}"
    return f"It is at least {bounds}."


#: what is missing, with the names of its fields
MISSING: Mapping[Lack, str] = {
    Lack.CELLS: "{sides}",
    Lack.SUITES: "{sides} on {on}, which --suites left out",
    Lack.SETS: "{sides} on {on}",
    Lack.CONTROLS: "controls {names}",
    Lack.TASKS: "{sides} on at least {least} tasks",
    Lack.LARGER_FAMILY: "{sides} on at least {least} tasks of one family, and this one has {count}: "
    "first add tasks to it",
    Lack.ORACLE: "search cells that were evaluated on test (sweeps never do so unless asked)",
    Lack.READINGS: "readings with finished cells of {sides}",
    Lack.OTHER_READINGS: "readings other than the default",
    Lack.FAMILY: "several tasks of one family in the tasks file",
    Lack.PART_OF_PACKAGE: "what the claim needs, which the package of {sides} lacks",
    Lack.SHIFTED_DOMAINS: "domains under shift",
    Lack.CONTEXTS: "images of a domain with a prompt",
    Lack.TEST_SET: "a test set in distribution",
    Lack.HELD_OUT_DOMAINS: "each domain held out in turn (leave_one_out in the tasks file)",
    Lack.STUDIES: "studies of {sides}",
}


def missing_words(missing: Missing) -> str:
    """What would have to be run, as half a sentence."""
    names, on = ", ".join(missing.names), ", ".join(missing.on)
    facts = {"sides": listed(missing.names), "names": names, "on": on, "least": missing.least, "count": missing.count}
    return MISSING[missing.lack].format(**facts)


def listed(names: Sequence[str]) -> str:
    """``zeroshot, ft and car_ft``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


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
    """Whether the interval covers the luck of the search, and which searches are left out; empty without one."""
    searches = verdict.number.n_searches
    if searches == 0:
        return ""
    covers = f"{searches} searches a study: the interval covers tuning luck."
    if searches == 1:
        covers = "One search a study: the interval does not cover tuning luck, so the verdict is suggested at most."
    sentences = [covers]
    for part in verdict.deciding:
        if part.searches:
            sentences.append(_left_out_searches(part.searches))
    return " ".join(dict.fromkeys(sentences))


def _left_out_searches(counts: Mapping[str, int]) -> str:
    """Which searches are left out, by the numbers of searches of the methods."""
    shared = min(counts.values())
    first = "the first" + f" {shared}" * (shared > 1)
    longer, fewest = [], []
    for name, count in counts.items():
        if count > shared:
            longer.append(f"{first} of {count} searches of {name}")
        else:
            fewest.append(name)
    return f"It rests on {' and '.join(longer)}: {' and '.join(fewest)} has {shared}."


def doubt_words(unequal: Sequence[Note], damage: Sequence[Flaw]) -> str:
    """Why the evidence of a verdict or part is in doubt although there are numbers, as half a sentence."""
    if unequal:
        return "the two sides differ in more than the method"
    if not damage:
        return ""
    more = f", and {len(damage) - 1} more" * (len(damage) > 1)
    return flaw_words(damage[0], details=False) + more


def first_sight(verdict: Verdict) -> str:
    """Why the verdict is not what its effect and interval seem to say, in a sentence; mostly empty."""
    shown = verdict.shown
    if shown is None or not shown.deciding or math.isnan(shown.low):
        return ""
    if verdict.unequal or verdict.damage:
        return f"In doubt: {doubt_words(verdict.unequal, verdict.damage)}."
    if verdict.direction == "open":
        return _why_open(shown, len(verdict.deciding))
    if verdict.direction == NO_DIFFERENCE or not shown.margin:
        return ""
    margin = f"{100 * abs(shown.margin):g} points"
    if verdict.direction == "against" and verdict.asked.has_own_margin:
        return f"The margin of {margin} is this audit's own."
    if verdict.direction == "for" and shown.low <= 0 <= shown.high:
        allowed = "a gain" if shown.side == "below" else "a loss"
        return f"The interval includes 0; the claim allows {allowed} of {margin}."
    return ""


def _why_open(shown: Part, count: int) -> str:
    """Why a verdict is open although the interval excludes 0, or lies beyond the margin. count: of deciding parts."""
    side = "below" if shown.high < 0 else "above"
    if shown.is_beyond and count > 1:
        where = f"{side} 0"
        if shown.margin:
            where = "beyond the margin"
        return f"The interval lies {where}, but not after Holm's correction over {count} parts."
    if shown.margin and not shown.low <= 0 <= shown.high:
        return f"The interval lies {side} 0, but it reaches the margin of {100 * shown.margin:+g} points."
    return ""


def beside_words(verdict: Verdict) -> str:
    """What stands beside the worst part that a verdict shows: the mean, or the best part where no mean exists.

    ``mean of suites +0.9 (-0.3 to +2.2)``; empty where the verdict shows no worst part.
    """
    if not worst_of(verdict):
        return ""
    mean = mean_beside(verdict)
    if mean is not None:
        return f"{mean.place} {_effect(mean)}"
    best = max(verdict.deciding, key=lambda part: part.slack)
    return f"best: {best.name} {_effect(best)}"


def _effect(part: Part) -> str:
    effect = part.estimate.effect
    points = f"{100 * effect:+.1f}" if math.isfinite(effect) else "–"
    return f"{points} ({interval_words(part)})"


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


def variance_words(part: Part) -> str:
    """The terms of the variance in a line: ``groups 0.52 (36.0 degrees of freedom), seeds 0.11 (2.0)``."""
    words: list[str] = []
    for row in variance_rows(part):
        size, degrees = "unknown", ""
        if row["variance"] is not None:
            size = f"{row['variance']:.3g}"
        if row["degrees of freedom"] is not None:
            unit = "" if words else " degrees of freedom"
            degrees = f" ({row['degrees of freedom']:.1f}{unit})"
        words.append(f"{row['source']} {size}{degrees}")
    return ", ".join(words)


def chance_words(verdicts: Sequence[Verdict]) -> str:
    """That most claims are not corrected jointly, with the number of verdicts that chance alone would bring."""
    count = 0
    for verdict in verdicts:
        low = verdict.number.low
        if low is not None and math.isfinite(low) and not verdict.flag:
            count += 1
    if not count:
        return ""
    each = 100 * ONE_SIDED
    return (
        f"But for the primary endpoints, claims are not corrected jointly. {count} verdicts here rest on an interval. "
        f"If every true effect lay exactly on its margin, chance alone would be expected to make "
        f"{2 * ONE_SIDED * count:.1f} of them reproduced or contradicted ({each:g} % each way), and fewer where all "
        "parts of a claim must hold at once."
    )


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
    "part": headline,
    "reason": reason_words,
    "power": power_words,
    "command": lambda v: v.command,
    "caution": lambda v: caution_words(v.cautions),
    "n_searches": lambda v: v.number.n_searches,
    "covers_tuning_luck": lambda v: v.covers_tuning_luck,
    "power_to_show": lambda v: v.decision.power,
    "metric": lambda v: v.number.metric,
    "direction": lambda v: v.direction,
    "flag": lambda v: v.flag,
    "equivalence": lambda v: v.decision.equivalence,
    "p_adjusted": lambda v: v.decision.p_adjusted,
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
