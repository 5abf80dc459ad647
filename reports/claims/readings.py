"""The audit of unstated choices: CAR-FT minus FT under every reading that was run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from carft.config.cell import Reading, Training
from reports.analysis.contrasts import Contrast, Part, every_suite, pool
from reports.claims.claim import NOT_COMPARABLE, NOT_RUN, WORDS, Answer, Direction
from reports.claims.rules import direction_of, gain_claim, gain_claims
from reports.evidence.evidence import CAR_FT, FT, Choices, Evidence
from reports.stats.ranks import ONE_SIDED, holm_one_sided

#: factor of a reading -> its default
DEFAULTS: Mapping[str, Any] = {**asdict(Reading()), "crop": Training().crop}


@dataclass(frozen=True)
class Specified:
    """What one reading came to: claim -> its deciding parts, and the parts that the curve shows.

    unequal: why its two sides cannot be compared, where that leaves it without an estimate.
    """

    choices: Choices
    parts: Mapping[str, Sequence[Part]]
    shown: Mapping[str, Part]
    unequal: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The choices that differ from the default reading."""
        return ", ".join(f"{name} {value}" for name, value in self.choices) or "default"

    def word(self, claim: str) -> Answer:
        """What the claim's intervals say under this reading, in the word of a verdict."""
        parts = self.parts.get(claim, ())
        if not parts or any(part.unequal for part in parts):
            return NOT_COMPARABLE if parts else NOT_RUN
        decided, suggested, _ = WORDS[self.direction(claim) or "open"]
        return suggested if parts[0].estimate.n_searches == 1 else decided

    def direction(self, claim: str) -> Direction | None:
        """What the claim's intervals say under this reading alone; None where it was not run or is in doubt."""
        parts = self.parts.get(claim, ())
        return direction_of(parts)[0] if parts and not any(p.flaws or p.unequal for p in parts) else None


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
        parts = {claim.id: claim.gains(view) for claim in gain_claims()}
        whole, suites = (parts[gain_claim(gain).id] for gain in ("ID test", "suites"))
        shown = {part.name: part for part in (*whole, *filter(None, [mean]), *suites)}
        readings.append(Specified(reading, {k: v for k, v in parts.items() if v}, shown))
    return readings


def opposed(readings: Sequence[Specified], claim: str) -> list[Specified]:
    """Readings under which a claim is contradicted, after Holm over all readings and their deciding parts."""
    against = [(s, p.p_against) for s in readings for p in s.parts.get(claim, ()) if not (p.flaws or p.unequal)]
    adjusted = holm_one_sided([p for _, p in against])
    hit = [s.choices for (s, _), p in zip(against, adjusted, strict=True) if p < ONE_SIDED]
    return [s for s in readings if s.choices in hit]


def holding(readings: Sequence[Specified], claim: str) -> list[Specified]:
    """Readings under which a claim holds."""
    return [s for s in readings if s.direction(claim) == "for"]


def never_changed(readings: Sequence[Specified]) -> list[str]:
    """The open choices that no reading changes."""
    return sorted({*DEFAULTS} - {name for s in readings for name, _ in s.choices})
