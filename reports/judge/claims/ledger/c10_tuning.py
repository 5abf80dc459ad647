"""C10: the gain is no artefact of tuning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress

from reports.judge.claims.claim import Claim, Direction, Verdict
from reports.judge.claims.ledger import gain_claims
from reports.judge.claims.rules import are_against, not_run, sweep_command
from reports.judge.contrasts.contrast import OF_CARD, ContrastResult, every_suite, id_test, suite_set
from reports.judge.contrasts.oracle import oracle
from reports.judge.evidence import ORACLE, Evidence
from reports.judge.part import Part


@dataclass(frozen=True)
class BothWays:
    """A gain under ID validation, and its twin under oracle selection."""

    claim: Claim
    part: Part
    twin: Part

    @property
    def gap(self) -> float:
        """Oracle minus validation."""
        return self.twin.estimate.effect - self.part.estimate.effect

    @property
    def parts(self) -> tuple[Part, Part]:
        """Both under the name of the claim."""
        sides = f"{self.claim.id}: {self.part.place}"
        return replace(self.part, sides=sides, place=""), replace(self.twin, sides=sides, place="oracle")


class NoArtefact(Claim):
    """The gains under both ways of selecting, side by side."""

    def decide(self, evidence: Evidence) -> Verdict:
        gains: list[tuple[Claim, Part]] = []
        for claim in gain_claims().values():
            if evidence.scope.family.kind in claim.asked_of:
                gains += [(claim, part) for part in claim.decide(evidence).deciding]
        if not gains:
            return not_run(self, evidence, "ft and car_ft")
        pairs = list(_pairs(evidence, gains))
        if len(pairs) < len(gains):
            missing = "search cells that were evaluated on test (sweeps never do so unless asked)"
            return not_run(self, evidence, missing, f"{sweep_command(evidence)} --oracle")
        widest = max(pairs, key=lambda pair: abs(pair.gap))
        parts = list(chain.from_iterable(pair.parts for pair in pairs))
        shown = Verdict.on(self, evidence, parts, widest.part)
        number = replace(
            shown.number,
            part=f"widest gap: {widest.claim.id}, {widest.part.place}",
            effect=widest.gap,
            low=None,
            high=None,
            smallest_visible=None,
            n_searches=min(pair.part.estimate.n_searches for pair in pairs),
        )
        direction, reason = _answer(pairs)
        reason += f" The widest gap, oracle minus validation, is {100 * widest.gap:+.1f} points."
        return replace(shown, direction=direction, reasons=(reason,), number=number, shown=None)


def _answer(pairs: Sequence[BothWays]) -> tuple[Direction, str]:
    """What both ways of selecting say together, and why."""
    held = [pair for pair in pairs if pair.part.slack > 0]
    turned = list(compress(held, are_against([pair.twin for pair in held])))
    if turned:
        words = (
            "Held under validation; under oracle selection the whole interval lies on the other side, after Holm, for"
        )
        return "against", f"{words}: {_names(turned)}."
    moved = [pair for pair in pairs if not pair.part.low <= pair.twin.estimate.effect <= pair.part.high]
    if moved:
        return "open", f"Oracle selection leaves the interval under validation for: {_names(moved)}."
    inside = f"All {len(pairs)} effects under oracle selection lie inside their intervals."
    if not held:
        return "open", f"No gain held under validation, so there is none that could be an artefact. {inside}"
    return "for", inside


def _names(pairs: Sequence[BothWays]) -> str:
    return ", ".join(f"{pair.claim.id}: {pair.part.place}" for pair in pairs)


def _pairs(evidence: Evidence, gains: Sequence[tuple[Claim, Part]]) -> Iterator[BothWays]:
    """Every part with its twin under oracle selection: by the test set, or for suites by their mean.

    A part whose search cells were not evaluated has none.
    """
    on_test, of_card = oracle(evidence, id_test), oracle(evidence, id_test, what=OF_CARD)
    if on_test is None or of_card is None:
        return
    for claim, part in gains:
        result: ContrastResult | None = on_test
        if claim.gain == "suites":
            result = oracle(evidence, suite_set(part.place), every_suite)
        if result is None:
            return
        estimate = result.pooled()
        if claim.gain == "tasks":
            estimate, _ = of_card.estimates[part.tasks[0]]
        twin = Part(part.sides, estimate, result.cells, part.tasks, deciding=False, selected_on=ORACLE)
        yield BothWays(claim, part, replace(twin, margin=part.margin, metric=part.metric))


CLAIM = NoArtefact(
    id="C10",
    title="The gain is no artefact of tuning",
    statement="Selection on test instead of validation changes no answer to C3, C4 and C5.",
    rule=(
        "Every effect of C3, C4 and C5 under oracle selection lies inside its interval under ID "
        "validation. Contradicted if the whole interval of one that was reproduced lies beyond its "
        "margin then, after Holm. Open where no effect held under validation."
    ),
    source="question of this audit",
    asked_of=("several", "single", "imagenet"),
    needs="test",
)
