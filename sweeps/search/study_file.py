"""Whether a study grew after its test metrics were seen, from what study.json held before."""

from __future__ import annotations

from collections.abc import Sequence

from carft.store.records import Store
from carft.store.study import Extension, StudyFile


def with_extension(
    known: StudyFile | None, content: StudyFile, store: Store, earlier: Sequence[StudyFile]
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
