"""Sentences on the experiment at equal strength."""

import math
from collections.abc import Mapping

from reports.analysis.matched_strength import MARGIN, PRIMARY_MEASURE, MatchedContrast, MatchedStrength, StrengthAnswer

QUESTION = "Does what context prompts say matter, where the KL term is as strong without it?"
ANSWERS: Mapping[StrengthAnswer, str] = {
    StrengthAnswer.NOT_FINISHED: "not finished",
    StrengthAnswer.NOT_COMPARABLE: "not comparable",
    StrengthAnswer.HIGHER: "higher",
    StrengthAnswer.LOWER: "lower",
    StrengthAnswer.NO_DIFFERENCE: f"no difference above {100 * MARGIN:g}",
    StrengthAnswer.OPEN: "open",
}
#: answers that say on which side a contrast lies
SIDES = (StrengthAnswer.HIGHER, StrengthAnswer.LOWER)


def strength_sentences(found: MatchedStrength) -> dict[str, str]:
    """Topic -> sentence on the mean over strengths of each contrast; empty without both of its arms."""
    means: dict[bool, MatchedContrast] = {}
    for contrast in found.contrasts():
        if contrast.target is None:
            means[contrast.is_registered] = contrast
    sentences = {}
    if True in means:
        sentences["At equal strength"] = _contrast_words(means[True]) + "."
    if False in means:
        words = _contrast_words(means[False])
        answers = {contrast.answer for contrast in means.values()}
        if len(means) == 2 and len(answers) == 1 and answers <= set(SIDES):
            words += "; both lie on one side, so it is called an effect of content"
        sentences["At equal entropy, too"] = words + "."
    return sentences


def size_words(found: MatchedStrength) -> str:
    """The number of tasks and seeds of the experiment, and its learning rate."""
    tasks, seeds = len(found.evidence.tasks), len(found.seeds)
    size = f"{tasks} task{'s' * (tasks > 1)}, {seeds} seed{'s' * (seeds > 1)}"
    return f"{size}, learning rate {found.lr:g}; nothing was tuned."


def _contrast_words(contrast: MatchedContrast) -> str:
    """The effect out of distribution, its answer, and the effects in distribution and on contexts."""
    first, second = contrast.sides
    words = f"{first} minus {second}"
    estimate = contrast.estimates.get(PRIMARY_MEASURE)
    if estimate is None:
        return f"{words}: {ANSWERS[contrast.answer]}"
    low, high = estimate.interval()
    interval = "no interval"
    if math.isfinite(low):
        interval = f"{100 * low:+.1f} to {100 * high:+.1f}"
    effect = f"{100 * estimate.effect:+.1f} points ({interval})"
    words += f" is {effect} out of distribution: {ANSWERS[contrast.answer]}"
    beside = {"ID test": "in distribution", "contexts of the suites": "in context recognition"}
    for measure, place in beside.items():
        if measure in contrast.estimates:
            words += f"; {100 * contrast.estimates[measure].effect:+.1f} {place}"
    return words
