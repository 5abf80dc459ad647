"""The audit of unstated choices: CAR-FT minus FT under every reading that was run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carft.config.frozen_defaults import READING, UNTRAINED
from reports.judge.claims.claim import Verdict, each_once
from reports.judge.claims.ledger import gain_claims
from reports.judge.contrasts.contrast import Contrast, every_suite, pool
from reports.judge.entry import CAR_FT, FT
from reports.judge.evidence import Choices, Evidence
from reports.judge.part import Part
from reports.note import Note
from reports.read.cells import reading_words

#: factor of a reading -> its value in the default reading
DEFAULTS: Mapping[str, Any] = {**READING, "crop": UNTRAINED["crop"]}


@dataclass(frozen=True)
class ReadingResult:
    """What one reading came to: verdicts on the gains, and place -> part that the curve shows.

    unequal: what the two sides differ in. Without an estimate there are no verdicts and parts.
    """

    choices: Choices
    verdicts: Mapping[str, Verdict]
    shown: Mapping[str, Part]
    unequal: Sequence[Note]

    @property
    def label(self) -> str:
        """The choices that differ from the default reading."""
        return reading_words(dict(self.choices))

    @property
    def cells(self) -> tuple[str, ...]:
        """Those behind the parts that are shown."""
        cells: list[str] = []
        for part in self.shown.values():
            cells += part.cells
        return each_once(cells)

    def parts(self, claim: str) -> Sequence[Part]:
        """The deciding parts of a claim; none where it was not run."""
        return self.verdicts[claim].deciding if claim in self.verdicts else ()

    def holds(self, claim: str) -> bool:
        """Whether a claim holds under this reading, with whole evidence."""
        verdict = self.verdicts.get(claim)
        return verdict is not None and verdict.direction == "for" and not (verdict.damage or verdict.unequal)


def reading_results(evidence: Evidence) -> list[ReadingResult]:
    """All readings of a scope under which CAR-FT was searched, the default first; also those without an estimate."""
    gains, readings = gain_claims(), []
    for reading in sorted(evidence.readings, key=lambda choices: (len(choices), str(choices))):
        view = evidence.under(reading)
        if not any(view.searches(task, CAR_FT.method) for task in view.tasks):
            continue
        on_test = Contrast(CAR_FT, FT).estimate(view)
        if not on_test.estimates:
            readings.append(ReadingResult(reading, {}, {}, on_test.unequal))
            continue
        mean = pool(view, Contrast(CAR_FT, FT, "top1", every_suite), "CAR-FT - FT", "mean OOD")
        by_claim: dict[str, Verdict] = {}
        unequal: list[Note] = []
        for claim in gains.values():
            verdict = claim.decide(view)
            by_claim[claim.id] = verdict
            unequal += verdict.unequal
        by_place: dict[str, Part] = {}
        on_suites = by_claim[gains["suites"].id].deciding
        for part in (*by_claim[gains["ID test"].id].deciding, mean, *on_suites):
            if part is not None:
                by_place[part.place] = part
        readings.append(ReadingResult(reading, by_claim, by_place, each_once(unequal)))
    return readings
