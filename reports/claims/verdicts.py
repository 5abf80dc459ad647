"""A verdict on every claim of the ledger, in every scope that can be asked; what to run where none can."""

from collections.abc import Sequence
from dataclasses import replace

from carft.data.card import Card
from carft.store.study import too_narrow_ranges
from reports.analysis.forgetting import Gate
from reports.analysis.levels import ContextRecognition
from reports.analysis.null_checks import NullCheck, failures, null_checks
from reports.claims.claim import Claim, Verdict
from reports.claims.ledger import ledger
from reports.claims.rules import corrected_jointly, not_run
from reports.evidence.evidence import CAR_FT, Evidence
from reports.evidence.scopes import BUILT_IN_POOLS
from reports.words.controls import closed_gate
from reports.words.levels import recognition_words
from reports.words.null_checks import check_words

READINGS = "python cli.py sweep readings"
#: what the ledger says that a claim needs -> what your own data lack then
LACKING = {
    "suites": "domains under shift",
    "contexts": "images of a domain with a prompt",
    "test": "a test set in distribution",
}


def verdicts(evidence: Evidence, checks: Sequence[NullCheck] | None = None, own: Sequence[Claim] = ()) -> list[Verdict]:
    """Verdicts in the ledger's order, then on own claims; of each one per scope that it is asked of, or `not run`.

    checks: the null checks, if they were made already. With one of them failed nothing is decided about CAR-FT.
    """
    failed = failures(null_checks(evidence) if checks is None else checks)
    decided = []
    for claim in (*ledger().values(), *own):
        decided += _decided(claim, evidence)
    return [_doubted(verdict, evidence, failed) for verdict in corrected_jointly(decided)]


def changed_margins(evidence: Evidence) -> dict[str, str]:
    """Claim -> that its margin is not that of the plan of a sweep of this folder, as half a sentence."""
    changes = {}
    for plan in evidence.archive.protocol.journal.of("planned"):
        for name, planned in plan.claims.items():
            if name in ledger() and isinstance(planned, float) and planned != ledger()[name].margin:
                now = f"{ledger()[name].margin_points:g} points"
                changes[name] = f"the margin of {name} is {now}, and was {100 * planned:g} when a sweep was planned"
    return changes


def _doubted(verdict: Verdict, evidence: Evidence, failed: Sequence[NullCheck]) -> Verdict:
    """The verdict, in doubt where its margin changed or the cells that it rests on are."""
    if verdict.direction == "open" or verdict.basis != "records":
        return verdict
    changed = [words for claim, words in changed_margins(evidence).items() if claim == verdict.claim]
    return replace(verdict, damage=(*changed, *doubts(evidence, verdict.cells, failed), *verdict.damage))


def doubts(evidence: Evidence, cells: Sequence[str], failed: Sequence[NullCheck]) -> list[str]:
    """Why a number that rests on these cells is in doubt: a failed null check or narrow search ranges, in words.

    Null checks are of CAR-FT: with a failed one its code or records are not sound. A range is too narrow where too many
    winners of a method lie at its edge.
    """
    records = [evidence.records[cell] for cell in cells if cell in evidence.records]
    used = {*cells, *(parent for record in records for parent in record.cell.parents)}
    if failed and any(evidence.records[c].cell.method == CAR_FT.method for c in used if c in evidence.records):
        return [f"a null check failed ({'; '.join(f'{check.name}: {check_words(check)}' for check in failed)})"]
    # the studies of every scope and reading; a smaller search of one question decides nothing
    searched = [study for view in evidence.views() for studies in view.readings.values() for study in studies]
    ranges = too_narrow_ranges(study for study in searched if used & {*study.confirm, study.winner})
    listed = ", ".join(f"{name} of {method} ({n} of {of})" for (method, name), (n, of) in sorted(ranges.items()))
    return [f"the search range is too narrow: winners lie at the edge for {listed}"] if ranges else []


def _decided(claim: Claim, evidence: Evidence) -> list[Verdict]:
    if not claim.asked_of:
        return [claim.decide(evidence)]
    able = [view for view in evidence.views() if view.scope.family.kind in claim.asked_of]
    able = [view for view in able if claim.scale in ("any", view.scale)]
    if asked := [view for view in able if can_be_asked(claim.needs, view)]:
        return [_decided_in(claim, view) for view in asked]
    # no scope of this folder can be asked: what would have to be there
    scale = evidence.scale if claim.scale == "any" else claim.scale
    return [replace(not_run(claim, evidence, *what_to_run(claim, evidence)), scope="", scale=scale)]


def _decided_in(claim: Claim, view: Evidence) -> Verdict:
    """The verdict in one scope, with why the claim cannot be asked there where what it presumes does not hold.

    Forgetting is taken from other runs of FT than those that the claim rests on, where FT has others.
    """
    verdict = claim.decide(view)
    if claim.presumes == "forgetting" and verdict.smallest_visible is not None:
        gate = Gate.of(view, verdict.cells, verdict.smallest_visible)
        return replace(verdict, insensitive=closed_gate(gate)) if gate is not None and gate.is_closed else verdict
    recognition = ContextRecognition.of(view) if claim.presumes == "recognition" and not verdict.missing else None
    if recognition is None or recognition.is_above_chance:
        return verdict
    words = recognition_words(recognition)
    words = words[:1].upper() + words[1:]
    why = "which is not above chance by more than its interval: fine-tuning has no recognition to lose here."
    return replace(verdict, unaskable=f"{words}, {why}")


def can_be_asked(needs: str, view: Evidence) -> bool:
    """Whether some task of a scope has what a claim needs, as far as its card says."""
    return len(view.readings) > 1 if needs == "readings" else any(_has(view.card(task), needs) for task in view.tasks)


def _has(card: Card, what: str) -> bool:
    return {"test": card.has_test, "suites": bool(card.suites), "contexts": bool(card.contexts)}.get(what, True)


def what_to_run(claim: Claim, evidence: Evidence) -> tuple[str, str]:
    """(what is missing, the command) for a claim that no scope can be asked.

    Your own data lack a part of a task, a larger family, or one domain left out in turn.
    """
    if claim.needs == "readings":
        return "readings other than the default", readings_command(evidence)
    scope = evidence.scope
    if not scope.family.built_in and claim.scale in ("any", scope.scale):
        lacking = "several tasks of one family in the tasks file"
        if not evidence.archive.catalog.named(scope.family.tasks[0]):
            lacking = f"what the claim needs, which the package of {scope.family.name} lacks"
        elif scope.family.kind in claim.asked_of:
            lacking = LACKING[claim.needs]
        elif "nine" not in claim.asked_of:
            lacking = "each domain held out in turn (leave_one_out in the tasks file)"
        return lacking, scope.command
    able = [f for f in BUILT_IN_POOLS.values() if f.kind in claim.asked_of and _has(f.card, claim.needs)]
    scale = evidence.scale if claim.scale == "any" else claim.scale
    family = next((f for f in able if f.scale == scale), able[0])
    start = scope.options if scope.scale == family.scale else ""
    return f"studies of {family.title}", family.command + start


def readings_command(evidence: Evidence) -> str:
    """The sweep of all readings: on your own data where the folder is about them."""
    scope = evidence.scope
    if scope.family.built_in:
        return READINGS + (scope.options if scope.scale == "miniature" else "")
    return scope.command.replace("sweep downstream", "sweep readings")
