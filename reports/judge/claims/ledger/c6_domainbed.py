"""C6 and C6b: the DomainBed average of 78.5, and more accuracy than fine-tuning on its held-out domains."""

import math
from dataclasses import replace

from reports.judge.claims.claim import Claim, Reference, Verdict
from reports.judge.claims.rules import MeanClaim, beside, decide, not_run
from reports.judge.contrasts.contrast import Contrast, ContrastResult, every_suite
from reports.judge.contrasts.missing import departures
from reports.judge.entry import CAR_FT, FT
from reports.judge.estimate import Estimate
from reports.judge.evidence import Evidence
from reports.judge.intervals.pooling import pooled
from reports.judge.levels import levels_by_task
from reports.judge.part import Part
from reports.note import Note
from reports.read.references import DOMAINBED, SHOWN_BACKBONE

FEWEST_SEEDS = 3
HELD_OUT = "mean of held-out domains"
OVER_FT = Contrast(CAR_FT, FT, "top1", every_suite)


class DomainBedAverage(Claim):
    """The mean over five sets of the mean over held-out domains, minus the number claimed."""

    def decide(self, evidence: Evidence) -> Verdict:
        levels = levels_by_task(evidence, CAR_FT, "top1", every_suite)
        flaws: list[Note] = []
        for task in evidence.wanted_tasks:
            if task not in levels:
                flaws.append(Note("tasks", f"{task} is missing"))
        for task, (estimate, _) in levels.items():
            if math.isnan(estimate.se):
                flaws.append(Note("interval", f"{task} has no interval"))
        result = ContrastResult(levels, (*flaws, *departures(evidence, list(levels), CAR_FT.method)))
        sets: dict[str, ContrastResult] = {}
        for task, level in levels.items():
            sets.setdefault(task.partition("/")[0], replace(result, estimates={})).estimates[task] = level
        absent = [title for name, title in DOMAINBED.items() if name not in sets]
        if absent:
            return not_run(self, evidence, f"car_ft on {', '.join(absent)}")
        whole = pooled([of_set.pooled() for of_set in sets.values()])
        parts = [_part(self, "average", "average of five sets", whole, result)]
        for name, of_set in sets.items():
            part = _part(self, name, DOMAINBED[name], of_set.pooled(), of_set)
            parts.append(replace(part, deciding=False))
        parts += beside(evidence, "CAR-FT - FT", {HELD_OUT: OVER_FT})
        verdict = decide(self, evidence, parts, "car_ft")
        scope = evidence.scope
        if not scope.is_of_references:
            here = f"{scope.model} from '{scope.pretrained}'"
            model = f"the model ({here}, and the claim is about {SHOWN_BACKBONE} from OpenAI's weights)"
            return replace(verdict, unequal=(Note("model", model), *verdict.unequal))
        if verdict.number.n_seeds < FEWEST_SEEDS:
            few_seeds = Note("seeds", f"fewer than {FEWEST_SEEDS} seeds")
            verdict = replace(verdict, damage=(*verdict.damage, few_seeds))
        half = f"{50 * (parts[0].high - parts[0].low):.1f} points to either side"
        return verdict.with_reason(f"Effects are measured minus claimed; the interval is {half}.")


def _part(claim: Claim, name: str, title: str, estimate: Estimate, result: ContrastResult) -> Part:
    """What CAR-FT reaches on a set, minus what is claimed of it. name: of the reference; title: of the set."""
    (claimed,) = [one.value / 100 for one in claim.references if one.set == name]
    over = replace(estimate, effect=estimate.effect - claimed)
    return result.part("CAR-FT", over, f"{title}, minus {100 * claimed:.1f}", side="around", by_task=())


AVERAGE = DomainBedAverage(
    id="C6",
    title="DomainBed average of 78.5",
    statement="CAR-FT of CLIP ViT-B/16 reaches an average of 78.5 % on DomainBed.",
    rule=(
        "Leave-one-domain-out accuracy, mean over held-out domains per set and over the five "
        "sets, winners by training-domain validation, at least 3 seeds: 78.5 inside the interval."
    ),
    source="abstract of arXiv 2211.16175 (the average); the five sets from Lyou et al., Table 1",
    asked_of=("domainbed",),
    needs="suites",
    scale="paper",
    references=(
        Reference("average", "Avg5", "CAR-FT", 78.5, "paper"),
        Reference("vlcs", "VLCS", "CAR-FT", 85.5),
        Reference("pacs", "PACS", "CAR-FT", 96.8),
        Reference("officehome", "OfficeHome", "CAR-FT", 85.7),
        Reference("terraincognita", "TerraIncognita", "CAR-FT", 61.9),
        Reference("domainnet", "DomainNet", "CAR-FT", 62.5),
    ),
)

HELD_OUT_DOMAINS = MeanClaim(
    id="C6b",
    title="Higher than plain fine-tuning on held-out domains",
    statement="On domains that training never saw, CAR-FT is more accurate than plain fine-tuning.",
    rule=(
        "CAR-FT minus FT, top-1 on the held-out domain, mean over domains, winners by training-"
        "domain validation: lower bound above 0."
    ),
    source=(
        "what 'superior out-of-distribution performance' says of DomainBed, where no number of "
        "plain fine-tuning is first-hand: 78.5 is 17.4 above that of MIRO's authors (miro issue 6), 8.0 above one with "
        "a random head, 1.9 above CLIPood's (CLIPood issue 10)"
    ),
    asked_of=("domainbed",),
    needs="suites",
    topic="Out of distribution",
    headline="direction",
    presumes="forgetting",
    contrast=OVER_FT,
    sides="CAR-FT - FT",
    place=HELD_OUT,
)
