"""Winners at the edge of a search range: the best value may lie outside it. No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from carft.spec.registry import METHODS, MethodCard, hyperparameter_words
from carft.store.study import StudyFile

EDGE = 0.1
"""Share of a range's logarithmic width that counts as its edge, at either end."""
TOO_MANY = 1 / 3
"""A search range is too narrow when more than this share of the winners lies at its edge."""
FEWEST = 3
"""The same needs at least this many winners at the edge, since by chance alone a fifth lies there."""


def at_edge(value: float, low: float, high: float) -> bool:
    """Return whether a value lies within ``EDGE`` of the logarithmic width from an end of [low, high]."""
    if value <= 0 or high <= low:
        return False
    place = math.log(value / low) / math.log(high / low)
    return not EDGE < place < 1 - EDGE


def edges_of(study: StudyFile) -> tuple[str, ...]:
    """Return the hyperparameters whose winning value lies at the edge of its range; empty without a winner."""
    winner = next((trial for trial in study.trials if trial.cell == study.winner), None)
    if winner is None:
        return ()
    ranges = {name: limits for name, limits in study.space.items() if name in winner.parameters}
    return tuple(name for name, (low, high, _) in ranges.items() if at_edge(winner.parameters[name], low, high))


def narrow_ranges(studies: Iterable[StudyFile], with_allowed: bool = False) -> dict[tuple[str, str], tuple[int, int]]:
    """Return (method, hyperparameter) -> (winners at the edge, winners) of the ranges that are too narrow.

    with_allowed: whether studies whose recipe allows edges count.
    """
    chosen = [study for study in studies if study.winner and (with_allowed or not study.allow_edges)]
    total = Counter((study.method, name) for study in chosen for name in study.space)
    edge = Counter((study.method, name) for study in chosen for name in edges_of(study))
    return {key: (n, total[key]) for key, n in edge.items() if n >= FEWEST and n > TOO_MANY * total[key]}


def edge_words(studies: Iterable[StudyFile], methods: Mapping[str, MethodCard] = METHODS) -> str:
    """Return how many winners lie at an edge, in a sentence; empty if none does."""

    def label(study: StudyFile) -> str:
        return methods[study.method].label if study.method in methods else study.method

    won = [study for study in studies if study.winner]
    edge = Counter((hyperparameter_words(name), label(study)) for study in won for name in edges_of(study))
    if not edge:
        return ""
    total = Counter(map(label, won))
    listed = "; ".join(f"{name} of {label} ({n} of {total[label]})" for (name, label), n in sorted(edge.items()))
    return f"Winners at the edge of their search range: {listed}."
