"""C10: the gain is no artefact of tuning."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reports.analysis.contrasts import OF_CARD, Part, every_suite, id_test, oracle, suite_set
from reports.claims.claim import Claim, Direction, Verdict
from reports.claims.ledger import gain_claims
from reports.claims.rules import not_run, sweep_command
from reports.evidence.evidence import ORACLE, Evidence
from reports.stats.ranks import ONE_SIDED, holm_one_sided

Pair = tuple[Part, Part]  # a gain under ID validation, and the same under oracle selection
NO_GAIN = "No gain held under validation, so there is none that could be an artefact."


class NoArtefact(Claim):
    """The gains under both ways of selecting, side by side."""

    def decide(self, evidence: Evidence) -> Verdict:
        asked = [claim for claim in gain_claims().values() if evidence.scope.family.kind in claim.asked_of]
        gains = [(claim, part) for claim in asked for part in claim.decide(evidence).deciding]
        if not gains:
            return not_run(self, evidence, "ft and car_ft")
        pairs = _pairs(evidence, gains)
        if pairs is None:
            missing = "search cells that were evaluated on test (sweeps never do so unless asked)"
            return not_run(self, evidence, missing, f"{sweep_command(evidence)} --oracle")
        held = [pair for pair in pairs if pair[0].slack > 0]
        against = holm_one_sided([twin.p_against for _, twin in held])
        turned = [part.name for (part, _), p in zip(held, against, strict=True) if p < ONE_SIDED]
        moved = [part.name for part, twin in pairs if not part.low <= twin.estimate.effect <= part.high]
        direction: Direction = "against" if turned else "open" if moved else "for"
        finding = {
            "against": "Held under validation; under oracle selection the whole interval lies on the other side, after "
            f"Holm, for: {', '.join(turned)}.",
            "open": f"Oracle selection leaves the interval under validation for: {', '.join(moved)}.",
            "for": f"All {len(pairs)} effects under oracle selection lie inside their intervals.",
        }[direction]
        gaps = [twin.estimate.effect - part.estimate.effect for part, twin in pairs]
        gap, (widest, _) = max(zip(gaps, pairs, strict=True), key=lambda of_pair: abs(of_pair[0]))
        return replace(
            Verdict.on(self, evidence, [part for pair in pairs for part in pair], widest),
            direction=direction,
            finding=f"{finding} The widest gap, oracle minus validation, is {100 * gap:+.1f} points.",
            effect=gap,
            low=None,
            high=None,
            smallest_visible=None,
            headline=f"widest gap: {widest.name.replace(': ', ', ', 1)}",
            unaskable="" if held else NO_GAIN,
        )


def _pairs(evidence: Evidence, gains: Sequence[tuple[Claim, Part]]) -> list[Pair] | None:
    """Every part with its twin under oracle selection: by the test set, or for suites by their mean.

    None where search cells were not evaluated.
    """
    on_test, of_card = oracle(evidence, id_test), oracle(evidence, id_test, what=OF_CARD)
    if on_test is None or of_card is None:
        return None
    pairs = []
    for claim, part in gains:
        where = part.name.removeprefix("CAR-FT - FT, ")
        estimate, cells = on_test.pooled(), on_test.cells
        if claim.gain == "suites":
            on_suites = oracle(evidence, suite_set(where), every_suite)
            if on_suites is None:
                return None
            estimate, cells = on_suites.pooled(), on_suites.cells
        elif claim.gain == "tasks":
            estimate = of_card.estimates[part.tasks[0]][0]
        name = f"{claim.id}: {where}"
        settings: dict[str, Any] = {"margin": part.margin, "selected_on": ORACLE, "metric": part.metric}
        twin = Part(f"{name}, oracle", estimate, cells, part.tasks, deciding=False, **settings)
        pairs.append((replace(part, name=name), twin))
    return pairs


CLAIM = NoArtefact(
    id="C10",
    title="The gain is no artefact of tuning",
    statement="Selection on test instead of validation changes no answer to C3, C4 and C5.",
    rule=(
        "Every effect of C3, C4 and C5 under oracle selection lies inside its interval under ID "
        "validation. Contradicted if the whole interval of one that was reproduced lies beyond its "
        "margin then, after Holm. It cannot be asked where no effect held under validation."
    ),
    source="question of this audit",
    asked_of=("nine", "single", "imagenet"),
    needs="test",
)
