"""The effect of more seeds or more images, extrapolated from the variance components, as text."""

from __future__ import annotations

import math

from reports.stats.intervals import REPLICATES, Component, Estimate

MORE_SEEDS = 10
MORE_GROUPS = 4
ENDLESS = 1e6
SEEDS_WORTH_NAMING = 50


def power_words(estimate: Estimate, unit: str = "group", margin: float = 0.0) -> str:
    """Sentences on the smallest effect that the estimate detects, and on what would detect smaller ones.

    unit: name of a group. margin: a share of 1 that the effect is compared with. Empty without a standard error.
    """
    now = estimate.smallest_visible()
    if math.isnan(now) or now == 0 or "tasks" in estimate.terms:
        return ""
    kind, many = replicates(estimate), estimate.replicates
    more = estimate.scaled(groups=MORE_GROUPS).smallest_visible()
    if not set(REPLICATES) & set(estimate.terms):
        return f"It sees {_points(now)} points; {MORE_GROUPS} times the {unit}s would see {_points(more)}."
    ten = max(MORE_SEEDS, 2 * many)
    words = (
        f"With {many} {kind} and {estimate.n_groups} {unit}s it sees {_points(now)} points; "
        f"{ten} {kind} would see {_points(estimate.scaled(seeds=ten / many).smallest_visible())}, "
        f"{MORE_GROUPS} times the {unit}s {_points(more)}."
    )
    return f"{words} {_to_see_the_effect(estimate, unit, margin)}".strip()


def smallest_difference(groups: int) -> float:
    """The smallest difference that a paired test on so many groups detects in 80 % of repetitions, a share of 1.

    It is what a test can show at best, before anything is trained: seeds do not vary, and all groups on which two
    methods differ speak for one of them. Their share is then the difference d itself, with the variance d (1 - d). The
    images of a group count as one. NaN for fewer than two groups.
    """
    per_spread = Estimate(0.0, (Component(1 / groups, groups - 1, "groups"),), 1, groups).smallest_visible() ** 2
    return per_spread / (1 + per_spread)


def replicates(estimate: Estimate) -> str:
    """``searches`` if there are several, else ``seeds``."""
    return "searches" if estimate.n_searches > 1 else "seeds"


def _to_see_the_effect(estimate: Estimate, unit: str, margin: float) -> str:
    """The replicates needed to tell a true effect of the estimated size from the margin."""
    size = abs(estimate.effect - margin)
    if size >= estimate.smallest_visible() or size == 0:
        return ""
    kind, many = replicates(estimate), estimate.replicates
    if estimate.scaled(seeds=ENDLESS).smallest_visible() > size:
        return f"No number of {kind} would show {_found(size, margin)}: only more {unit}s can."
    for count in range(many + 1, SEEDS_WORTH_NAMING + 1):
        if estimate.scaled(seeds=count / many).smallest_visible() <= size:
            return f"To show {_found(size, margin)} would take about {count} {kind}."
    return f"To show {_found(size, margin)} would take more than {SEEDS_WORTH_NAMING} {kind}."


def _found(size: float, margin: float) -> str:
    away = "an effect of the size found" if margin == 0 else "the distance found from the margin"
    return f"{away} ({_points(size)})"


def _points(value: float) -> str:
    return f"{100 * value:.1f}" if value >= 0.001 else f"{100 * value:.2f}"
