"""Readings of what the paper leaves open, and which open choice moves the answer most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.contrasts import PLACES, Sets
from reports.analysis.pairing import Mismatch, paired
from reports.claims.readings import DEFAULTS, holding, opposed, specifications
from reports.claims.rules import gain_claims
from reports.evidence.evidence import CAR_FT, FT, VALIDATION, Choices, Evidence, Source
from reports.stats.intervals import Contributions
from reports.tables.table import Sources, table

#: how often seeds and groups, and readings, are drawn again
DRAWS = 1000


@table(
    "Which open choice moves the difference",
    "Share of the variance over readings of CAR-FT minus FT that a linear model of the choices loses without one "
    "of them; low and high hold 95 % of the shares when seeds and images are drawn again, by_chance 95 % of those "
    "with the readings in random order. Shares need not sum to 100 %.",
    ["scope", "where", "factor"],
    shares=("share", "low", "high", "by_chance"),
)
def reading_factors(sources: Sources) -> pd.DataFrame:
    """One row per factor of a reading and place, the largest share first.

    The share is what the variance over readings of CAR-FT minus FT loses without the factor, in a linear model of the
    effects of all factors, [0, 1]. Factors of readings that were drawn at random overlap, so shares need not sum to 1.
    ``low`` and ``high`` hold 95 % of the shares when seeds and groups are drawn again with replacement, the same for
    all readings. ``by_chance`` is the share that 95 % of random orders of the readings stay below. There are no rows
    where the linear model has as many coefficients as there are readings.
    """
    rows: list[dict[str, Any]] = []
    several = [view for view in sources.evidence.views() if len(view.readings or ()) > 1]
    for view, (where, sets) in product(several, PLACES):
        contributions, cells = _contributions(view, sets)
        readings, design = list(contributions), _design(list(contributions))
        if not design or len(readings) <= 1 + sum(values.shape[1] for values in design.values()):
            continue
        effects = np.array([np.mean([p.values.sum(1).mean() for p in parts]) for parts in contributions.values()])
        drawn = [np.mean([_drawn(p, task) for task, p in enumerate(parts)], axis=0) for parts in contributions.values()]
        rng = np.random.default_rng(0)
        mixed = np.stack([rng.permutation(effects) for _ in range(DRAWS)])
        shares, redrawn, by_chance = (unique_shares(readings, e) for e in (effects[None], np.array(drawn).T, mixed))
        of_place = [
            {
                **view.columns,
                "where": where,
                "factor": factor,
                "values": values.shape[1] + 1,
                "share": shares[factor][0],
                "low": np.nanpercentile(redrawn[factor], 2.5),
                "high": np.nanpercentile(redrawn[factor], 97.5),
                "by_chance": np.nanpercentile(by_chance[factor], 95),
                "readings": len(readings),
                "cells": " ".join(cells),
            }
            for factor, values in design.items()
        ]
        rows += sorted(of_place, key=lambda row: -row["share"])
    return pd.DataFrame(rows)


def unique_shares(choices: Sequence[Choices], effects: np.ndarray) -> dict[str, np.ndarray]:
    """Factor -> (B,) share of the variance of effects (B, R) over readings that is lost without the factor.

    choices: what differs from the default in each of the R readings. NaN where the effects do not vary.
    """
    design = _design(choices)
    everything = np.concatenate([np.ones((len(choices), 1)), *design.values()], axis=1)
    whole = _left_over(everything, effects)
    total = _left_over(everything[:, :1], effects)
    shares = {}
    for factor in design:
        others = [values for name, values in design.items() if name != factor]
        without = _left_over(np.concatenate([everything[:, :1], *others], axis=1), effects)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares[factor] = np.where(total > 0, (without - whole) / total, np.nan)
    return shares


def _contributions(view: Evidence, sets: Sets) -> tuple[dict[Choices, list[Contributions]], Source]:
    """Reading -> contributions of CAR-FT minus FT to each task, of the readings that have all tasks; and the cells."""
    by_reading: dict[Choices, list[Contributions]] = {}
    cells: dict[str, None] = {}
    tasks = [task for task in view.tasks if (wanted := set(sets(view, task))) and wanted <= set(view.set_names(task))]
    for reading in sorted(view.readings or {}, key=lambda choices: (len(choices), str(choices))):
        under = view.under(reading)
        try:
            pairs = [paired(under, task, CAR_FT, FT, sets(under, task), "top1") for task in tasks]
        except Mismatch:
            continue
        whole = [pair for pair in pairs if pair is not None]
        if whole and len(whole) == len(pairs):
            by_reading[reading] = [part for part, _ in whole]
            cells |= dict.fromkeys(cell for _, used in whole for cell in used)
    return by_reading, tuple(cells)


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


def _design(choices: Sequence[Choices]) -> Mapping[str, np.ndarray]:
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


@table(
    "Readings",
    "CAR-FT minus FT under every reading of what the paper leaves open that was run.",
    ["scope", "reading", "where"],
    points=("effect", "low", "high"),
)
def readings(sources: Sources) -> pd.DataFrame:
    """One row per reading and set (ID test, mean OOD, each suite): effect, interval, the answers, every factor."""
    rows = []
    for view in sources.evidence.views():
        under = specifications(view)
        if len(under) < 2:
            continue
        names = sorted({name for s in under for name, _ in s.choices})
        for s in under:
            answers = {claim.id: s.word(claim.id) for claim in gain_claims()}
            factors = {name: dict(s.choices).get(name, DEFAULTS.get(name, "default")) for name in names}
            for where, shown in s.shown.items():
                row = {
                    **view.columns,
                    "reading": s.label,
                    "where": where.removeprefix("CAR-FT - FT, "),
                    "effect": shown.estimate.effect,
                    "low": shown.low,
                    "high": shown.high,
                    "n_tasks": len(shown.tasks),
                    "n_seeds": shown.estimate.n_seeds,
                    "n_groups": shown.estimate.n_groups,
                    "selected_on": VALIDATION,
                }
                rows.append({**row, **answers, **factors, "cells": " ".join(shown.cells)})
    return pd.DataFrame(rows)


@table(
    "In how many readings each claim holds",
    "Contradicted is after Holm over readings; undecided is neither.",
    ["scope", "claim"],
    shares=("share",),
)
def reading_shares(sources: Sources) -> pd.DataFrame:
    """Per claim: in how many of the readings it holds, is contradicted (after Holm over readings), is undecided."""
    columns = ["scope", "scale", "claim", "holds", "contradicted", "undecided", "readings", "share", "cells"]
    rows = []
    for view in sources.evidence.views():
        under = specifications(view)
        asked = [claim.id for claim in gain_claims() if any(claim.id in s.parts for s in under)]
        for claim in asked if len(under) > 1 else ():
            count, holds, against = len(under), len(holding(under, claim)), len(opposed(under, claim))
            cells = dict.fromkeys(c for s in under for p in s.parts.get(claim, ()) for c in p.cells)
            counts = (holds, against, count - holds - against, count, holds / count)
            rows.append((view.name, view.scale, claim, *counts, " ".join(cells)))
    return pd.DataFrame(rows, columns=columns)
