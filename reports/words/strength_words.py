"""Sentences on the experiment at equal strength."""

import math
from collections.abc import Mapping, Sequence

from reports.analysis.matched_strength import (
    LARGEST_RATIO,
    MARGIN,
    PRIMARY_MEASURE,
    MatchedContrast,
    MatchedStrength,
    StrengthAnswer,
)

QUESTION = "Does what context prompts say matter, where the KL term is as strong without it?"
ANSWERS: Mapping[StrengthAnswer, str] = {
    StrengthAnswer.NOT_FINISHED: "not finished",
    StrengthAnswer.NOT_COMPARABLE: "not comparable",
    StrengthAnswer.HIGHER: "higher",
    StrengthAnswer.LOWER: "lower",
    StrengthAnswer.NO_DIFFERENCE: f"no difference above {100 * MARGIN:g}",
    StrengthAnswer.OPEN: "open",
}
#: whether a contrast is the registered one -> what its sentence is called
TOPICS: Mapping[bool, str] = {True: "At equal strength", False: "At equal entropy, too"}
#: answers that say on which side a contrast lies
SIDES = (StrengthAnswer.HIGHER, StrengthAnswer.LOWER)


def strength_sentences(found: MatchedStrength) -> dict[str, str]:
    """Topic -> sentence on the mean over strengths of each contrast; empty without both of its arms."""
    measured = list(found.contrasts())
    words: dict[bool, str] = {}
    answers: set[StrengthAnswer] = set()
    for is_registered in TOPICS:
        contrasts = [one for one in measured if one.is_registered == is_registered]
        if contrasts:
            words[is_registered] = _contrast_words(contrasts[-1], contrasts[:-1])
            answers.add(contrasts[-1].answer)
    if len(words) == len(TOPICS) and len(answers) == 1 and answers <= set(SIDES):
        words[False] += "; both lie on one side, so it is called an effect of content"
    return {TOPICS[is_registered]: f"{text}." for is_registered, text in words.items()}


def size_words(found: MatchedStrength) -> str:
    """The number of tasks and seeds of the experiment, and its learning rate."""
    tasks, seeds = len(found.evidence.tasks), len(found.seeds)
    size = f"{tasks} task{'s' * (tasks > 1)}, {seeds} seed{'s' * (seeds > 1)}"
    return f"{size}, learning rate {found.lr:g}; nothing was tuned."


def _contrast_words(mean: MatchedContrast, strengths: Sequence[MatchedContrast]) -> str:
    """The effect out of distribution, its answer, and the effects in distribution and on contexts.

    mean: over the strengths. Where it is not comparable, the reason and the strengths that are comparable follow.
    """
    first, second = mean.sides
    words = f"{first} minus {second}"
    if PRIMARY_MEASURE not in mean.estimates:
        words += f": {ANSWERS[mean.answer]}"
    else:
        words += f" is {_effect_words(mean)} out of distribution: {ANSWERS[mean.answer]}"
    beside = {"ID test": "in distribution", "contexts of the suites": "in context recognition"}
    for measure, place in beside.items():
        if measure in mean.estimates:
            words += f"; {100 * mean.estimates[measure].effect:+.1f} {place}"
    if mean.answer is StrengthAnswer.NOT_COMPARABLE:
        words += f". {_why_not_comparable(mean, strengths)}"
    return words


def _why_not_comparable(mean: MatchedContrast, strengths: Sequence[MatchedContrast]) -> str:
    """The strengths that an arm does not reach, or at which displacements differ; then those that are comparable."""
    reasons, comparable = [], []
    for target, arms in mean.unreached.items():
        reasons.append(f"The displacement {target:g} is not reached by {' and '.join(arms)}")
    for one in strengths:
        if one.unreached:
            continue
        if math.isnan(one.ratio):
            reasons.append(f"Cells at {one.target:g} do not record how far features moved")
        elif one.ratio > LARGEST_RATIO:
            reasons.append(f"Displacements at {one.target:g} differ by {100 * (one.ratio - 1):.0f} %")
        elif PRIMARY_MEASURE in one.estimates:
            comparable.append(f"{_effect_words(one)} at {one.target:g}")
    if comparable:
        reasons.append(f"Where they are comparable the difference out of distribution is {', '.join(comparable)}")
    return ". ".join(reasons)


def _effect_words(contrast: MatchedContrast) -> str:
    """The effect out of distribution with its interval."""
    estimate = contrast.estimates[PRIMARY_MEASURE]
    low, high = estimate.interval()
    interval = "no interval"
    if math.isfinite(low):
        interval = f"{100 * low:+.1f} to {100 * high:+.1f}"
    return f"{100 * estimate.effect:+.1f} points ({interval})"
