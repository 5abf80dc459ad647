"""C11: the gain does not hang on a choice that the paper leaves open."""

import math
from collections.abc import Sequence
from dataclasses import replace

from reports.analysis.contrasts import Part
from reports.claims.claim import Claim, Direction, Verdict
from reports.claims.ledger import gain_claims
from reports.claims.power import ENOUGH, claim_power, weak_words
from reports.claims.readings import DEFAULTS, ReadingResult, reading_results
from reports.claims.rules import not_run, weakest_of
from reports.claims.verdicts import can_be_asked, readings_command
from reports.evidence.evidence import Evidence
from reports.stats.ranks import ONE_SIDED, holm_one_sided


class NoOpenChoice(Claim):
    """The gains under every reading."""

    def decide(self, evidence: Evidence) -> Verdict:
        readings = reading_results(evidence)
        asked = [claim.id for claim in gain_claims().values() if can_be_asked(claim.needs, evidence)]
        if len(readings) < 2 or not any(s.shown for s in readings):
            return not_run(self, evidence, "readings with finished cells of ft and car_ft", readings_command(evidence))
        direction, finding = _direction(readings, asked)
        power, surest = _power(readings, asked)
        is_weak = direction == "open" and power < ENOUGH and not _never_changed(readings)
        without = [s.label for s in readings if not s.shown]
        on_test, on_suites = (gain_claims()[gain].id for gain in ("ID test", "suites"))
        weakest = weakest_of([part for s in readings for part in s.parts(on_suites) or s.parts(on_test)])
        reading = next(s.label for s in readings if any(weakest is part for part in s.shown.values()))
        shares = ", ".join(f"{c} {sum(s.holds(c) for s in readings)} of {len(readings)}" for c in asked)
        return replace(
            Verdict.on(self, evidence, (), weakest),
            direction=direction,
            finding=f"{finding} Holds in: {shares} readings.",
            unequal=tuple(dict.fromkeys(text for s in readings for text in s.unequal)),
            damage=(f"no estimate under {'; '.join(without)}",) if without else (),
            underpowered=weak_words(surest, power, evidence.card(evidence.tasks[0]).group) if is_weak else "",
            headline=f"{weakest.name}, under {reading} (weakest)",
            cells=tuple(dict.fromkeys(cell for s in readings for p in s.shown.values() for cell in p.cells)),
            power_to_show=None if math.isnan(power) else power,
        )


def _power(readings: Sequence[ReadingResult], asked: Sequence[str]) -> tuple[float, Sequence[Part]]:
    """The most that the power of all claims under all readings can be, that of the weakest, and its parts.

    NaN where a claim was not run under a reading, or with part of the evidence alone.
    """
    groups = [s.parts(claim) for s in readings for claim in asked]
    if not all(groups) or any(part.flaws for parts in groups for part in parts):
        return math.nan, ()
    powers = [claim_power(parts) for parts in groups]
    weakest = min(range(len(groups)), key=powers.__getitem__)
    return (math.nan, ()) if any(map(math.isnan, powers)) else (powers[weakest], groups[weakest])


def _direction(readings: Sequence[ReadingResult], asked: Sequence[str]) -> tuple[Direction, str]:
    if all(s.holds(c) for s in readings for c in asked):
        words = f"{', '.join(asked)} hold under all {len(readings)} readings"
        if same := _never_changed(readings):
            return "open", f"{words}, but none changes {', '.join(same)}."
        return "for", f"{words}."
    for claim in asked:
        holds, against = [s for s in readings if s.holds(claim)], _opposed(readings, claim)
        if holds and against:
            words = f"{claim} holds under {holds[0].label} and is contradicted under {against[0].label}."
            return "against", words
    return "open", "No claim both holds and is contradicted, and not all hold everywhere."


def _opposed(readings: Sequence[ReadingResult], claim: str) -> list[ReadingResult]:
    """Readings under which a claim is contradicted, after Holm over all readings and their deciding parts."""
    parts = [(s, part) for s in readings for part in s.parts(claim) if not (part.flaws or part.unequal)]
    adjusted = holm_one_sided([part.p_against for _, part in parts])
    return [s for (s, _), p in zip(parts, adjusted, strict=True) if p < ONE_SIDED]


def _never_changed(readings: Sequence[ReadingResult]) -> list[str]:
    """The open choices that no reading changes."""
    return sorted({*DEFAULTS} - {name for s in readings for name, _ in s.choices})


CLAIM = NoOpenChoice(
    id="C11",
    title="The gain does not hang on an unstated choice",
    statement="C3, C4 and C5 hold under every reading of what the paper leaves open.",
    rule=(
        "C3, C4 and C5 (on the one task) decided under every reading: all hold. Contradicted if "
        "one holds under a reading and is contradicted, after Holm over readings, under another."
    ),
    source="question of this audit; the readings are those of docs/method.md",
    asked_of=("nine", "single", "imagenet"),
    needs="readings",
)
