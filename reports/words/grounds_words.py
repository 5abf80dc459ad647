"""What is said of the facts behind a decision, and of why an open claim could not be decided at this size."""

import math
from collections.abc import Mapping, Sequence

from reports.analysis.contrasts import Part
from reports.claims.claim import ANSWERS, Ground, Weakness
from reports.claims.ledger.c5_every_task import TasksGained
from reports.claims.ledger.c6_domainbed import MinusClaimed
from reports.claims.ledger.c7_state_of_the_art import Records
from reports.claims.ledger.c9_weak_zero_shot import ASSUMED, Correlated, OnlyNoise
from reports.claims.ledger.c10_tuning import BothWays, Tuned
from reports.claims.ledger.c11_readings import UnderReadings
from reports.claims.power import MOST_GROUPS, Needed, TooSmall
from reports.claims.rules import OpenAfterHolm, Otherwise, Outcome, ReferenceGaps, Rule, SuitesAlone, weakest_of


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
    higher = []
    for one in ground.beaten_on:
        higher.append(f"{one.set} ({one.method}, {one.backbone}: {one.value} against {one.ours})")
    if higher:
        words.append(f"True of the average only: higher is on record for {', '.join(higher)}.")
    if ground.without_average:
        words.append(f"No average is on record for {', '.join(ground.without_average)}.")
    averages = ", ".join(f"{value:.1f}" for value in ground.fine_tuned)
    gains = ", ".join(f"{average.ours - value:.1f}" for value in ground.fine_tuned)
    words.append(f"Plain fine-tuning has {averages}, depending on who ran it: CAR-FT is {gains} above it.")
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
    if math.isnan(ground.of_gains * ground.of_starts):
        return found
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
    claims, shares, hold_everywhere = [], [], True
    for claim, count in ground.held:
        claims.append(claim)
        shares.append(f"{claim} {count} of {ground.count}")
        hold_everywhere = hold_everywhere and count == ground.count
    found = "No claim both holds and is contradicted, and not all hold everywhere."
    if ground.turned:
        claim, reading, other = ground.turned
        found = f"{claim} holds under {reading} and is contradicted under {other}."
    elif hold_everywhere:
        unchanged = ""
        if ground.unchanged:
            unchanged = f", but none changes {', '.join(ground.unchanged)}"
        found = f"{', '.join(claims)} hold under all {ground.count} readings{unchanged}."
    return f"{found} Holds in: {', '.join(shares)} readings."


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
    sizes, whose, where = [], "beyond the margin", ""
    for part in deciding:
        effect = part.assumed
        if part.reported is not None:
            effect, whose = part.reported, "that others report"
        sizes.append(round(abs(100 * effect), 2))
    size = f"{min(sizes):g}"
    if max(sizes) > min(sizes):
        size += f" to {max(sizes):g}"
    if len(deciding) > 1:
        where = f" in all {len(deciding)} deciding parts"
    share = f"{100 * power:.0f}"
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
REPLICATES = {True: "searches", False: "seeds"}


def needed_words(needed: Needed, group: str) -> str:
    """What would show an effect in 80 % of repetitions, in a sentence. group: what a group of images is called."""
    replicates, groups = f"{needed.replicates} {REPLICATES[needed.are_searches]}", f"{needed.groups} times the {group}s"
    if needed.is_together and needed.groups is None:
        return f"{replicates} and {MOST_GROUPS} times the {group}s would not show it in 80 % of repetitions."
    ways = []
    if needed.replicates:
        ways.append(replicates)
    if needed.groups:
        ways.append(groups)
    either = " and " if needed.is_together else ", or "
    return f"To show it in 80 % of repetitions would take about {either.join(ways)}."
