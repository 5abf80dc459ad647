"""A verdict on every claim of the ledger, in every scope that can be asked; what to run where none can."""

import math
from collections.abc import Sequence
from dataclasses import replace

from carft.data.card import Card
from carft.store.study_file import too_narrow_ranges
from reports.judge.claims.claim import Claim, Verdict
from reports.judge.claims.ledger import ledger
from reports.judge.claims.rules import capitalised, corrected_jointly, not_run
from reports.judge.contrasts.contrast import every_suite
from reports.judge.entry import CAR_FT
from reports.judge.evidence import Evidence
from reports.judge.forgetting import forgotten
from reports.judge.levels import Recognition
from reports.judge.null_checks import NullCheck, failures, null_checks
from reports.judge.protocol import other_margins
from reports.note import Note
from reports.read.scopes import BUILT_IN_POOLS

READINGS = "python cli.py sweep readings"


#: what the ledger says that a claim needs -> what your own data lack then
LACKING = {
    "suites": "domains under shift",
    "contexts": "images of a domain with a prompt",
    "test": "a test set in distribution",
}


def verdicts(evidence: Evidence, checks: Sequence[NullCheck] | None = None) -> list[Verdict]:
    """Verdicts in the ledger's order, of each claim one per scope that it is asked of, or `not run`.

    checks: the null checks, if they were made already. With one of them failed nothing is decided about CAR-FT.
    """
    if checks is None:
        checks = null_checks(evidence)
    failed, decided = failures(checks), []
    for claim in ledger().values():
        decided += _decided(claim, evidence)
    return [_doubted(verdict, evidence, failed) for verdict in corrected_jointly(decided)]


def changed_margins(evidence: Evidence) -> dict[str, Note]:
    """Claim -> that its margin is not that of the last plan which has another one."""
    margins = {name: claim.margin for name, claim in ledger().items()}
    return other_margins(evidence.folder.journal, margins)


def _doubted(verdict: Verdict, evidence: Evidence, failed: Sequence[NullCheck]) -> Verdict:
    """The verdict, with what makes its margin or the cells that it rests on doubtful."""
    if verdict.direction == "open" or verdict.basis != "records":
        return verdict
    damage = [*doubts(evidence, verdict.cells, failed), *verdict.damage]
    changed = changed_margins(evidence).get(verdict.claim)
    if changed is not None:
        damage.insert(0, changed)
    return replace(verdict, damage=tuple(damage))


def doubts(evidence: Evidence, cells: Sequence[str], failed: Sequence[NullCheck]) -> list[Note]:
    """Why a number that rests on these cells is in doubt: a failed null check or narrow search ranges.

    Null checks are of CAR-FT. A range is too narrow where too many winners of a method lie at its edge.
    """
    records = evidence.records
    used = set(cells)
    for cell in cells:
        if cell in records:
            used.update(records[cell].cell.parents)
    methods = {records[cell].cell.method for cell in used & records.keys()}
    if failed and CAR_FT.method in methods:
        named = "; ".join(f"{check.name}: {check.words}" for check in failed)
        return [Note("null checks", f"a null check failed ({named})")]
    searched = []  # the studies of every scope and reading; a smaller search of one question decides nothing
    for view in evidence.views():
        for studies in view.readings.values():
            for study in studies:
                if study.winner in used or not used.isdisjoint(study.confirm):
                    searched.append(study)
    narrow = []
    for (method, name), (at_edge, of) in sorted(too_narrow_ranges(searched).items()):
        narrow.append(f"{name} of {method} ({at_edge} of {of})")
    if not narrow:
        return []
    words = f"the search range is too narrow: winners lie at the edge for {', '.join(narrow)}"
    return [Note("ranges", words)]


def _decided(claim: Claim, evidence: Evidence) -> list[Verdict]:
    if not claim.asked_of:
        return [claim.decide(evidence)]
    decided = []
    for view in evidence.views():
        is_of_claim = view.scope.family.kind in claim.asked_of and claim.scale in ("any", view.scale)
        if is_of_claim and can_be_asked(claim.needs, view):
            decided.append(_decided_in(claim, view))
    if decided:
        return decided
    # no scope of this folder can be asked: what would have to be there
    scale = _scale_of(claim, evidence)
    return [replace(not_run(claim, evidence, *what_to_run(claim, evidence)), scope="", scale=scale)]


def _decided_in(claim: Claim, view: Evidence) -> Verdict:
    """The verdict in one scope, with what the claim presumes there: contexts that are known, and what was forgotten."""
    verdict = claim.decide(view)
    if verdict.missing:
        return verdict
    if claim.presumes == "recognition":
        recognition = Recognition.of(view, "context")
        if recognition is not None and not recognition.is_above_chance:
            why = "not above chance: fine-tuning has no recognition to lose here"
            reason = f"{capitalised(recognition.words)}, {why}."
            return verdict.opened(reason)
    if claim.presumes == "classes":
        recognition = Recognition.of(view, "top1", every_suite)
        if recognition is not None and not recognition.is_above_chance:
            words = f"{capitalised(recognition.words)}, which is not above chance: to be above it says nothing."
            return verdict.opened(words)
    if claim.presumes == "forgetting":
        lost = forgotten(view)
        if lost is not None and not math.isnan(lost.low):
            points = f"{100 * lost.estimate.effect:+.1f} points out of distribution"
            size = f"{points} ({100 * lost.low:+.1f} to {100 * lost.high:+.1f})"
            return verdict.with_reason(f"Fine-tuning forgets {size}: what could be given back.")
    return verdict


def can_be_asked(needs: str, view: Evidence) -> bool:
    """Whether some task of a scope has what a claim needs, as far as its card says."""
    if needs == "readings":
        return len(view.readings) > 1
    return any(_has(view.card(task), needs) for task in view.tasks)


def _has(card: Card, what: str) -> bool:
    return {"test": card.has_test, "suites": bool(card.suites), "contexts": bool(card.contexts)}.get(what, True)


def what_to_run(claim: Claim, evidence: Evidence) -> tuple[str, str]:
    """What is missing of a claim that no scope can be asked, and the command that runs it; empty where no sweep does.

    Your own data lack a part of a task, a larger family, or one domain left out in turn.
    """
    if claim.needs == "readings":
        return "readings other than the default", readings_command(evidence)
    scope = evidence.scope
    if not scope.family.built_in and claim.scale in ("any", scope.scale):
        if scope.family.kind in claim.asked_of:
            return LACKING[claim.needs], ""
        if "several" in claim.asked_of:
            return "several tasks of one family in the tasks file", ""
        return "each domain held out in turn (leave_one_out in the tasks file)", ""
    able = [f for f in BUILT_IN_POOLS.values() if f.kind in claim.asked_of and _has(f.card, claim.needs)]
    scale = _scale_of(claim, evidence)
    family = next((family for family in able if family.scale == scale), able[0])
    command = family.command
    if scope.scale == family.scale:
        command += scope.options
    return f"studies of {family.title}", command


def _scale_of(claim: Claim, evidence: Evidence) -> str:
    """The scale at which a claim is asked."""
    return evidence.scale if claim.scale == "any" else claim.scale


def readings_command(evidence: Evidence) -> str:
    """The sweep of all readings: on your own data where the folder is about them."""
    scope = evidence.scope
    if scope.family.built_in and scope.scale == "miniature":
        return READINGS + scope.options
    if scope.family.built_in:
        return READINGS
    return scope.command.replace("sweep downstream", "sweep readings")
