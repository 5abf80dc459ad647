"""C11: the gain does not hang on a choice that the paper leaves open."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, compress

from reports.judge.claims.claim import Claim, Direction, Verdict, each_once
from reports.judge.claims.ledger import gain_claims
from reports.judge.claims.readings import DEFAULTS, ReadingResult, reading_results
from reports.judge.claims.rules import are_against, not_run, weakest_of
from reports.judge.claims.verdicts import can_be_asked, readings_command
from reports.judge.evidence import Evidence
from reports.judge.part import Part
from reports.note import Note


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
            missing = "readings with finished cells of ft and car_ft"
            return not_run(self, evidence, missing, readings_command(evidence))
        direction, reason = _under(readings, asked)
        weakest, of_weakest = _weakest(readings)
        shown = Verdict.on(self, evidence, (), weakest)
        searches = min(part.estimate.n_searches for part in chain.from_iterable(groups))
        verdict = replace(
            shown,
            number=replace(
                shown.number, part=f"{weakest.name}, under {of_weakest.label} (weakest)", n_searches=searches
            ),
            direction=direction,
            reasons=(reason,),
            unequal=each_once(unequal),
            cells=each_once(cells),
        )
        if lost:
            verdict = replace(verdict, damage=(Note("readings", f"no estimate under {'; '.join(lost)}"),))
        return verdict


def _under(readings: Sequence[ReadingResult], asked: Sequence[str]) -> tuple[Direction, str]:
    """How the gains hold under all readings, and that in sentences.

    For: all claims hold under all readings, which change all choices. Against: one holds and is contradicted.
    """
    unchanged = set(DEFAULTS)
    for reading in readings:
        unchanged.difference_update(dict(reading.choices))
    counts: dict[str, int] = {}
    turned = ""
    for claim in asked:
        held = [reading for reading in readings if reading.holds(claim)]
        against = _opposed(readings, claim)
        counts[claim] = len(held)
        if held and against and not turned:
            turned = f"{claim} holds under {held[0].label} and is contradicted under {against[0].label}."
    direction: Direction = "open"
    reason = "No claim both holds and is contradicted, and not all hold everywhere."
    if turned:
        direction, reason = "against", turned
    elif all(count == len(readings) for count in counts.values()):
        direction = "open" if unchanged else "for"
        but = f", but none changes {', '.join(sorted(unchanged))}" if unchanged else ""
        reason = f"{', '.join(asked)} hold under all {len(readings)} readings{but}."
    shares = ", ".join(f"{claim} {count} of {len(readings)}" for claim, count in counts.items())
    return direction, f"{reason} Holds in: {shares} readings."


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
