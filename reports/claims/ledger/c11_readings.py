"""C11: the gain does not hang on a choice that the paper leaves open."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress

import numpy as np

from reports.analysis.contrasts import Part
from reports.analysis.flaws import Flaw
from reports.claims.claim import Claim, Decision, Direction, Ground, Lack, Missing, Verdict, each_once
from reports.claims.ledger import gain_claims
from reports.claims.power import claim_power
from reports.claims.readings import DEFAULTS, ReadingResult, reading_results
from reports.claims.rules import are_against, not_run, weakest_of
from reports.claims.verdicts import can_be_asked, readings_command
from reports.evidence.evidence import Evidence
from reports.evidence.note import Note


@dataclass(frozen=True)
class ReadingsLost(Flaw):
    """Readings, by label, that have no estimate."""

    readings: tuple[str, ...]


@dataclass(frozen=True)
class UnderReadings(Ground):
    """How the gains hold under all readings."""

    direction: Direction
    held: tuple[tuple[str, int], ...]
    """Of each claim the number of readings under which it holds."""
    count: int
    """Of readings."""
    unchanged: tuple[str, ...]
    """Open choices that no reading changes."""
    turned: tuple[str, str, str] | None
    """(claim, reading under which it holds, reading under which it is contradicted)."""
    weakest: Part
    weakest_reading: str


class NoOpenChoice(Claim):
    """The gains under every reading."""

    def decide(self, evidence: Evidence) -> Verdict:
        readings = reading_results(evidence)
        asked = [claim.id for claim in gain_claims().values() if can_be_asked(claim.needs, evidence)]
        lost: list[str] = []
        groups: list[Sequence[Part]] = []
        unequal: list[Note] = []
        cells: list[str] = []
        for reading in readings:
            if not reading.shown:
                lost.append(reading.label)
            groups += [reading.parts(claim) for claim in asked]
            unequal += reading.unequal
            cells += reading.cells
        if len(readings) < 2 or len(lost) == len(readings):
            lack = Missing(Lack.READINGS, ("ft", "car_ft"), command=readings_command(evidence))
            return not_run(self, evidence, lack)
        ground = _under(readings, asked)
        power = _power(groups)
        decision = Decision(ground.direction, (ground,), power=None if math.isnan(power) else power)
        shown = Verdict.on(self, evidence, (), ground.weakest)
        searches = min(part.estimate.n_searches for part in chain.from_iterable(groups))
        verdict = replace(
            shown,
            number=replace(shown.number, n_searches=searches),
            decision=decision,
            unequal=each_once(unequal),
            cells=each_once(cells),
        )
        if lost:
            verdict = replace(verdict, damage=(ReadingsLost(tuple(lost)),))
        return verdict


def _power(groups: Sequence[Sequence[Part]]) -> float:
    """The most that the power of all claims under all readings can be, that of the weakest.

    groups: the deciding parts of each claim under each reading. NaN where a claim was not run under a reading, or with
    part of the evidence alone.
    """
    powers = []
    for parts in groups:
        if any(part.flaws for part in parts):
            return math.nan
        powers.append(claim_power(parts))
    return float(np.min(powers))


def _under(readings: Sequence[ReadingResult], asked: Sequence[str]) -> UnderReadings:
    """For: all claims hold under all readings, which change all choices. Against: one holds and is contradicted."""
    unchanged = set(DEFAULTS)
    for reading in readings:
        unchanged.difference_update(dict(reading.choices))
    counts = []
    turned = None
    for claim in asked:
        held = [reading for reading in readings if reading.holds(claim)]
        against = _opposed(readings, claim)
        counts.append((claim, len(held)))
        if held and against and turned is None:
            turned = claim, held[0].label, against[0].label
    direction: Direction = "open"
    if turned:
        direction = "against"
    elif not unchanged and all(count == len(readings) for _, count in counts):
        direction = "for"
    weakest, reading = _weakest(readings)
    unchanged_names = tuple(sorted(unchanged))
    return UnderReadings(direction, tuple(counts), len(readings), unchanged_names, turned, weakest, reading.label)


def _weakest(readings: Sequence[ReadingResult]) -> tuple[Part, ReadingResult]:
    """The weakest part on suites, or without those on the ID test set, and its reading."""
    on_test, on_suites = gain_claims()["ID test"].id, gain_claims()["suites"].id
    shown: list[tuple[Part, ReadingResult]] = []
    for reading in readings:
        shown += [(part, reading) for part in reading.parts(on_suites) or reading.parts(on_test)]
    weakest = weakest_of([part for part, _ in shown])
    return next(pair for pair in shown if pair[0] is weakest)


def _opposed(readings: Sequence[ReadingResult], claim: str) -> list[ReadingResult]:
    """Readings under which a claim is contradicted, after Holm over all readings and their deciding parts."""
    parts, of_part = [], []
    for reading in readings:
        for part in reading.parts(claim):
            if not (part.flaws or part.unequal):
                parts.append(part)
                of_part.append(reading)
    return list(compress(of_part, are_against(parts)))


CLAIM = NoOpenChoice(
    id="C11",
    title="The gain does not hang on an unstated choice",
    statement="C3, C4 and C5 hold under every reading of what the paper leaves open.",
    rule=(
        "C3, C4 and C5 (on the one task) decided under every reading: all hold. Contradicted if "
        "one holds under a reading and is contradicted, after Holm over readings, under another."
    ),
    source="question of this audit; the readings are those of docs/method.md",
    asked_of=("several", "single", "imagenet"),
    needs="readings",
)
