"""The next step for a claim that no scope of a results folder can be asked: what is missing, and which sweep runs it.

On your own data it is a sweep on these data or more like them, never one on the data of this project. ``PATH``,
``FILE`` and ``NAMES`` stand for what no report holds.
"""

from __future__ import annotations

import shlex

from carft.data.family import SWEEP
from carft.data.folder.naming import is_folder
from carft.spec.catalog import Catalog
from reports.claims.claim import Claim
from reports.evidence.evidence import Evidence
from reports.evidence.scopes import BUILT_IN_POOLS, Scope

READINGS = "python cli.py sweep readings"
#: what the ledger says that a claim needs -> what your own data lack then
LACKING = {
    "suites": "domains under shift",
    "contexts": "images of a domain with a prompt",
    "test": "a test set in distribution",
}


def proposal(claim: Claim, evidence: Evidence) -> tuple[str, str]:
    """(what is missing, the command) for a claim that no scope can be asked."""
    if claim.needs == "readings":
        return "readings other than the default", readings_command(evidence)
    scope = evidence.scope
    if scope is not None and not scope.family.built_in and claim.scale in ("any", scope.scale):
        return _on_own(claim, scope, evidence.archive.catalog)
    able = [f for f in BUILT_IN_POOLS.values() if f.kind in claim.asked_of and f.has(claim.needs)]
    scale = evidence.scale if claim.scale == "any" else claim.scale
    family = next((f for f in able if f.scale == scale), able[0])
    start = scope.options if scope is not None and scope.scale == family.scale else ""
    return f"studies of {family.title}", family.command + start


def readings_command(evidence: Evidence) -> str:
    """The sweep of all readings: on your own data where the folder is about them."""
    scope = evidence.scope
    if scope is None:
        return READINGS
    if scope.family.built_in:
        return READINGS + (scope.options if scope.scale == "miniature" else "")
    return scope.command.replace("sweep downstream", "sweep readings")


def _on_own(claim: Claim, scope: Scope, catalog: Catalog) -> tuple[str, str]:
    """The same on your own data: a larger family, one domain left out in turn, or a part that the data lack."""
    first = scope.family.tasks[0]
    if not catalog.is_own(first):
        return f"what the claim needs, which the package of {scope.family.name} lacks", scope.command
    if scope.family.kind in claim.asked_of:
        lacks = LACKING.get(claim.needs, "what the claim needs")
        return lacks, f"{_sweep(first)} --id-domains NAMES --ood-domains NAMES{scope.options}"
    if "nine" in claim.asked_of:
        if (named := catalog.named(first)) is not None and named.in_file:
            command = f"{SWEEP.removesuffix(' --tasks')} --tasks-file FILE"
        else:
            command = f"{SWEEP} FAMILY/NAME=PATH,FAMILY/NAME=PATH"
        return "several tasks of one family on your own data", command + scope.options
    return "each domain of your own data held out in turn", f"{_sweep(first)} --leave-one-out{scope.options}"


def _sweep(task: str) -> str:
    """The sweep on the folder of a task, whose domains are still to be chosen."""
    return f"{SWEEP} folder:PATH" if is_folder(task) else f"{SWEEP} {shlex.quote(task)}=PATH"
