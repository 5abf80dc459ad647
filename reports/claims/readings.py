"""The audit of unstated choices: CAR-FT minus FT under every reading that was run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from carft.config.cell import Reading, Training
from reports.analysis.contrasts import Contrast, Part, every_suite, pool
from reports.claims.claim import Verdict
from reports.claims.rules import gain_claim, gain_claims
from reports.evidence.evidence import CAR_FT, FT, Choices, Evidence
from reports.stats.ranks import ONE_SIDED, holm_one_sided

#: factor of a reading -> its default
DEFAULTS: Mapping[str, Any] = {**asdict(Reading()), "crop": Training().crop}


@dataclass(frozen=True)
class Specified:
    """What one reading came to: verdicts on the gains, and name -> part that the curve shows.

    unequal: why its two sides cannot be compared, where that leaves it without an estimate.
    """

    choices: Choices
    verdicts: Mapping[str, Verdict]
    shown: Mapping[str, Part]
    unequal: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The choices that differ from the default reading."""
        return ", ".join(f"{name} {value}" for name, value in self.choices) or "default"

    @cached_property
    def parts(self) -> Mapping[str, Sequence[Part]]:
        """Claim -> its deciding parts, of the claims that were run."""
        return {claim: verdict.deciding for claim, verdict in self.verdicts.items() if verdict.deciding}

    def holds(self, claim: str) -> bool:
        """Whether a claim holds under this reading, with whole evidence."""
        verdict = self.verdicts.get(claim)
        return verdict is not None and verdict.direction == "for" and not (verdict.damage or verdict.unequal)


def specifications(evidence: Evidence) -> list[Specified]:
    """All readings of a scope under which CAR-FT was searched, the default first; also those without an estimate."""
    readings = []
    for reading in sorted(evidence.readings, key=lambda choices: (len(choices), str(choices))):
        view = evidence.under(reading)
        if not any(view.searches(task, CAR_FT.method) for task in view.tasks):
            continue
        on_test = Contrast(CAR_FT, FT).estimate(view)
        if not on_test.estimates:
            readings.append(Specified(reading, {}, {}, on_test.unequal))
            continue
        mean = pool(view, Contrast(CAR_FT, FT, "top1", every_suite), "mean OOD")
        verdicts = {claim.id: claim.decide(view) for claim in gain_claims()}
        whole, suites = (verdicts[gain_claim(gain).id].deciding for gain in ("ID test", "suites"))
        shown = [*whole, *filter(None, [mean]), *suites]
        named = {part.name.removeprefix("CAR-FT - FT, "): part for part in shown}
        readings.append(Specified(reading, verdicts, named))
    return readings


def opposed(readings: Sequence[Specified], claim: str) -> list[Specified]:
    """Readings under which a claim is contradicted, after Holm over all readings and their deciding parts."""
    against = [(s, p.p_against) for s in readings for p in s.parts.get(claim, ()) if not (p.flaws or p.unequal)]
    adjusted = holm_one_sided([p for _, p in against])
    hit = [s.choices for (s, _), p in zip(against, adjusted, strict=True) if p < ONE_SIDED]
    return [s for s in readings if s.choices in hit]


def never_changed(readings: Sequence[Specified]) -> list[str]:
    """The open choices that no reading changes."""
    return sorted({*DEFAULTS} - {name for s in readings for name, _ in s.choices})
