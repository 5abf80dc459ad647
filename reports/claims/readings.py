"""The audit of unstated choices: CAR-FT minus FT under every reading that was run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from carft.config.cell import Reading, Training
from reports.analysis.contrasts import Contrast, Part, every_suite, pool
from reports.claims.claim import Verdict, each_once
from reports.claims.ledger import gain_claims
from reports.evidence.evidence import CAR_FT, FT, Choices, Evidence
from reports.evidence.inequality import Inequality

#: factor of a reading -> its default
DEFAULTS: Mapping[str, Any] = {**asdict(Reading()), "crop": Training().crop}


@dataclass(frozen=True)
class ReadingResult:
    """What one reading came to: verdicts on the gains, and place -> part that the curve shows.

    unequal: what the two sides differ in. Without an estimate there are no verdicts and parts.
    """

    choices: Choices
    verdicts: Mapping[str, Verdict]
    shown: Mapping[str, Part]
    unequal: Sequence[Inequality]

    @property
    def label(self) -> str:
        """The choices that differ from the default reading."""
        return ", ".join(f"{name} {value}" for name, value in self.choices) or "default"

    @property
    def cells(self) -> tuple[str, ...]:
        """Those behind the parts that are shown."""
        return each_once(part.cells for part in self.shown.values())

    def parts(self, claim: str) -> Sequence[Part]:
        """The deciding parts of a claim; none where it was not run."""
        return self.verdicts[claim].deciding if claim in self.verdicts else ()

    def holds(self, claim: str) -> bool:
        """Whether a claim holds under this reading, with whole evidence."""
        verdict = self.verdicts.get(claim)
        return verdict is not None and verdict.direction == "for" and not (verdict.damage or verdict.unequal)


def reading_results(evidence: Evidence) -> list[ReadingResult]:
    """All readings of a scope under which CAR-FT was searched, the default first; also those without an estimate."""
    readings = []
    for reading in sorted(evidence.readings, key=lambda choices: (len(choices), str(choices))):
        view = evidence.under(reading)
        if not any(view.searches(task, CAR_FT.method) for task in view.tasks):
            continue
        on_test = Contrast(CAR_FT, FT).estimate(view)
        if not on_test.estimates:
            readings.append(ReadingResult(reading, {}, {}, on_test.unequal))
            continue
        mean = pool(view, Contrast(CAR_FT, FT, "top1", every_suite), "CAR-FT - FT", "mean OOD")
        verdicts = {gain: claim.decide(view) for gain, claim in gain_claims().items()}
        shown = [*verdicts["ID test"].deciding, mean, *verdicts["suites"].deciding]
        by_claim, by_place = {v.claim: v for v in verdicts.values()}, {part.place: part for part in shown if part}
        unequal = each_once(verdict.unequal for verdict in verdicts.values())
        readings.append(ReadingResult(reading, by_claim, by_place, unequal))
    return readings
