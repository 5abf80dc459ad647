"""A verdict on every claim of the ledger, in every scope that can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from carft.store.study import StudyFile, narrow_ranges
from reports.analysis.contrasts import Part
from reports.analysis.controls import Sensitivity
from reports.analysis.null_checks import NullCheck, failures, null_checks
from reports.claims.proposals import proposal
from reports.claims.rules import Answer, Claim, Verdict, ledger, not_run
from reports.evidence.evidence import CAR_FT, Evidence

__all__ = ["Answer", "Claim", "Part", "Verdict", "as_asked", "ledger", "verdicts"]


def verdicts(evidence: Evidence, checks: Sequence[NullCheck] | None = None) -> list[Verdict]:
    """Verdicts in the ledger's order; of each claim one per scope that it is asked of, or one that says `not run`.

    checks: the null checks, if they were made already. With one of them failed nothing is decided about CAR-FT.
    """
    failed = failures(null_checks(evidence) if checks is None else checks)
    return [_doubted(verdict, evidence, failed) for verdict in _decided(evidence)]


def _doubted(verdict: Verdict, evidence: Evidence, failed: Sequence[NullCheck]) -> Verdict:
    """The verdict, in doubt where a null check failed that it rests on, or a search range is too narrow.

    Null checks are of CAR-FT: with a failed one its code or records are not sound. A range is too narrow where too many
    winners of a method lie at its edge.
    """
    if verdict.direction == "open" or verdict.basis != "records":
        return verdict
    cells = [evidence.records[cell].cell for cell in verdict.cells if cell in evidence.records]
    used = {*verdict.cells, *(parent for cell in cells for parent in cell.parents)}
    if failed and any(evidence.records[c].cell.method == CAR_FT.method for c in used if c in evidence.records):
        doubt = f"a null check failed ({'; '.join(f'{check.name}: {check.words}' for check in failed)})"
    elif ranges := narrow_ranges(study for study in _studies(evidence) if used & {*study.confirm, study.winner}):
        listed = ", ".join(f"{name} of {method} ({n} of {of})" for (method, name), (n, of) in sorted(ranges.items()))
        doubt = f"the search range is too narrow: winners lie at the edge for {listed}"
    else:
        return verdict
    return replace(verdict, damage=(doubt, *verdict.damage))


def _studies(evidence: Evidence) -> Iterable[StudyFile]:
    """The studies that verdicts rest on, of every scope and reading; a smaller search of one question is none."""
    kept = (studies for view in evidence.views() for studies in (view.studies, *(view.readings or {}).values()))
    return {study.id: study for studies in kept for study in studies}.values()


def _decided(evidence: Evidence) -> list[Verdict]:
    decided = []
    for claim in ledger().values():
        asked = [view for view in evidence.views() if _is_asked(claim, view)]
        if not claim.asked_of:
            decided.append(claim.decide(evidence))
        elif asked:
            decided += [_decided_in(_as_asked(claim, view), view) for view in asked]
        else:
            # no scope of this folder can be asked: what would have to be there
            unasked = not_run(claim, evidence, *proposal(claim, evidence))
            scale = evidence.scale if claim.scale == "any" else claim.scale
            decided.append(replace(unasked, scope="", scale=scale))
    return decided


def _decided_in(claim: Claim, view: Evidence) -> Verdict:
    """The verdict in one scope, with why the claim cannot be asked there where what it presumes does not hold."""
    verdict = claim.decide(view)
    if verdict.missing or claim.presumes is None:
        return verdict
    sensitivity = Sensitivity.of(view, claim.presumes, verdict.smallest_visible, verdict.cells)
    return replace(verdict, unaskable=sensitivity.unaskable, insensitive=sensitivity.insensitive)


def as_asked(verdict: Verdict, evidence: Evidence) -> Claim:
    """The claim of a verdict in the words in which it was asked of the verdict's scope."""
    view = next((view for view in evidence.views() if view.name == verdict.scope), None)
    claim = ledger()[verdict.claim]
    return claim if view is None else _as_asked(claim, view)


def _as_asked(claim: Claim, view: Evidence) -> Claim:
    return claim if view.scope is None else claim.asked_of_family(view.scope.family)


def _is_asked(claim: Claim, view: Evidence) -> bool:
    kind = view.scope.family.kind if view.scope else ""
    fits = claim.scale in ("any", view.scale)
    return kind in claim.asked_of and fits and NEEDS.get(claim.needs, lambda _: True)(view)


def _has_contexts(view: Evidence) -> bool:
    """Whether some image of the scope has a known context; true while nothing was evaluated yet."""
    cells = [c for s in view.studies for c in s.confirm if c in view.records and view.archive.evaluated(c)]
    return not cells or any(name.endswith("context_top1") for name in view.metrics(cells[0]))


NEEDS: Mapping[str, Callable[[Evidence], bool]] = {
    "test": lambda view: any("test" in view.set_names(task) for task in view.tasks),
    "suites": lambda view: bool(view.suite_names()),
    "contexts": _has_contexts,
    "readings": lambda view: len(view.readings or {}) > 1,
}
