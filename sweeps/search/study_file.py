"""What study.json says of a study: its trials, its winner, and whether it grew after its test numbers were seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carft.store.early_stopping import PrunedTrial
from carft.store.records import Store
from sweeps.search.study import Study

#: what a larger request of the same study adds to
GROWING = ("trials", "confirm")


@dataclass(frozen=True)
class Trial:
    """A trial as it is now. status: failed, stopped, done, running or open. stop: of one that was given up, how far."""

    number: int
    parameters: Mapping[str, float]
    cell: str
    status: str
    stop: PrunedTrial | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for study.json."""
        line = {"trial": self.number, "parameters": dict(self.parameters), "cell": self.cell, "status": self.status}
        return line if self.stop is None else {**line, "stopped_after": self.stop.epochs, "val/top1": self.stop.value}


def content_of(
    study: Study, trials: Sequence[Trial], winner: str | None, confirm: Sequence[str], too_few: str, oracle: bool
) -> dict[str, Any]:
    """The study as it is now. winner, confirm: cells. too_few: why it has no winner. oracle: whether its search cells
    are unsealed as well."""
    return {
        "id": study.id,
        "seed": study.seed,
        "reading": {},
        **study.content,
        "trials": [trial.as_dict() for trial in trials],
        "winner": winner,
        "confirm": list(confirm),
        **({"oracle": True} if oracle else {}),
        **({"too_few": too_few} if too_few else {}),
    }


def extension(
    known: Mapping[str, Any],
    content: Mapping[str, Any],
    store: Store,
    earlier_searches: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """``extended_from``: how many trials and confirm cells the study had when its test numbers were first seen.

    known: the study as it is on disk, empty when there is none. Empty for a study that neither grew nor changed its
    winner afterwards, as one does whose lost trial was run again. Whoever goes on until a number pleases is told by it.
    A further search that begins once test numbers of an earlier one can be seen is such a growth: the number of
    searches there were is told.
    """
    if "extended_from" in known:
        return {"extended_from": known["extended_from"]}
    begins = not known and all(trial["status"] != "done" for trial in content["trials"])
    if begins and any(store.evaluated(cell) for study in earlier_searches for cell in study.get("confirm", [])):
        return {"extended_from": {"searches": len(earlier_searches)}}
    grew = any(len(content[k]) > len(known.get(k, [])) for k in GROWING)
    if not grew and known.get("winner") in (None, content["winner"]):
        return {}
    if not any(store.evaluated(cell) for cell in known.get("confirm", [])):
        return {}
    return {"extended_from": {k: len(known[k]) for k in GROWING}}


def is_larger(known: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """Whether the study on disk has more trials or confirm cells: a smaller request shrinks nothing."""
    return any(len(known.get(k, ())) > len(content[k]) for k in GROWING)
