"""From evidence to verdicts: one function per claim, by the rules and margins of ledger.yaml."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from carft.data.catalog import DOWNSTREAM_ICONS
from carft.methods import METHODS
from reports.contrasts import Contrast, Part, every_set, every_suite, pool, sampled, suite_set
from reports.evidence import CAR_FT, FT, WISE, WISE_CAR, ZERO_SHOT, Entry, Evidence
from reports.statistics import holm, sign_test

Answer = Literal["reproduced", "contradicted", "inconclusive", "not comparable", "not run"]
FIXED_ALPHA = 0.5
ONE_SIDED = 0.025


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
class Verdict:
    """The answer to a claim, with everything a reader needs to doubt it. Numbers are shares of 1."""

    claim: str
    title: str
    verdict: Answer
    scale: str
    effect: float | None
    low: float | None
    high: float | None
    n_tasks: int
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
        counts = ("n_tasks", "n_seeds", "n_groups")
        wanted = ("claim", "verdict", "scale", "effect", "low", "high", *counts, "smallest_visible")
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


def _decide(claim: Claim, evidence: Evidence, found: Sequence[Part | None], missing: str) -> Verdict:
    """The verdict on deciding parts; parts that stand beside may be absent."""
    parts = tuple(part for part in found if part is not None)
    deciding = [part for part in parts if part.deciding]
    if not deciding or len([part for part in found if part is None or part.deciding]) > len(deciding):
        reason = f"Missing: {missing}. Run: python cli.py sweep downstream"
        return Verdict(claim.id, claim.title, "not run", evidence.scale, None, None, None, 0, 0, 0, None, "", reason)
    without = [part for part in deciding if math.isnan(part.estimate.se)]
    weakest = without[0] if without else min(deciding, key=lambda part: part.slack)
    answer, reason = _answer(deciding, weakest)
    # a contradiction is shown by the part that contradicts most surely
    shown = min(deciding, key=lambda part: part.p_against) if answer == "contradicted" else weakest
    estimate = shown.estimate
    return Verdict(
        claim=claim.id,
        title=claim.title,
        verdict=answer,
        scale=evidence.scale,
        effect=estimate.effect,
        low=shown.low,
        high=shown.high,
        n_tasks=len(shown.tasks),
        n_seeds=estimate.n_seeds,
        n_groups=estimate.n_groups,
        smallest_visible=estimate.smallest_visible(),
        floor=estimate.floor(),
        reason=reason,
        headline=shown.name,
        parts=parts,
        cells=tuple(dict.fromkeys(cell for part in parts for cell in part.cells)),
    )


def _answer(deciding: Sequence[Part], weakest: Part) -> tuple[Answer, str]:
    """Not comparable: unequal budgets. Inconclusive: something is missing, or an interval reaches its margin.

    Reproduced: every deciding interval lies on the claim's side. Contradicted: one on the other side, after Holm.
    """
    unequal = list(dict.fromkeys(text for part in deciding for text in part.unequal))
    if unequal:
        return "not comparable", f"The searches were unequal on {', '.join(unequal)}. Run the sweep again."
    flaws = list(dict.fromkeys(text for part in deciding for text in part.flaws))
    if flaws:
        return "inconclusive", f"Not decided on part of the evidence: {'; '.join(flaws)}."
    if all(part.slack > 0 for part in deciding):
        if len(deciding) == 1:
            return "reproduced", "The whole interval lies on the claim's side of the margin."
        return "reproduced", f"All {len(deciding)} intervals lie on the claim's side; the weakest is {weakest.name}."
    against = holm([part.p_against for part in deciding])
    opposed = [part for part, p in zip(deciding, against, strict=True) if p < ONE_SIDED]
    if opposed:
        return (
            "contradicted",
            f"The whole interval lies on the other side, after Holm, for: {_listed(opposed, deciding)}.",
        )
    beyond = [part for part in deciding if part.is_beyond]
    undecided = [part for part in deciding if part.slack <= 0 and not part.is_beyond]
    reason = f"The interval reaches the margin for: {_listed(undecided, deciding)}." if undecided else ""
    if beyond:
        reason += (
            f" It lies on the other side, but not after Holm over {len(deciding)}, for: {_listed(beyond, deciding)}."
        )
    return "inconclusive", reason.strip()


def _listed(some: Sequence[Part], deciding: Sequence[Part]) -> str:
    """Names of some of the deciding parts, without the contrast where all of them share it."""
    if len(some) == len(deciding) > 1:
        return f"every one of the {len(deciding)}"
    shared = {part.name.partition(", ")[0] for part in deciding}
    short = len(deciding) > 1 and len(shared) == 1
    return ", ".join(part.name.partition(", ")[2] if short else part.name for part in some)


def _c1(claim: Claim, evidence: Evidence) -> Verdict:
    whole = Contrast(FT, ZERO_SHOT, "context", every_set)
    name = "FT - zero-shot, ID test and all suites"
    parts = [
        pool(evidence, whole, name, side="below"),
        sampled(evidence, whole, name, side="below"),
        pool(evidence, Contrast(FT, ZERO_SHOT, "context"), "FT - zero-shot, ID test", deciding=False, side="below"),
        pool(
            evidence,
            Contrast(FT, ZERO_SHOT, "context", every_suite),
            "FT - zero-shot, all suites",
            deciding=False,
            side="below",
        ),
    ]
    return _decide(claim, evidence, _without_absent(parts), "zeroshot and ft")


def _without_absent(parts: Sequence[Part | None]) -> list[Part | None]:
    """The first part decides and must be there; absent parts beside it are left out."""
    return [parts[0], *(part for part in parts[1:] if part is not None)]


def _c2(claim: Claim, evidence: Evidence) -> Verdict:
    over, kept = Contrast(CAR_FT, FT, "context", every_set), Contrast(CAR_FT, ZERO_SHOT, "context", every_set)
    beside = [
        sampled(evidence, over, "CAR-FT - FT"),
        sampled(evidence, kept, "CAR-FT - zero-shot", margin=-claim.margin),
    ]
    parts = [
        pool(evidence, over, "CAR-FT - FT"),
        pool(evidence, kept, "CAR-FT - zero-shot", margin=-claim.margin),
        *(part for part in beside if part is not None),
    ]
    return _decide(claim, evidence, parts, "zeroshot, ft and car_ft")


def _c3(claim: Claim, evidence: Evidence) -> Verdict:
    contrast, name = Contrast(CAR_FT, FT), "CAR-FT - FT, ID test"
    parts = [
        pool(evidence, contrast, name, margin=-claim.margin),
        sampled(evidence, contrast, name, margin=-claim.margin),
    ]
    verdict = _decide(claim, evidence, _without_absent(parts), "ft and car_ft")
    if verdict.low is None or math.isnan(verdict.low):
        return verdict
    superior = "also superior" if verdict.low > 0 else "not shown to be superior"
    return replace(verdict, reason=f"{verdict.reason} CAR-FT is {superior} (lower bound against 0).")


def _per_suite(claim: Claim, evidence: Evidence, rival: Entry, missing: str) -> Verdict:
    suites = list(dict.fromkeys(s for task in evidence.tasks for s in evidence.card(task).suites))
    every = Contrast(CAR_FT, rival, "top1", every_suite)
    sides = f"CAR-FT - {METHODS[rival.method].label}"
    mean = f"{sides}, mean of suites"
    beside = [pool(evidence, every, mean, deciding=False), sampled(evidence, every, mean)]
    parts = [
        *(pool(evidence, Contrast(CAR_FT, rival, "top1", suite_set(s)), f"{sides}, {s}") for s in suites),
        *(part for part in beside if part is not None),
    ]
    return _decide(claim, evidence, parts, missing)


def _c4(claim: Claim, evidence: Evidence) -> Verdict:
    return _per_suite(claim, evidence, FT, "ft and car_ft")


def _c4b(claim: Claim, evidence: Evidence) -> Verdict:
    return _per_suite(claim, evidence, ZERO_SHOT, "zeroshot and car_ft")


def _c5(claim: Claim, evidence: Evidence) -> Verdict:
    contrast = Contrast(CAR_FT, FT)
    found = contrast.per_task(evidence)
    flaws, unequal = contrast.flaws(evidence, found), contrast.unequal(evidence)
    parts: list[Part | None] = [
        Part(f"CAR-FT - FT, {task}", estimate, cells, (task,), flaws, unequal)
        for task, (estimate, cells) in found.items()
    ]
    for beside in (
        pool(evidence, contrast, "CAR-FT - FT, mean of tasks", deciding=False),
        sampled(evidence, contrast, "CAR-FT - FT, mean of tasks"),
    ):
        parts += [beside] if beside is not None else []
    verdict = _decide(claim, evidence, parts, "ft and car_ft")
    if verdict.verdict == "not run":
        return verdict
    effects = [estimate.effect for estimate, _ in found.values()]
    gained = f"{sum(e > 0 for e in effects)} of {len(effects)} tasks gain"
    absent = sorted(set(DOWNSTREAM_ICONS) - set(found))
    short = f" Only {len(found)} of the {len(DOWNSTREAM_ICONS)} tasks were run." if absent else ""
    answer: Answer = "inconclusive" if verdict.verdict == "reproduced" and short else verdict.verdict
    reason = f"{verdict.reason} {gained} (sign test p = {sign_test(effects):.2f}).{short}"
    return replace(verdict, verdict=answer, reason=reason)


def _c12(claim: Claim, evidence: Evidence) -> Verdict:
    half, half_car = replace(WISE, alpha=FIXED_ALPHA), replace(WISE_CAR, alpha=FIXED_ALPHA)
    fixed, chosen = Contrast(half_car, half, "top1", every_suite), Contrast(WISE_CAR, WISE, "top1", every_suite)
    parts = [
        pool(evidence, fixed, "WiSE(CAR-FT) - WiSE(FT), OOD, alpha 0.5"),
        sampled(evidence, fixed, "WiSE(CAR-FT) - WiSE(FT), OOD, alpha 0.5"),
        pool(evidence, Contrast(half_car, half), "WiSE(CAR-FT) - WiSE(FT), ID, alpha 0.5", deciding=False),
        pool(evidence, chosen, "WiSE(CAR-FT) - WiSE(FT), OOD, alpha by validation", deciding=False),
    ]
    return _decide(claim, evidence, _without_absent(parts), "wise_ft of ft and of car_ft")


DECIDERS: Mapping[str, Callable[[Claim, Evidence], Verdict]] = {
    "C1": _c1,
    "C2": _c2,
    "C3": _c3,
    "C4": _c4,
    "C4b": _c4b,
    "C5": _c5,
    "C12": _c12,
}
