"""The study.json that a search writes: trials, winner, and whether the study grew after its test metrics were seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from carft.store.early_stopping import PrunedTrial
from carft.store.records import Store
from carft.store.study import Extension, Status, StudyFile, Trial
from sweeps.search.study import Study


def trial_of(
    number: int, parameters: Mapping[str, float], cell: str, status: Status, pruned: PrunedTrial | None = None
) -> Trial:
    """A trial as it is now. ``pruned``: where early stopping ended it, if it did."""
    ended: dict[str, Any] = {} if pruned is None else {"stopped_after": pruned.epochs, "value": pruned.value}
    return Trial(number=number, parameters=dict(parameters), cell=cell, status=status, **ended)


def content_of(
    study: Study, trials: Sequence[Trial], winner: str | None, confirm: Sequence[str], too_few: str, oracle: bool
) -> StudyFile:
    """A study as it is now. Keys with a default are left out of the file.

    Args:
        study: The study.
        trials: Its trials, by number.
        winner: Id of the search cell that validation selects.
        confirm: Ids of the winner's cells with fresh seeds.
        too_few: Why a search that has ended has no winner.
        oracle: Whether the search cells are evaluated on the held-out sets as well.
    """
    content = {
        "id": study.id,
        "seed": study.seed,
        "reading": {},
        **study.content,
        "trials": list(trials),
        "winner": winner,
        "confirm": list(confirm),
        **({"allow_edges": True} if study.recipe.allow_edges else {}),
        **({"oracle": True} if oracle else {}),
        **({"too_few": too_few} if too_few else {}),
    }
    return StudyFile.model_validate(content)


def with_extension(
    known: StudyFile | None, content: StudyFile, store: Store, earlier: Sequence[StudyFile] = ()
) -> StudyFile:
    """The study with ``extended_from``: its size when its test metrics were first seen.

    A study whose trials or confirm cells grew, or whose winner changed, after that moment is marked by it. So is one
    that got another winner because a lost trial was run again, and a further search that begins once test metrics of
    an earlier one can be seen.

    Args:
        known: The study as it is on disk; None when it is not there.
        content: The study as it is now.
        store: The results folder, which holds the evaluations of the confirm cells.
        earlier: The earlier searches of the same task, method and reading, as they are on disk.
    """
    if known is None:
        begins = all(trial.status != "done" for trial in content.trials)
        if begins and any(store.evaluated(cell) for study in earlier for cell in study.confirm):
            return content.model_copy(update={"extended_from": Extension(searches=len(earlier))})
        return content
    before = known.extended_from
    if before is None:
        grew = len(content.trials) > len(known.trials) or len(content.confirm) > len(known.confirm)
        changed = known.winner not in (None, content.winner)
        if not (grew or changed) or not any(store.evaluated(cell) for cell in known.confirm):
            return content
        before = Extension(trials=len(known.trials), confirm=len(known.confirm))
    return content.model_copy(update={"extended_from": before})


def is_larger(known: StudyFile | None, content: StudyFile) -> bool:
    """Whether the study on disk has more trials or confirm cells. A smaller request never shrinks a study."""
    if known is None:
        return False
    return len(known.trials) > len(content.trials) or len(known.confirm) > len(content.confirm)
