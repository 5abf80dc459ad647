"""C10: whether the gain is an artefact of tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.analysis.contrasts import (
    OF_CARD,
    Contrast,
    Part,
    every_suite,
    id_test,
    oracle,
    parts_of_tasks,
    pool,
    suite_set,
)
from reports.claims.rules import Answer, Claim, Verdict, ledger, not_run
from reports.evidence.evidence import CAR_FT, FT, ORACLE, Evidence
from reports.stats.ranks import ONE_SIDED, holm_one_sided


@dataclass(frozen=True)
class Both:
    """One effect of C3, C4 or C5 under ID validation and under oracle selection."""

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


def no_artefact(claim: Claim, evidence: Evidence) -> Verdict:
    """C10: C3, C4 and C5 under both ways of selecting, side by side."""
    validated = _validated(evidence)
    if not validated:
        return not_run(claim, evidence, "ft and car_ft")
    pieces = _pieces(evidence, validated)
    if pieces is None:
        family = evidence.scope.command if evidence.scope else "python cli.py sweep downstream"
        missing = "search cells that were evaluated on test (sweeps never do so unless asked)"
        return not_run(claim, evidence, missing, f"{family} --oracle")
    answer, reason = _answer(pieces)
    flaws = list(dict.fromkeys(text for p in pieces for text in (*p.validated.unequal, *p.validated.flaws)))
    if flaws:
        unequal = any(p.validated.unequal for p in pieces)
        answer, reason = ("not comparable" if unequal else "inconclusive"), f"{'; '.join(flaws)}. {reason}"
    widest = max(pieces, key=lambda p: abs(p.gap))
    reason += f" The widest gap, oracle minus validation, is {100 * widest.gap:+.1f} points."
    parts = tuple(x for p in pieces for x in (p.validated, p.under_oracle))
    return replace(
        Verdict.on(widest.validated, claim, evidence, answer, reason),
        effect=widest.gap,
        low=None,
        high=None,
        smallest_visible=None,
        headline=f"widest gap: {widest.claim}, {widest.validated.name.removeprefix(f'{widest.claim}: ')}",
        parts=parts,
        cells=tuple(dict.fromkeys(cell for p in parts for cell in p.cells)),
    )


def _answer(pieces: Sequence[Both]) -> tuple[Answer, str]:
    held = [p for p in pieces if p.held]
    against = holm_one_sided([p.under_oracle.p_against for p in held])
    turned = [p for p, value in zip(held, against, strict=True) if value < ONE_SIDED]
    if turned:
        return "contradicted", (
            f"Held under validation; under oracle selection the whole interval lies on the other side, after Holm, "
            f"for: {_listed(turned)}."
        )
    moved = [p for p in pieces if not p.is_unchanged]
    if moved:
        return "inconclusive", f"Oracle selection leaves the interval under validation for: {_listed(moved)}."
    vacuous = "" if held else "; but no effect held under validation, so there was no gain that could be an artefact"
    return "reproduced", f"All {len(pieces)} effects under oracle selection lie inside their intervals{vacuous}."


def _listed(pieces: Sequence[Both]) -> str:
    return ", ".join(p.validated.name for p in pieces)


def _validated(evidence: Evidence) -> list[tuple[str, Part]]:
    """(claim, part) of C3, C4 and C5 as they stand under ID validation."""
    id_margin = -ledger()["C3"].margin
    found = [("C3", pool(evidence, Contrast(CAR_FT, FT), "C3: ID test", margin=id_margin))]
    for suite in evidence.suite_names():
        contrast = Contrast(CAR_FT, FT, "top1", suite_set(suite))
        found.append(("C4", pool(evidence, contrast, f"C4: {suite}")))
    if evidence.scope and evidence.scope.family.kind == "nine":
        per_task = Contrast(CAR_FT, FT, OF_CARD).estimate(evidence)
        found += [("C5", one) for one in parts_of_tasks(evidence, per_task, "C5: ")]
    return [(claim, p) for claim, p in found if p is not None]


def _pieces(evidence: Evidence, validated: Sequence[tuple[str, Part]]) -> list[Both] | None:
    """Every part with its twin under oracle selection: C3 and C5 by the test set, C4 by the mean of the suites."""
    on_test, of_card = oracle(evidence, id_test), oracle(evidence, id_test, what=OF_CARD)
    if on_test is None or of_card is None:
        return None
    pieces = []
    for claim, under_validation in validated:
        if claim == "C4":
            suite = suite_set(under_validation.name.removeprefix("C4: "))
            on_suites = oracle(evidence, suite, every_suite)
            if on_suites is None:
                return None
            estimate, cells = on_suites.pooled(), on_suites.cells
        else:
            task = under_validation.tasks[0]
            estimate = on_test.pooled() if claim == "C3" else of_card.estimates[task][0]
            cells = on_test.cells
        twin = Part(
            f"{under_validation.name}, oracle",
            estimate,
            cells,
            under_validation.tasks,
            deciding=False,
            margin=under_validation.margin,
            selected_on=ORACLE,
            metric=under_validation.metric,
        )
        pieces.append(Both(claim, under_validation, twin))
    return pieces
