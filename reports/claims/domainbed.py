"""C6, measured on DomainBed, and C7, decided from the numbers of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from reports.contrasts import Contrast, Part, every_suite, pool
from reports.evidence import CAR_FT, FT, Entry, Evidence
from reports.pairing import contributions
from reports.references import reference_numbers
from reports.rules import Claim, Verdict, beside, decide, not_run
from reports.scopes import DOMAINBED
from reports.statistics import Estimate, pooled, shifted, two_way

FEWEST_SEEDS = 3
REFERENCE_MODEL = "ViT-B-16"
BACKBONE = "CLIP ViT-B/16"


def held_out(evidence: Evidence, entry: Entry) -> dict[str, dict[str, tuple[Estimate, tuple[str, ...]]]]:
    """set -> task -> (accuracy on the held-out domain, cells) of an entry."""
    found: dict[str, dict[str, tuple[Estimate, tuple[str, ...]]]] = {}
    for task in evidence.tasks:
        cells = evidence.cells(task, entry)
        made = contributions(evidence, cells, evidence.suites(task), "top1") if cells else None
        if made is not None:
            found.setdefault(task.partition("/")[0], {})[task] = (two_way(made), cells)
    return found


def average(claim: Claim, evidence: Evidence) -> Verdict:
    """C6: the mean over five sets of the mean over held-out domains, minus the number claimed."""
    found = held_out(evidence, CAR_FT)
    absent = [title for name, title in DOMAINBED.items() if name not in found]
    if absent:
        return not_run(claim, evidence, f"car_ft on {', '.join(absent)}")
    sets = {name: pooled([e for e, _ in tasks.values()]) for name, tasks in found.items()}
    parts: list[Part | None] = [
        _part(claim, "average", "CAR-FT, average of five sets", pooled(list(sets.values())), found)
    ]
    for name, estimate in sets.items():
        one = _part(claim, name, f"CAR-FT, {DOMAINBED[name]}", estimate, {name: found[name]})
        parts.append(replace(one, deciding=False))
    gain = Contrast(CAR_FT, FT, "top1", every_suite)
    parts += beside(pool(evidence, gain, "CAR-FT - FT, mean of held-out domains", deciding=False))
    verdict = decide(claim, evidence, parts, "car_ft")
    few = verdict.n_seeds < FEWEST_SEEDS
    model = evidence.scope.model if evidence.scope else ""
    if not model.startswith(REFERENCE_MODEL):
        words = f"The claim is about {BACKBONE}, this is {model}. {verdict.reason}"
        return replace(verdict, verdict="not comparable", reason=words)
    if few and verdict.verdict in ("reproduced", "contradicted"):
        words = f"Fewer than {FEWEST_SEEDS} seeds. {verdict.reason}"
        return replace(verdict, verdict="inconclusive", reason=words)
    half = 100 * (parts[0].high - parts[0].low) / 2 if parts[0] else 0.0
    words = f"{verdict.reason} Effects are measured minus claimed; the interval is {half:.1f} points to either side."
    return replace(verdict, reason=words)


def _part(
    claim: Claim,
    name: str,
    title: str,
    estimate: Estimate,
    found: Mapping[str, Mapping[str, tuple[Estimate, tuple[str, ...]]]],
) -> Part:
    claimed = claim.reference(name) or 0.0
    tasks = tuple(task for of_set in found.values() for task in of_set)
    cells = tuple(cell for of_set in found.values() for _, used in of_set.values() for cell in used)
    named = f"{title}, minus {100 * claimed:.1f}"
    return Part(named, shifted(estimate, -claimed), cells, tasks, side="around")


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
        "From numbers that others report; nothing was run here, no interval can be given.",
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
        *(None,) * 2,
        0,
        0,
        0,
        None,
        "",
        " ".join(words),
        headline=f"CAR-FT - {best['method']}, average of five sets",
        basis="reference numbers",
    )


def _ours(rows: pd.DataFrame) -> dict[str, float]:
    mine = rows[(rows["method"] == "CAR-FT") & (rows["backbone"] == BACKBONE)]
    return dict(zip(mine["dataset"], mine["value"], strict=True))
