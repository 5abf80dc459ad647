"""`report diff`: compares verdicts, effects and cells of two results folders."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from carft.core.errors import first_of
from carft.store.records import Store
from reports.analysis.contrasts import Part
from reports.analysis.pairing import same_predictions
from reports.build import sources_of
from reports.claims.claim import Verdict
from reports.render.formatting import points
from reports.render.provenance import made_by
from reports.stats.intervals import Estimate
from reports.stats.ranks import holm
from reports.tables.table import Sources

LEVEL = 0.05
NAMED = 5
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """The differences of two results folders."""

    claims: Rows
    """One row per claim in both."""
    parts: Rows
    """One row per deciding part in both."""
    cells: dict[str, int]
    """Counts: shared, identical, only_first, only_second."""
    differing_cells: list[str]
    """Ids of shared cells with other predictions."""
    only_first: list[str]
    """Versions and machines of the first folder only."""
    only_second: list[str]
    """Versions and machines of the second folder only."""
    words: list[str]
    """Sentences that explain the differences."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; missing numbers are null."""
        return asdict(self)


def compare(first: Store, second: Store) -> Comparison:
    """Compare two folders; differences are second minus first, as of two independent samples."""
    sides = sources_of(first), sources_of(second)
    parts = _parts(sides)
    claims = [_claim_row(a, b, parts) for a, b in _both(sides)]
    cells, differing = _shared(first, second, sides)
    made = [Counter(made_by(r.provenance) for r in s.evidence.records.values()) for s in sides]
    only_first, only_second = (sorted(a.keys() - b.keys()) for a, b in (made, made[::-1]))
    words = _sentences(sides, cells, differing, only_first, only_second)
    return Comparison(claims, parts, cells, differing, only_first, only_second, words)


def moved(first: Estimate, second: Estimate) -> Estimate:
    """Second minus first by Welch's t: variances add, degrees of freedom by Satterthwaite over all terms."""
    return Estimate(
        second.effect - first.effect,
        (*first.components, *second.components),
        min(first.n_seeds, second.n_seeds),
        min(first.n_groups, second.n_groups),
        n_searches=min(first.n_searches, second.n_searches),
    )


def _both(sides: Sequence[Sources]) -> list[tuple[Verdict, Verdict]]:
    """Verdicts on the same claim in the same scope."""
    theirs = {_name(v): v for v in sides[1].verdicts}
    return [(v, theirs[_name(v)]) for v in sides[0].verdicts if _name(v) in theirs]


def _name(verdict: Verdict) -> str:
    return f"{verdict.claim}@{verdict.scope}".removesuffix("@")


def _parts(sides: Sequence[Sources]) -> Rows:
    """Every deciding part that both folders have, with Holm over all of them."""
    rows = []
    for a, b in _both(sides):
        theirs = {part.name: part for part in b.parts if part.deciding}
        for part in (p for p in a.parts if p.deciding and p.name in theirs):
            rows.append(_part_row(_name(a), part, theirs[part.name]))
    tested = [row for row in rows if row["p"] is not None]
    for row, adjusted in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = adjusted
        row["movement"] = "beyond noise" if adjusted < LEVEL else "within noise"
    return rows


def _part_row(claim: str, first: Part, second: Part) -> dict[str, Any]:
    change = moved(first.estimate, second.estimate)
    low, high = change.interval()
    numbers = {
        **_side("first", first),
        **_side("second", second),
        **{"difference": change.effect, "low": low, "high": high},
        "p": float(np.minimum(1.0, 2 * np.minimum(change.p_above(), change.p_below()))),
    }
    finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {"claim": claim, "part": first.name, **finite, "p_holm": None, "movement": "no interval"}


def _side(name: str, part: Part) -> dict[str, float]:
    return {f"{name}_effect": part.estimate.effect, f"{name}_low": part.low, f"{name}_high": part.high}


def _claim_row(first: Verdict, second: Verdict, parts: Rows) -> dict[str, Any]:
    """The verdicts, and the part with the smallest p value; the first folder's headline part among ties."""
    here = [row for row in parts if row["claim"] == _name(first)]
    part = min(here, key=lambda r: (1.0 if r["p"] is None else r["p"], r["part"] != first.headline), default=None)
    row = {"claim": _name(first), "first": first.verdict, "second": second.verdict}
    row["verdict"] = "same" if first.verdict == second.verdict else "moved"
    if part is None:
        empty = dict.fromkeys(("part moved most", "first effect", "second effect", "difference"), "")
        return {**row, **empty, "is": "not in both"}
    return {
        **row,
        "part moved most": part["part"],
        "first effect": _with_interval(part, "first_effect", "first_low", "first_high"),
        "second effect": _with_interval(part, "second_effect", "second_low", "second_high"),
        "difference": _with_interval(part, "difference", "low", "high"),
        "is": part["movement"],
    }


def _with_interval(row: dict[str, Any], effect: str, low: str, high: str) -> str:
    return f"{points(row[effect])} ({points(row[low])} to {points(row[high])})"


def _shared(first: Store, second: Store, sides: Sequence[Sources]) -> tuple[dict[str, int], list[str]]:
    """Counts of shared and identical cells, and the ids of shared cells with other predictions."""
    ours, theirs = (s.evidence.records.keys() for s in sides)
    shared = sorted(ours & theirs)
    differing = [cell for cell in shared if not _has_same_predictions(first, second, cell)]
    counts = {
        "shared": len(shared),
        "identical": len(shared) - len(differing),
        "only_first": len(ours - theirs),
        "only_second": len(theirs - ours),
    }
    return counts, differing


def _has_same_predictions(first: Store, second: Store, cell: str) -> bool:
    """Whether both folders have the same predictions of a cell on every set that both were evaluated on."""
    names = {"val", *(first.evaluated(cell) & second.evaluated(cell))}
    stores = (first, second)
    return all(
        same_predictions(*(store.prediction_table(cell, name) for store in stores))
        for name in sorted(names)
        if all(store.has_predictions(cell, name) for store in stores)
    )


def _sentences(
    sides: Sequence[Sources], cells: dict[str, int], differing: list[str], only_first: list[str], only_second: list[str]
) -> list[str]:
    first, second = (s.evidence for s in sides)
    words = [
        f"Cells: {cells['shared']} in both, {cells['identical']} of them with the same predictions; "
        f"{cells['only_first']} only in the first, {cells['only_second']} only in the second."
    ]
    if differing:
        words.append(f"Same cell, other predictions: {first_of(differing, NAMED)}.")
    for name, lines in (("first", only_first), ("second", only_second)):
        words += [f"Made so only in the {name}: {line}" for line in lines]
    for name, side in (("first", sides[0]), ("second", sides[1])):
        words += [f"Caution, {name}: {_name(v)}: {v.caution}." for v in side.verdicts if v.caution]
    for name, a, b in (("first", first, second), ("second", second, first)):
        if extra := sorted(set(a.tasks) - set(b.tasks)):
            words.append(f"Tasks only in the {name}, so pooled parts are over other tasks: {', '.join(extra)}.")
    if first.scale != second.scale:
        words.append(f"The scales differ ({first.scale}, {second.scale}): the two sides do not answer one question.")
    words.append(
        "Differences are second minus first, in points; the two estimates are taken as independent (Welch's t, Holm "
        f"over all deciding parts, {100 * LEVEL:.0f} %). Where cells or drawings are shared the true noise is smaller, "
        "so 'within noise' then may hide a small real change, and identical cells cannot move at all."
    )
    return words
