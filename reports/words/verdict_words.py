"""What is said of verdicts: the word, the reason, the number, and what would show more."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reports.analysis.contrasts import Part
from reports.analysis.flaws import Flaw
from reports.analysis.levels import ContextRecognition
from reports.claims.claim import ANSWERS, NO_DIFFERENCE, Ground, Lack, Missing, NoGain, Verdict, Weakness
from reports.claims.ledger.c5_every_task import TasksGained
from reports.claims.ledger.c6_domainbed import MinusClaimed
from reports.claims.ledger.c7_state_of_the_art import Records
from reports.claims.ledger.c9_weak_zero_shot import ASSUMED, Correlated, OnlyNoise
from reports.claims.ledger.c10_tuning import BothWays, Tuned
from reports.claims.ledger.c11_readings import UnderReadings
from reports.claims.notes import mean_beside, variance_rows, worst_of
from reports.claims.power import MORE_GROUPS, MORE_REPLICATES, MOST_GROUPS, Needed, TooSmall
from reports.claims.rules import OpenAfterHolm, Otherwise, Outcome, ReferenceGaps, Rule, SuitesAlone, weakest_of
from reports.evidence.inequality import Inequality
from reports.stats.intervals import LEVEL, Estimate
from reports.stats.ranks import ONE_SIDED
from reports.words.caveats_words import caution_words
from reports.words.controls_words import closed_gate
from reports.words.flaws_words import flaw_words, inequality_words
from reports.words.levels_words import recognition_words


def shown_word(verdict: Verdict) -> str:
    """The word as people are shown it: ``no difference above 0.5`` names the margin in points."""
    margin = verdict.decision.equivalence
    if margin is None or verdict.verdict not in ANSWERS[NO_DIFFERENCE]:
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
    if verdict.missing and not with_command:
        return f"Missing: {missing_words(verdict.missing)}."
    if verdict.missing:
        return f"Missing: {missing_words(verdict.missing)}. Run: {verdict.command}"
    sentences = []
    if verdict.is_closed:
        open_word = replace(verdict, unaskable=None, insensitive=None).verdict
        sentences += [closed_words(verdict), f"Without this rule: {open_word}."]
    if verdict.unequal:
        differing = "; ".join(map(inequality_words, verdict.unequal))
        sentences.append(f"The two sides differ in more than the method: {differing}.")
    if verdict.damage:
        sentences.append(f"Part of the evidence is missing or in doubt: {'; '.join(map(flaw_words, verdict.damage))}.")
    weakness = verdict.decision.weakness
    if weakness is not None and verdict.direction == "open" and not verdict.damage:
        sentences.append(weakness_words(weakness, verdict.number.group))
    sentences += map(ground_words, verdict.decision.grounds)
    return " ".join(filter(None, sentences))


def closed_words(verdict: Verdict) -> str:
    """Why the claim has no meaning here, or why no effect could have shown; empty where it can be asked."""
    match verdict.unaskable:
        case NoGain():
            return "No gain held under validation, so there is none that could be an artefact."
        case ContextRecognition() as recognition:
            words = recognition_words(recognition)
            words = words[:1].upper() + words[1:]
            why = "which is not above chance by more than its interval: fine-tuning has no recognition to lose here."
            return f"{words}, {why}"
    return closed_gate(verdict.insensitive) if verdict.insensitive else ""


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


def ground_words(ground: Ground) -> str:
    """A fact behind a decision, in sentences."""
    match ground:
        case Outcome():
            return outcome_words(ground)
        case Otherwise(rule, direction):
            return f"By {RULES[rule]} it would be {ANSWERS[direction][0]}."
        case ReferenceGaps(parts):
            gaps = [f"{part.place} {_reported(part)}" for part in parts]
            return f"Reference gaps (secondary) against these intervals: {', '.join(gaps)}."
        case OpenAfterHolm(p, count):
            return f"After Holm over {count} primary endpoints p is {100 * p:.1f} %, not below 2.5 %."
        case SuitesAlone(suites):
            return f"It rests on {', '.join(suites)} alone."
        case TasksGained(gaining, count, others):
            words = f"{gaining} of {count} tasks gain."
            if others:
                listed_tasks = ", ".join(others)
                words += f" Decided on mean per class, the usual metric of: {listed_tasks}; top-1 stands beside it."
            return words
        case MinusClaimed(half):
            return f"Effects are measured minus claimed; the interval is {100 * half:.1f} points to either side."
        case Records():
            return _records(ground)
        case Correlated():
            return _correlated(ground)
        case Tuned():
            return _tuned(ground)
        case UnderReadings():
            return _under_readings(ground)
    raise TypeError(ground)


RULES: Mapping[Rule, str] = {
    Rule.PLAIN: "the plain variance sum with Satterthwaite's t, the rule set in advance,",
    Rule.INDEPENDENT_SEARCHES: "the rule registered for the second audit, searches of different tasks as independent,",
}


def _reported(part: Part) -> str:
    """An effect that others report, against the interval."""
    effect = part.reported or 0.0
    place = "inside" if part.low <= effect <= part.high else "outside"
    return f"{100 * effect:+.2f} {place}"


def outcome_words(outcome: Outcome) -> str:
    """Where the intervals of the deciding parts lie."""
    deciding, count = outcome.deciding, len(outcome.deciding)
    if outcome.direction == "for":
        if count > 1:
            return f"All {count} intervals lie on the claim's side; the weakest is {weakest_of(deciding).name}."
        if deciding[0].side == "around":
            return "The number claimed lies inside the interval."
        return "The whole interval lies on the claim's side of the margin."
    if outcome.direction == "against":
        after = ", after Holm," * (count > 1)
        return f"The whole interval lies on the other side{after} for: {part_names(outcome.opposed, deciding)}."
    words = []
    if outcome.equivalence is not None:
        every = "The whole interval lies" if count == 1 else f"All {count} intervals lie"
        words.append(f"{every} within {100 * outcome.equivalence:.2g} points of 0, the margin of equivalence.")
    if outcome.undecided:
        words.append(f"The interval reaches the margin for: {part_names(outcome.undecided, deciding)}.")
    if outcome.beyond:
        beyond = part_names(outcome.beyond, deciding)
        words.append(f"It lies on the other side, but not after Holm over {count}, for: {beyond}.")
    return " ".join(words)


def part_names(some: Sequence[Part], deciding: Sequence[Part]) -> str:
    """Names of some of the deciding parts, without the sides where all of them share these."""
    if len(some) == len(deciding) > 1:
        return f"every one of the {len(deciding)}"
    if len(deciding) > 1 and len({part.sides for part in deciding}) == 1:
        return ", ".join(part.place for part in some)
    return ", ".join(part.name for part in some)


def _records(ground: Records) -> str:
    average = ground.average
    words = [
        "From numbers that others report; nothing was run here, no interval can be given, and it counts apart.",
        f"Of the averages on record CAR-FT's {average.ours} is the highest (next: {average.method} {average.value}).",
    ]
    higher = [f"{one.set} ({one.method}, {one.backbone}: {one.value} against {one.ours})" for one in ground.beaten_on]
    if higher:
        words.append(f"True of the average only: higher is on record for {', '.join(higher)}.")
    if ground.without_average:
        words.append(f"No average is on record for {', '.join(ground.without_average)}.")
    return " ".join(words)


def _correlated(ground: Correlated) -> str:
    """Where the interval of a correlation lies, and how far sampling noise in both variables pulls it towards 0."""
    place = {
        "for": "The whole interval of the correlation lies above 0.",
        "against": "The whole interval of the correlation lies below 0.",
    }.get(ground.direction, "The interval of the correlation reaches 0.")
    found = f"{place} Permutation p = {ground.correlation.p:.2f} over {ground.count} tasks."
    if math.isnan(ground.correlation.value):
        found = "All tasks have the same gain or the same start: there is nothing to correlate."
    return (
        f"{found} Both are measured with error, which pulls the correlation towards 0: of the variance over tasks "
        f"{100 * ground.of_gains:.0f} % of the gain's and {100 * ground.of_starts:.0f} % of zero-shot accuracy's is no "
        "sampling noise, so a true correlation of 1 would be expected to show as "
        f"{math.sqrt(ground.of_gains * ground.of_starts):.2f}."
    )


def _tuned(ground: Tuned) -> str:
    def names(pairs: Sequence[BothWays]) -> str:
        return ", ".join(f"{pair.claim.id}: {pair.part.place}" for pair in pairs)

    found = f"All {ground.count} effects under oracle selection lie inside their intervals."
    if ground.turned:
        found = (
            "Held under validation; under oracle selection the whole interval lies on the other side, after Holm, for: "
            f"{names(ground.turned)}."
        )
    elif ground.moved:
        found = f"Oracle selection leaves the interval under validation for: {names(ground.moved)}."
    return f"{found} The widest gap, oracle minus validation, is {100 * ground.widest.gap:+.1f} points."


def _under_readings(ground: UnderReadings) -> str:
    claims = ", ".join(claim for claim, _ in ground.held)
    found = "No claim both holds and is contradicted, and not all hold everywhere."
    if ground.turned:
        claim, reading, other = ground.turned
        found = f"{claim} holds under {reading} and is contradicted under {other}."
    elif all(count == ground.count for _, count in ground.held):
        unchanged = ""
        if ground.unchanged:
            unchanged = f", but none changes {', '.join(ground.unchanged)}"
        found = f"{claims} hold under all {ground.count} readings{unchanged}."
    shares = ", ".join(f"{claim} {count} of {ground.count}" for claim, count in ground.held)
    return f"{found} Holds in: {shares} readings."


def weakness_words(weakness: Weakness, group: str) -> str:
    """Why an open claim could not be decided at this size. group: what a group of images is called."""
    match weakness:
        case TooSmall():
            return f"{_too_small(weakness)} {needed_words(weakness.needed, group)}"
        case OnlyNoise():
            return f"{_only_noise(weakness)} {needed_words(weakness.needed, group)}"
    raise TypeError(weakness)


def _too_small(weakness: TooSmall) -> str:
    """What was assumed, and how rarely it would show."""
    deciding, power = weakness.deciding, weakness.power
    reported = [part.reported for part in deciding if part.reported is not None]
    effects = reported + [part.assumed for part in deciding if part.reported is None]
    sizes = sorted({round(abs(100 * effect), 2) for effect in effects})
    size = " to ".join(f"{points:g}" for points in dict.fromkeys((sizes[0], sizes[-1])))
    whose = "that others report" if reported else "beyond the margin"
    where, share = "", f"{100 * power:.0f}"
    if len(deciding) > 1:
        where = f" in all {len(deciding)} deciding parts"
    if 0 < power < 0.005:
        share = "less than 0.5"
    return f"A true effect of {size} points {whose}{where} would show in {share} % of repetitions."


def _only_noise(weakness: OnlyNoise) -> str:
    """Which variable varies no more than sampling error, and how rarely a true spread would show."""
    words = []
    for name, spread in (("the gain", weakness.gains), ("zero-shot accuracy", weakness.starts)):
        if spread.is_noise:
            words.append(
                f"Over tasks {name} has a standard deviation of {100 * math.sqrt(spread.observed):.1f} points, and "
                f"sampling alone makes {100 * math.sqrt(spread.noise):.1f} (F test, p = {spread.p:.2f})."
            )
    words.append("A correlation of ranks that are noise has no meaning.")
    wanted = f"A true standard deviation of the gain of {100 * ASSUMED:g} points would show in"
    return f"{' '.join(words)} {wanted} {100 * weakness.power:.0f} %."


#: what replicates are called, by whether they are searches
KIND = {True: "searches", False: "seeds"}


def needed_words(needed: Needed, group: str) -> str:
    """What would show an effect in 80 % of repetitions, in a sentence. group: what a group of images is called."""
    replicates, groups = f"{needed.replicates} {KIND[needed.are_searches]}", f"{needed.groups} times the {group}s"
    if needed.is_together and needed.groups is None:
        return f"{replicates} and {MOST_GROUPS} times the {group}s would not show it in 80 % of repetitions."
    ways = []
    if needed.replicates:
        ways.append(replicates)
    if needed.groups:
        ways.append(groups)
    either = " and " if needed.is_together else ", or "
    return f"To show it in 80 % of repetitions would take about {either.join(ways)}."


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
    kind, ten = KIND[estimate.n_searches > 1], max(MORE_REPLICATES, 2 * many)
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
    left_out = [_left_out_searches(part.searches) for part in verdict.deciding if part.searches]
    return " ".join([covers, *dict.fromkeys(left_out)])


def _left_out_searches(counts: Mapping[str, int]) -> str:
    """Which searches are left out, by the numbers of searches of the methods."""
    shared = min(counts.values())
    first = "the first" + f" {shared}" * (shared > 1)
    longer = [f"{first} of {count} searches of {name}" for name, count in counts.items() if count > shared]
    fewest = [name for name, count in counts.items() if count == shared]
    return f"It rests on {' and '.join(longer)}: {' and '.join(fewest)} has {shared}."


def doubt_words(unequal: Sequence[Inequality], damage: Sequence[Flaw]) -> str:
    """Why the evidence of a verdict or part is in doubt although there are numbers, as half a sentence."""
    if unequal:
        return "the two sides differ in more than the method"
    if not damage:
        return ""
    more = f", and {len(damage) - 1} more" * (len(damage) > 1)
    return flaw_words(damage[0], details=False) + more


def first_sight(verdict: Verdict) -> str:
    """Why the verdict is not what its effect and interval seem to say, in a sentence; mostly empty."""
    if verdict.is_closed:
        return closed_words(verdict)
    shown = verdict.shown
    if shown is None or not shown.deciding or math.isnan(shown.low):
        return ""
    if doubt := doubt_words(verdict.unequal, verdict.damage):
        return f"In doubt: {doubt}."
    if verdict.direction == "open":
        return _why_open(shown, len(verdict.deciding))
    if verdict.direction == NO_DIFFERENCE or not shown.margin:
        return ""
    margin = f"{100 * abs(shown.margin):g} points"
    if verdict.direction == "against" and verdict.asked.has_own_margin:
        return f"The margin of {margin} is this audit's own."
    if verdict.direction == "for" and shown.low <= 0 <= shown.high:
        return f"The interval includes 0; the claim allows a loss of {margin}."
    return ""


def _why_open(shown: Part, count: int) -> str:
    """Why a verdict is open although the interval excludes 0, or lies beyond the margin. count: of deciding parts."""
    side = "below" if shown.high < 0 else "above"
    if shown.is_beyond and count > 1:
        where = "beyond the margin" if shown.margin else f"{side} 0"
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
    if (mean := mean_beside(verdict)) is not None:
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
        return "one group in a set, no interval" if "groups" in sources else "no interval"
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
    """That claims are not corrected jointly, with the number of verdicts that chance alone would bring."""
    lows = [v.number.low for v in verdicts if not (v.unaskable or v.unequal)]
    count = sum(low is not None and math.isfinite(low) for low in lows)
    if not count:
        return ""
    each = 100 * ONE_SIDED
    return (
        f"Claims are not corrected jointly. {count} verdicts here rest on an interval. If every true effect lay "
        f"exactly on its margin, chance alone would be expected to make {2 * ONE_SIDED * count:.1f} of them "
        f"reproduced or contradicted ({each:g} % each way), and fewer where all parts of a claim must hold at once."
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
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}
