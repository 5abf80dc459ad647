"""How often "any of nine" contradicts by chance, with and without the calibrated tail (docs/statistics.md).

Nine tasks on which two methods are equal. Holm asks of the smallest p value that it lies below 2.5 % / 9; tasks share
nothing, so the family errs with probability 1 - (1 - e)^9 where one task errs with probability e.

    python -m benchmarks.family_error
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from reports.stats.ranks import ONE_SIDED, untailed
from tests.support.simulation import exceeded, simulated, simulated_hits

TASKS, GROUPS = 9, 40
RUNS, TIMES = 20_000, 5
#: seed term over group term, interaction over the larger of the two
NORMAL = ((0.0, 0.0), (0.5, 0.5), (1.0, 0.5), (2.0, 0.0), (2.0, 0.5), (4.0, 0.0), (4.0, 0.5), (4.0, 2.0))
DRIFTS = (0.0, 0.15, 0.3, 0.5)

Draw = Callable[[np.random.Generator], np.ndarray]


def family_error(draw: Draw, alpha: float) -> float:
    """The chance that at least one of nine equal tasks has a one-sided p value below alpha."""
    one = np.mean([exceeded(draw(np.random.default_rng([7, k])), alpha) for k in range(TIMES)])
    return float(1 - (1 - one) ** TASKS)


def draws() -> Iterator[tuple[str, Draw]]:
    """Every planted configuration, with its words."""
    for seeds in (3, 5):
        for ratio, mixed in NORMAL:
            name = f"{seeds} seeds, normal, seed ratio {ratio:g}, interaction {mixed:g}"
            yield name, lambda rng, s=seeds, r=ratio, m=mixed: simulated(GROUPS, s, r, m, RUNS, rng)
        for drift in DRIFTS:
            name = f"{seeds} seeds, hits, drift {drift:g}"
            yield name, lambda rng, s=seeds, d=drift: simulated_hits(GROUPS, s, d, RUNS // 4, rng)


def main() -> None:
    print("| configuration | Holm on plain p values | with the calibrated tail |\n|---|---|---|")
    for name, draw in draws():
        plain, calibrated = (family_error(draw, alpha) for alpha in (ONE_SIDED / TASKS, untailed(ONE_SIDED / TASKS)))
        print(f"| {name} | {100 * plain:.1f} % | {100 * calibrated:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
