"""From evidence to verdicts: one function per claim, by the rules and margins of ledger.yaml."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from reports.evidence import CAR_FT, FT, WISE, WISE_CAR, ZERO_SHOT, Entry, Evidence, paired
from reports.statistics import Estimate, holm, pooled, sign_test, two_way

Answer = Literal["reproduced", "contradicted", "inconclusive", "not comparable", "not run"]
Sets = Callable[[Evidence, str], Sequence[str]]

FIXED_ALPHA = 0.5
ONE_SIDED = 0.025
NINE = 9


@dataclass(frozen=True)
class Claim:
    """An entry of the ledger."""

    id: str
    title: str
    statement: str
    rule: str
    source: str
    margin_points: float

    @property
    def margin(self) -> float:
        """The margin as a share of 1."""
        return self.margin_points / 100


@dataclass(frozen=True)
class Part:
    """One contrast with its estimate. ``deciding`` parts decide the claim, the others stand beside it.

    The claim wants the whole interval above the margin (or below it, with side ``below``).
    """

    name: str
    estimate: Estimate
    cells: tuple[str, ...]
    deciding: bool = True
    margin: float = 0.0
    side: Literal["above", "below"] = "above"

    @property
    def low(self) -> float:
        return self.estimate.interval()[0]

    @property
    def high(self) -> float:
        return self.estimate.interval()[1]

    @property
    def slack(self) -> float:
        """How far the nearer bound lies on the wanted side of the margin; negative when it does not."""
        return self.low - self.margin if self.side == "above" else self.margin - self.high

    @property
    def p_against(self) -> float:
        """One-sided p value for the opposite of what the claim wants."""
        estimate = self.estimate
        return estimate.p_below(self.margin) if self.side == "above" else estimate.p_above(self.margin)


@dataclass(frozen=True)
class Verdict:
    """The answer to a claim, with everything a reader needs to doubt it. Numbers are shares of 1."""

    claim: str
    title: str
    verdict: Answer
    scale: str
    effect: float | None
    low: float | None
    high: float | None
    n_seeds: int
    n_groups: int
    smallest_visible: float | None
    floor: str
    reason: str
    headline: str = ""  # the part whose effect and interval stand for the claim
    parts: tuple[Part, ...] = ()
    cells: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The fields that scripts rely on, and the reason."""
        wanted = ("claim", "verdict", "scale", "effect", "low", "high", "n_seeds", "n_groups", "smallest_visible")
        return {**{name: _plain(getattr(self, name)) for name in wanted}, "part": self.headline, "reason": self.reason}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def ledger() -> dict[str, Claim]:
    """Claim id -> claim, in the ledger's order."""
    entries = yaml.safe_load(files("reports").joinpath("ledger.yaml").read_text(encoding="utf-8"))
    return {entry["id"]: Claim(**entry) for entry in entries}


def verdicts(evidence: Evidence) -> list[Verdict]:
    """A verdict on every claim of the ledger, in its order."""
    return [DECIDERS[claim.id](claim, evidence) for claim in ledger().values()]


@dataclass(frozen=True)
class Contrast:
    """A difference of two entries in a metric over sets, per task."""

    first: Entry
    second: Entry
    what: str = "top1"
    sets: Sets = lambda evidence, task: ["test"]

    def per_task(self, evidence: Evidence) -> dict[str, tuple[Estimate, tuple[str, ...]]]:
        """task -> (estimate, cells) for the tasks where both entries were run."""
        found = {}
        for task in evidence.tasks:
            pair = paired(evidence, task, self.first, self.second, self.sets(evidence, task), self.what)
            if pair is not None:
                found[task] = (two_way(pair[0]), pair[1])
        return found


def id_test(evidence: Evidence, task: str) -> Sequence[str]:
    """The ID test set alone."""
    return ["test"]


def every_set(evidence: Evidence, task: str) -> Sequence[str]:
    """The ID test set and all suites."""
    return evidence.set_names(task)


def every_suite(evidence: Evidence, task: str) -> Sequence[str]:
    """All suites."""
    return evidence.set_names(task)[1:]


def suite_set(name: str) -> Sets:
    """One suite."""
    return lambda evidence, task: [f"ood/{name}"]


def _pool(evidence: Evidence, contrast: Contrast, name: str, **settings: Any) -> Part | None:
    """The part that pools a contrast over tasks; None when no task has it."""
    found = contrast.per_task(evidence)
    if not found:
        return None
    cells = tuple(dict.fromkeys(cell for _, used in found.values() for cell in used))
    return Part(name, pooled([estimate for estimate, _ in found.values()]), cells, **settings)


def _decide(claim: Claim, evidence: Evidence, found: Sequence[Part | None], missing: str) -> Verdict:
    """Reproduced: every deciding interval on the wanted side. Contradicted: one on the other side, after Holm."""
    parts = tuple(part for part in found if part is not None)
    if not parts or len(parts) < len(found):
        reason = f"Missing: {missing}. Run: python cli.py sweep downstream"
        return Verdict(claim.id, claim.title, "not run", evidence.scale, None, None, None, 0, 0, None, "", reason)
    deciding = [part for part in parts if part.deciding]
    weakest = min(deciding, key=lambda part: part.slack)
    answer, reason = _answer(deciding, weakest)
    estimate = weakest.estimate
    return Verdict(
        claim=claim.id,
        title=claim.title,
        verdict=answer,
        scale=evidence.scale,
        effect=estimate.effect,
        low=weakest.low,
        high=weakest.high,
        n_seeds=estimate.n_seeds,
        n_groups=estimate.n_groups,
        smallest_visible=estimate.smallest_visible(),
        floor=estimate.floor(),
        reason=reason,
        headline=weakest.name,
        parts=parts,
        cells=tuple(dict.fromkeys(cell for part in parts for cell in part.cells)),
    )


def _answer(deciding: Sequence[Part], weakest: Part) -> tuple[Answer, str]:
    if any(math.isnan(part.estimate.se) for part in deciding):
        return "inconclusive", "One seed gives no interval; run at least two."
    if all(part.slack > 0 for part in deciding):
        if len(deciding) == 1:
            return "reproduced", "The whole interval lies on the claim's side of the margin."
        return "reproduced", f"All {len(deciding)} intervals lie on the claim's side; the weakest is {weakest.name}."
    against = holm([part.p_against for part in deciding])
    opposed = [part.name for part, p in zip(deciding, against, strict=True) if p < ONE_SIDED]
    if opposed:
        return "contradicted", f"The whole interval lies on the other side, after Holm, for: {', '.join(opposed)}."
    undecided = [part.name for part in deciding if part.slack <= 0]
    named = f"every one of the {len(deciding)}" if len(undecided) == len(deciding) > 1 else ", ".join(undecided)
    return "inconclusive", f"The interval reaches the margin for: {named}."


def _c1(claim: Claim, evidence: Evidence) -> Verdict:
    def part(name: str, sets: Any, deciding: bool) -> Part | None:
        contrast = Contrast(FT, ZERO_SHOT, "context", sets)
        return _pool(evidence, contrast, f"FT - zero-shot, {name}", deciding=deciding, side="below")

    parts = [
        part("ID test and all suites", every_set, True),
        part("ID test", id_test, False),
        part("all suites", every_suite, False),
    ]
    return _decide(claim, evidence, parts, "zeroshot and ft")


def _c2(claim: Claim, evidence: Evidence) -> Verdict:
    kept = Contrast(CAR_FT, ZERO_SHOT, "context", every_set)
    parts = [
        _pool(evidence, Contrast(CAR_FT, FT, "context", every_set), "CAR-FT - FT"),
        _pool(evidence, kept, "CAR-FT - zero-shot", margin=-claim.margin),
    ]
    return _decide(claim, evidence, parts, "zeroshot, ft and car_ft")


def _c3(claim: Claim, evidence: Evidence) -> Verdict:
    contrast = Contrast(CAR_FT, FT)
    part = _pool(evidence, contrast, "CAR-FT - FT, ID test", margin=-claim.margin)
    verdict = _decide(claim, evidence, [part], "ft and car_ft")
    if part is None or math.isnan(part.low):
        return verdict
    superior = "also superior" if part.low > 0 else "not shown to be superior"
    return replace(verdict, reason=f"{verdict.reason} CAR-FT is {superior} (lower bound against 0).")


def _per_suite(claim: Claim, evidence: Evidence, rival: Entry, missing: str) -> Verdict:
    suites = list(dict.fromkeys(s for task in evidence.tasks for s in evidence.card(task).suites))
    parts = [_pool(evidence, Contrast(CAR_FT, rival, "top1", suite_set(s)), s) for s in suites]
    mean = _pool(evidence, Contrast(CAR_FT, rival, "top1", every_suite), "mean of suites", deciding=False)
    return _decide(claim, evidence, [*parts, mean], missing)


def _c4(claim: Claim, evidence: Evidence) -> Verdict:
    return _per_suite(claim, evidence, FT, "ft and car_ft")


def _c4b(claim: Claim, evidence: Evidence) -> Verdict:
    return _per_suite(claim, evidence, ZERO_SHOT, "zeroshot and car_ft")


def _c5(claim: Claim, evidence: Evidence) -> Verdict:
    contrast = Contrast(CAR_FT, FT)
    found = contrast.per_task(evidence)
    parts: list[Part | None] = [Part(task, estimate, cells) for task, (estimate, cells) in found.items()]
    parts.append(_pool(evidence, contrast, "mean of tasks", deciding=False))
    verdict = _decide(claim, evidence, parts, "ft and car_ft")
    if verdict.verdict == "not run":
        return verdict
    effects = [estimate.effect for estimate, _ in found.values()]
    gained = f"{sum(e > 0 for e in effects)} of {len(effects)} tasks gain"
    short = "" if len(effects) >= NINE else f" Only {len(effects)} of the {NINE} tasks were run."
    answer: Answer = "inconclusive" if verdict.verdict == "reproduced" and short else verdict.verdict
    reason = f"{verdict.reason} {gained} (sign test p = {sign_test(effects):.2f}).{short}"
    return replace(verdict, verdict=answer, reason=reason)


def _c12(claim: Claim, evidence: Evidence) -> Verdict:
    half, half_car = replace(WISE, alpha=FIXED_ALPHA), replace(WISE_CAR, alpha=FIXED_ALPHA)
    parts = [
        _pool(evidence, Contrast(half_car, half, "top1", every_suite), "OOD, alpha 0.5"),
        _pool(evidence, Contrast(half_car, half), "ID, alpha 0.5", deciding=False),
        _pool(
            evidence, Contrast(WISE_CAR, WISE, "top1", every_suite), "OOD, alpha chosen on validation", deciding=False
        ),
    ]
    return _decide(claim, evidence, parts, "wise_ft of ft and of car_ft")


DECIDERS: Mapping[str, Callable[[Claim, Evidence], Verdict]] = {
    "C1": _c1,
    "C2": _c2,
    "C3": _c3,
    "C4": _c4,
    "C4b": _c4b,
    "C5": _c5,
    "C12": _c12,
}
