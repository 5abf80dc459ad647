"""Readings of what the paper leaves open, and which open choice moves the answer most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from reports.analysis.contrasts import PLACES, Sets
from reports.analysis.pairing import Mismatch, paired
from reports.claims.readings import reading_share_table, specification_table
from reports.evidence.evidence import CAR_FT, FT, Choices, Evidence, Source
from reports.stats.intervals import Contributions
from reports.tables.table import TableCard

#: how often seeds and groups, and readings, are drawn again
DRAWS = 1000


COLUMNS = ["scope", "scale", "where", "factor", "values", "share", "low", "high", "by_chance", "readings", "cells"]


def factor_table(evidence: Evidence) -> pd.DataFrame:
    """One row per factor of a reading and place, the largest share first.

    The share is what the variance over readings of CAR-FT minus FT loses without the factor, in a linear model of the
    effects of all factors, [0, 1]. Factors of readings that were drawn at random overlap, so shares need not sum to 1.
    ``low`` and ``high`` hold 95 % of the shares when seeds and groups are drawn again with replacement, the same for
    all readings. ``by_chance`` is the share that 95 % of random orders of the readings stay below.
    """
    rows = []
    for view in (view for view in evidence.views() if len(view.readings or ()) > 1):
        for where, sets in PLACES:
            effects, drawn, cells = _effects(view, sets)
            rows += _rows(view, where, list(effects), np.array(list(effects.values())), drawn, cells)
    return pd.DataFrame(rows, columns=COLUMNS)


READING_FACTORS_CARD = TableCard(
    "reading_factors",
    "Which open choice moves the difference",
    "Share of the variance over readings of CAR-FT minus FT that a linear model of the choices loses without one "
    "of them; low and high hold 95 % of the shares when seeds and images are drawn again, by_chance 95 % of those "
    "when the readings are put in random order. Shares need not sum to 100 %.",
    lambda sources: factor_table(sources.evidence),
    ("scope", "where", "factor"),
    shares=("share", "low", "high", "by_chance"),
)


def unique_shares(choices: Sequence[Choices], effects: np.ndarray) -> dict[str, np.ndarray]:
    """Factor -> (B,) share of the variance of effects (B, R) over readings that is lost without the factor.

    choices: what differs from the default in each of the R readings. NaN where the effects do not vary.
    """
    columns = _columns(choices)
    everything = np.concatenate([np.ones((len(choices), 1)), *columns.values()], axis=1)
    whole = _left_over(everything, effects)
    total = _left_over(everything[:, :1], effects)
    shares = {}
    for factor in columns:
        others = [values for name, values in columns.items() if name != factor]
        without = _left_over(np.concatenate([everything[:, :1], *others], axis=1), effects)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares[factor] = np.where(total > 0, (without - whole) / total, np.nan)
    return shares


def _effects(view: Evidence, sets: Sets) -> tuple[dict[Choices, float], np.ndarray, list[str]]:
    """Reading -> mean over tasks of CAR-FT minus FT; (DRAWS, R) the same from drawn seeds and groups; the cells."""
    by_reading: dict[Choices, list[Contributions]] = {}
    cells: dict[str, None] = {}
    tasks = [task for task in view.tasks if (wanted := set(sets(view, task))) and wanted <= set(view.set_names(task))]
    for reading in sorted(view.readings or {}, key=lambda choices: (len(choices), str(choices))):
        under = view.under(reading)
        pairs = [_pair(under, task, sets(under, task)) for task in tasks]
        whole = [pair for pair in pairs if pair is not None]
        if whole and len(whole) == len(pairs):
            by_reading[reading] = [part for part, _ in whole]
            cells |= dict.fromkeys(cell for _, used in whole for cell in used)
    effects = {
        reading: float(np.mean([p.values.sum(1).mean() for p in parts])) for reading, parts in by_reading.items()
    }
    drawn = [np.mean([_drawn(part, task) for task, part in enumerate(parts)], axis=0) for parts in by_reading.values()]
    return effects, np.array(drawn).T, list(cells)


def _pair(view: Evidence, task: str, sets: Sequence[str]) -> tuple[Contributions, Source] | None:
    """CAR-FT minus FT on sets of a task, and its cells; None where there are none on the same images."""
    try:
        return paired(view, task, CAR_FT, FT, sets, "top1")
    except Mismatch:
        return None


def _drawn(part: Contributions, task: int) -> np.ndarray:
    """(DRAWS,) the effect from seeds and groups drawn with replacement, groups within their stratum.

    The draws depend on the task and the sizes alone, so all readings of a task share them.
    """
    rng = np.random.default_rng(task)
    seeds, groups = part.values.shape
    times_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS) / seeds
    times_group = np.zeros((DRAWS, groups))
    for stratum in np.unique(part.strata):
        members = np.flatnonzero(part.strata == stratum)
        times_group[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), DRAWS)
    return np.einsum("bs,sg,bg->b", times_seed, part.values, times_group, optimize=True)


def _rows(
    view: Evidence, where: str, choices: Sequence[Choices], effects: np.ndarray, drawn: np.ndarray, cells: Sequence[str]
) -> list[tuple]:
    """Return the rows of one place; none if the linear model has as many coefficients as there are readings."""
    columns = _columns(choices)
    if not columns or len(choices) <= 1 + sum(values.shape[1] for values in columns.values()):
        return []
    shares = unique_shares(choices, effects[None])
    rng = np.random.default_rng(0)
    mixed = unique_shares(choices, np.stack([rng.permutation(effects) for _ in range(DRAWS)]))
    redrawn = unique_shares(choices, drawn)
    rows = []
    for factor, values in columns.items():
        low, high = np.nanpercentile(redrawn[factor], [2.5, 97.5])
        chance = float(np.nanpercentile(mixed[factor], 95))
        numbers = (float(shares[factor][0]), float(low), float(high), chance)
        count = values.shape[1] + 1
        rows.append((view.name, view.scale, where, factor, count, *numbers, len(choices), " ".join(cells)))
    return sorted(rows, key=lambda row: -row[COLUMNS.index("share")])


def _columns(choices: Sequence[Choices]) -> Mapping[str, np.ndarray]:
    """Factor -> (R, values - 1) whether a reading has each value other than the default."""
    names = sorted({name for reading in choices for name, _ in reading})
    chosen = {name: [dict(reading).get(name) for reading in choices] for name in names}
    others = {
        name: sorted({value for value in values if value is not None}, key=str) for name, values in chosen.items()
    }
    return {name: np.array([[v == o for o in others[name]] for v in values], float) for name, values in chosen.items()}


def _left_over(design: np.ndarray, effects: np.ndarray) -> np.ndarray:
    """(B,) sum of squares of effects (B, R) that a linear model on ``design`` (R, K) leaves."""
    fitted, *_ = np.linalg.lstsq(design, effects.T, rcond=None)
    return ((effects.T - design @ fitted) ** 2).sum(0)


READINGS_CARD = TableCard(
    "readings",
    "Readings",
    "CAR-FT minus FT under every reading of what the paper leaves open that was run.",
    lambda sources: specification_table(sources.evidence),
    ("scope", "reading", "where"),
    points=("effect", "low", "high"),
)


READING_SHARES_CARD = TableCard(
    "reading_shares",
    "In how many readings each claim holds",
    "Contradicted is after Holm over readings; undecided is neither.",
    lambda sources: reading_share_table(sources.evidence),
    ("scope", "claim"),
    shares=("share",),
)
