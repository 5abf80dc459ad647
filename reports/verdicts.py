"""A verdict on every claim of the ledger, in every scope that can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from reports.claims import DECIDERS
from reports.contrasts import Part
from reports.evidence import Evidence
from reports.rules import Answer, Claim, Verdict, ledger, not_run
from reports.scopes import FAMILIES

__all__ = ["Answer", "Claim", "Part", "Verdict", "ledger", "verdicts"]


def verdicts(evidence: Evidence) -> list[Verdict]:
    """Verdicts in the ledger's order; of each claim one per scope that it is asked of, or one that says `not run`."""
    found = []
    for claim in ledger().values():
        decider = DECIDERS[claim.id]
        asked = [view for view in evidence.views() if _is_asked(claim, view)]
        if not claim.asked_of:
            found.append(decider(claim, evidence))
        elif asked:
            found += [decider(claim, view) for view in asked]
        else:
            found.append(_nowhere(claim, evidence))
    return found


def _is_asked(claim: Claim, view: Evidence) -> bool:
    kind = view.scope.family.kind if view.scope else ""
    fits = claim.scale in ("any", view.scale)
    return kind in claim.asked_of and fits and NEEDS.get(claim.needs, lambda _: True)(view)


def _nowhere(claim: Claim, evidence: Evidence) -> Verdict:
    """No scope of this folder can be asked: what would have to be there."""
    family = next(f for f in FAMILIES.values() if f.kind in claim.asked_of)
    command = "python cli.py sweep readings" if claim.needs == "readings" else family.command
    missing = "readings other than the default" if claim.needs == "readings" else f"studies of {family.title}"
    found = not_run(claim, evidence, missing, command, "" if claim.scale == "any" else claim.scale)
    return replace(found, scope="")


def _has_contexts(view: Evidence) -> bool:
    """Whether some image of the scope has a known context; true while nothing was evaluated yet."""
    cells = [c for s in view.studies for c in s["confirm"] if c in view.records and view.archive.evaluated(c)]
    return not cells or any(name.endswith("context_top1") for name in view.metrics(cells[0]))


NEEDS: Mapping[str, Callable[[Evidence], bool]] = {
    "test": lambda view: any("test" in view.set_names(task) for task in view.tasks),
    "suites": lambda view: bool(view.suite_names()),
    "contexts": _has_contexts,
    "readings": lambda view: len(view.readings or {}) > 1,
}
