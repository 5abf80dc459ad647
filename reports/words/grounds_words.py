"""What is said of the facts behind a decision."""

import math
from collections.abc import Sequence

from reports.analysis.contrasts import Part
from reports.claims.claim import Ground
from reports.claims.ledger.c5_every_task import TasksGained
from reports.claims.ledger.c6_domainbed import MinusClaimed
from reports.claims.ledger.c7_state_of_the_art import Records
from reports.claims.ledger.c9_weak_zero_shot import Correlated
from reports.claims.ledger.c10_tuning import BothWays, Tuned
from reports.claims.ledger.c11_readings import UnderReadings
from reports.claims.rules import (
    CouldBeGivenBack,
    OpenAfterHolm,
    Outcome,
    ReferenceGaps,
    SuitesAlone,
    UnknownClasses,
    UnknownContexts,
    weakest_of,
)
from reports.words.levels_words import classes_words, recognition_words


def ground_words(ground: Ground) -> str:
    """A fact behind a decision, in sentences."""
    match ground:
        case Outcome():
            return outcome_words(ground)
        case ReferenceGaps(parts):
            gaps = [f"{part.place} {_reported(part)}" for part in parts]
            return f"Reference gaps (secondary) against these intervals: {', '.join(gaps)}."
        case OpenAfterHolm(p, count):
            return f"After Holm over {count} primary endpoints p is {100 * p:.1f} %, not below 2.5 %."
        case UnknownContexts(recognition):
            known = recognition_words(recognition)
            return f"{known[:1].upper()}{known[1:]}, not above chance: fine-tuning has no recognition to lose here."
        case CouldBeGivenBack(forgotten):
            lost, low, high = (
                f"{100 * share:+.1f}" for share in (forgotten.estimate.effect, forgotten.low, forgotten.high)
            )
            return f"Fine-tuning forgets {lost} points out of distribution ({low} to {high}): what could be given back."
        case UnknownClasses(recognition):
            words = classes_words(recognition)
            return f"{words[:1].upper()}{words[1:]}, which is not above chance: to be above it says nothing."
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
    if not ground.held:
        found = f"No gain held under validation, so there is none that could be an artefact. {found}"
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
