"""C10: the gain is no artefact of tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.analysis.contrasts import OF_CARD, Part, every_suite, id_test, oracle, suite_set
from reports.claims.rules import Claim, Direction, Verdict, gain_claims, not_run
from reports.evidence.evidence import ORACLE, Evidence
from reports.stats.ranks import ONE_SIDED, holm_one_sided


@dataclass(frozen=True)
class Both:
    """One gain under ID validation and under oracle selection."""

    claim: str
    validated: Part
    under_oracle: Part

    @property
    def gap(self) -> float:
        """Oracle minus validation."""
        return self.under_oracle.estimate.effect - self.validated.estimate.effect

    @property
    def is_unchanged(self) -> bool:
        """Whether the effect under oracle selection lies inside the interval under validation."""
        return self.validated.low <= self.under_oracle.estimate.effect <= self.validated.high

    @property
    def held(self) -> bool:
        """Whether it held under validation, and so could be an artefact."""
        return self.validated.slack > 0


class NoArtefact(Claim):
    """The gains under both ways of selecting, side by side."""

    def decide(self, evidence: Evidence) -> Verdict:
        validated = _validated(evidence)
        if not validated:
            return not_run(self, evidence, "ft and car_ft")
        pieces = _pieces(evidence, validated)
        if pieces is None:
            family = evidence.scope.command if evidence.scope else "python cli.py sweep downstream"
            missing = "search cells that were evaluated on test (sweeps never do so unless asked)"
            return not_run(self, evidence, missing, f"{family} --oracle")
        direction, finding = _direction(pieces)
        widest = max(pieces, key=lambda p: abs(p.gap))
        finding += f" The widest gap, oracle minus validation, is {100 * widest.gap:+.1f} points."
        parts = tuple(x for p in pieces for x in (p.validated, p.under_oracle))
        return replace(
            Verdict.on(widest.validated, self, evidence, direction, finding),
            effect=widest.gap,
            low=None,
            high=None,
            smallest_visible=None,
            unequal=tuple(dict.fromkeys(text for p in pieces for text in p.validated.unequal)),
            damage=tuple(dict.fromkeys(text for p in pieces for text in p.validated.flaws)),
            headline=f"widest gap: {widest.claim}, {widest.validated.name.removeprefix(f'{widest.claim}: ')}",
            parts=parts,
            cells=tuple(dict.fromkeys(cell for p in parts for cell in p.cells)),
        )


def _direction(pieces: Sequence[Both]) -> tuple[Direction, str]:
    held = [p for p in pieces if p.held]
    against = holm_one_sided([p.under_oracle.p_against for p in held])
    turned = [p for p, value in zip(held, against, strict=True) if value < ONE_SIDED]
    if turned:
        return "against", (
            f"Held under validation; under oracle selection the whole interval lies on the other side, after Holm, "
            f"for: {_listed(turned)}."
        )
    moved = [p for p in pieces if not p.is_unchanged]
    if moved:
        return "open", f"Oracle selection leaves the interval under validation for: {_listed(moved)}."
    vacuous = "" if held else "; but no effect held under validation, so there was no gain that could be an artefact"
    return "for", f"All {len(pieces)} effects under oracle selection lie inside their intervals{vacuous}."


def _listed(pieces: Sequence[Both]) -> str:
    return ", ".join(p.validated.name for p in pieces)


def _validated(evidence: Evidence) -> list[tuple[Claim, Part]]:
    """(claim, part) of the gains that the scope can be asked of, under ID validation."""
    kind = evidence.scope.family.kind if evidence.scope else ""
    return [
        (claim, replace(part, name=f"{claim.id}: {part.name.removeprefix('CAR-FT - FT, ')}"))
        for claim in gain_claims()
        if kind in claim.asked_of
        for part in claim.gains(evidence)
    ]


def _pieces(evidence: Evidence, validated: Sequence[tuple[Claim, Part]]) -> list[Both] | None:
    """Every part with its twin under oracle selection: by the test set, or for suites by their mean.

    None where search cells were not evaluated.
    """
    on_test, of_card = oracle(evidence, id_test), oracle(evidence, id_test, what=OF_CARD)
    if on_test is None or of_card is None:
        return None
    pieces = []
    for claim, part in validated:
        estimate, cells = on_test.pooled(), on_test.cells
        if claim.gain == "suites":
            on_suites = oracle(evidence, suite_set(part.name.removeprefix(f"{claim.id}: ")), every_suite)
            if on_suites is None:
                return None
            estimate, cells = on_suites.pooled(), on_suites.cells
        elif claim.gain == "tasks":
            estimate = of_card.estimates[part.tasks[0]][0]
        name = f"{part.name}, oracle"
        settings: dict[str, Any] = {"margin": part.margin, "selected_on": ORACLE, "metric": part.metric}
        twin = Part(name, estimate, cells, part.tasks, deciding=False, **settings)
        pieces.append(Both(claim.id, part, twin))
    return pieces


CLAIM = NoArtefact(
    id="C10",
    title="The gain is no artefact of tuning",
    statement="Selection on test instead of validation changes no answer to C3, C4 and C5.",
    rule=(
        "Every effect of C3, C4 and C5 under oracle selection lies inside its interval under ID "
        "validation. Contradicted if one that was reproduced falls on the other side of its "
        "margin."
    ),
    source="question of this audit",
    margin_points=0.0,
    asked_of=("nine", "single", "imagenet"),
    needs="test",
)
