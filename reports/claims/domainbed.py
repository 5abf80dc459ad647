"""C6, measured on DomainBed, and C7, decided from the numbers of others."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from carft.spec.training import Training
from reports.analysis.contrasts import Contrast, ContrastResult, Part, departures, every_suite, pool
from reports.analysis.pairing import Mismatch, contributions, reasons_without_interval
from reports.claims.rules import Claim, Verdict, decide, not_run, supporting
from reports.evidence.evidence import CAR_FT, FT, Entry, Evidence
from reports.evidence.references import SHOWN_BACKBONE, reference_numbers
from reports.evidence.scopes import DOMAINBED
from reports.stats.intervals import Estimate, pooled, two_way

FEWEST_SEEDS = 3


def held_out(evidence: Evidence, entry: Entry) -> ContrastResult:
    """Accuracy of an entry on every held-out domain of DomainBed, and what stands in the way of a decision."""
    estimates, flaws, unequal = {}, [], []
    for task in evidence.wanted_tasks:
        cells = evidence.cells(task, entry) if task in evidence.tasks else ()
        try:
            made = contributions(evidence, cells, evidence.suites(task), "top1") if cells else None
        except Mismatch as mismatch:
            unequal.append(mismatch.message.removesuffix("."))
            continue
        if made is None:
            flaws.append(f"{evidence.label(task)} is missing")
            continue
        estimate = two_way(made)
        if reasons := reasons_without_interval(made, evidence.suites(task), evidence.card(task).group):
            flaws.append(f"{evidence.label(task)} has no interval: it has {reasons}")
        estimates[task] = (estimate, cells)
    return ContrastResult(estimates, (*flaws, *departures(evidence, list(estimates), entry.method)), tuple(unequal))


def average(claim: Claim, evidence: Evidence) -> Verdict:
    """C6: the mean over five sets of the mean over held-out domains, minus the number claimed."""
    found = held_out(evidence, CAR_FT)
    sets: dict[str, ContrastResult] = {}
    for task, accuracy in found.estimates.items():
        sets.setdefault(task.partition("/")[0], replace(found, estimates={})).estimates[task] = accuracy
    absent = [title for name, title in DOMAINBED.items() if name not in sets]
    if absent and not found.unequal:
        return not_run(claim, evidence, f"car_ft on {', '.join(absent)}")
    whole = pooled([of_set.pooled() for of_set in sets.values()]) if sets else Estimate(math.nan, (), 0, 0)
    parts: list[Part | None] = [_part(claim, "average", "CAR-FT, average of five sets", whole, found)]
    for name, of_set in sets.items():
        one = _part(claim, name, f"CAR-FT, {DOMAINBED[name]}", of_set.pooled(), of_set)
        parts.append(replace(one, deciding=False))
    gain = Contrast(CAR_FT, FT, "top1", every_suite)
    parts += supporting(pool(evidence, gain, "CAR-FT - FT, mean of held-out domains", deciding=False))
    verdict = decide(claim, evidence, parts, "car_ft")
    few = verdict.n_seeds < FEWEST_SEEDS
    if not (evidence.scope and evidence.scope.is_of_references):
        start = f"{evidence.scope.model} from '{evidence.scope.pretrained}'" if evidence.scope else "another model"
        words = f"The claim is about {SHOWN_BACKBONE} from OpenAI's weights, this is {start}. {verdict.reason}"
        return replace(verdict, verdict="not comparable", reason=words)
    if few and verdict.verdict in ("reproduced", "contradicted"):
        words = f"Fewer than {FEWEST_SEEDS} seeds. {verdict.reason}"
        return replace(verdict, verdict="inconclusive", reason=words)
    half = 100 * (parts[0].high - parts[0].low) / 2 if parts[0] else 0.0
    words = f"{verdict.reason} Effects are measured minus claimed; the interval is {half:.1f} points to either side."
    return replace(verdict, reason=f"{words} {_protocol_words(evidence)}")


def _protocol_words(evidence: Evidence) -> str:
    """Under which protocol of training and evaluation the studies ran; what CAR-FT chose is not known."""
    study = next(s for s in evidence.studies if s.method == CAR_FT.method)
    training = Training(**{**study.training.content(), "epochs": study.training.epochs})
    length = f"{training.epochs} passes" if training.steps is None else f"{training.steps:,} steps"
    images = f"{training.batch_size} images {'of each domain' if training.domain_balanced else 'of all domains'} a step"
    named = {
        "augmentation": training.augmentation, "schedule": training.schedule, "evaluation view": study.eval_view,
        "holdout": study.holdout, "images of the held-out domain": study.target_split,
    }  # fmt: skip
    settings = ", ".join(f"{name} {value}" for name, value in named.items())
    return f"Protocol: {length}, {images}, {settings}. What CAR-FT used is not published."


def above_fine_tuning(claim: Claim, evidence: Evidence) -> Verdict:
    """C6b: CAR-FT minus plain fine-tuning, mean over held-out domains."""
    gain = Contrast(CAR_FT, FT, "top1", every_suite)
    return decide(claim, evidence, [pool(evidence, gain, "CAR-FT - FT, mean of held-out domains")], "ft and car_ft")


def _part(claim: Claim, name: str, title: str, estimate: Estimate, found: ContrastResult) -> Part:
    claimed = claim.reference(name) or 0.0
    named = f"{title}, minus {100 * claimed:.1f}"
    over = replace(estimate, effect=estimate.effect - claimed)
    return Part(named, over, found.cells, tuple(found.estimates), found.flaws, found.unequal, side="around")


def state_of_the_art(claim: Claim, evidence: Evidence) -> Verdict:
    """C7: from reference numbers alone."""
    rows = reference_numbers()
    rows = rows[(rows["table"] == "domainbed")]
    ours = _ours(rows)
    rivals = rows[rows["method"].isin(claim.rivals)]
    averages = rivals[rivals["dataset"] == "Avg5"]
    best = averages.iloc[int(averages["value"].argmax())]
    lead = ours["Avg5"] - best["value"]
    beaten = []
    for name in DOMAINBED.values():
        of_set = rivals[rivals["dataset"] == name]
        top = of_set.iloc[int(of_set["value"].argmax())]
        if top["value"] > ours[name]:
            beaten.append(f"{name} ({top['method']}, {top['backbone']}: {top['value']} against {ours[name]})")
    without = sorted(set(rivals["method"]) - set(averages["method"]))
    words = [
        "From numbers that others report; nothing was run here, no interval can be given, and it counts apart.",
        f"Of the averages on record CAR-FT's {ours['Avg5']} is the highest (next: {best['method']} {best['value']}).",
    ]
    words += [f"True of the average only: higher is on record for {', '.join(beaten)}."] if beaten else []
    words += [f"No average is on record for {', '.join(without)}."] if without else []
    return Verdict(
        claim.id,
        claim.title,
        "reproduced" if lead > 0 else "contradicted",
        claim.scale,
        lead / 100,
        reason=" ".join(words),
        headline=f"CAR-FT - {best['method']}, average of five sets",
        basis="reference numbers",
    )


def _ours(rows: pd.DataFrame) -> dict[str, float]:
    mine = rows[(rows["method"] == "CAR-FT") & (rows["backbone"] == SHOWN_BACKBONE)]
    return dict(zip(mine["dataset"], mine["value"], strict=True))
