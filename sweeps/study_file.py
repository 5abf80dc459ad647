"""What study.json says of a study: its trials, its winner, and whether it grew after its test numbers were seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from carft.records import Store
from sweeps.study import Study

if TYPE_CHECKING:
    from sweeps.protocol import Job, Protocol

#: what a larger request of the same study adds to
GROWING = ("trials", "confirm")


def content_of(protocol: Protocol, study: Study, oracle: bool) -> dict[str, Any]:
    """The study as it is now. oracle: whether its search cells are unsealed as well."""
    winner = protocol.winner(study)
    content = {
        "id": study.id,
        "seed": study.seed,
        "reading": {},
        **study.content,
        "trials": [_trial(protocol, *trial) for trial in protocol.searches(study)],
        "winner": winner.cell if winner else None,
        "confirm": [c.id for c in protocol.confirm_cells(study)],
        **({"oracle": True} if oracle else {}),
    }
    if too_few := protocol.too_few(study):
        content["too_few"] = too_few
    return content


def _trial(protocol: Protocol, number: int, parameters: dict[str, float], job: Job) -> dict[str, Any]:
    line = {"trial": number, "parameters": parameters, "cell": job.cell.id, "status": protocol.status(job)}
    if (stop := protocol.stopped.get(job.cell.id)) is not None:
        line |= {"stopped_after": stop.epochs, "val/top1": stop.value}
    return line


def extension(known: Mapping[str, Any], content: Mapping[str, Any], store: Store) -> dict[str, Any]:
    """``extended_from``: how many trials and confirm cells the study had when its test numbers were first seen.

    known: the study as it is on disk, empty when there is none. Empty for a study that was not extended afterwards.
    Whoever goes on until a number pleases is told by it.
    """
    if "extended_from" in known:
        return {"extended_from": known["extended_from"]}
    if not any(len(content[k]) > len(known.get(k, [])) for k in GROWING):
        return {}
    if not any(store.evaluated(cell) for cell in known.get("confirm", [])):
        return {}
    return {"extended_from": {k: len(known[k]) for k in GROWING}}


def is_larger(known: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """Whether the study on disk has more trials or confirm cells: a smaller request shrinks nothing."""
    return any(len(known.get(k, ())) > len(content[k]) for k in GROWING)
