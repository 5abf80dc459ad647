"""study.json of a study: its content now, and how it goes on from what the file held before."""

from __future__ import annotations

from collections.abc import Container, Sequence

from carft.store.records import Store
from carft.store.study import Extension, Status, StudyFile, Trial
from sweeps.search.progress import State, StudyProgress
from sweeps.search.study import Job


def study_content(progress: StudyProgress, running: Container[str], oracle: bool) -> StudyFile:
    """The study as it is now. Keys with a default are left out of the file.

    Args:
        progress: Of the study.
        running: Keys of the jobs that run.
        oracle: Whether its search cells are, or were, opened for oracle selection.
    """
    study, winner = progress.study, progress.winner
    trials = [
        Trial(number=number, parameters=setting, cell=job.cell.id, status=_status(job, progress.state, running))
        for number, (setting, job) in enumerate(zip(study.settings, study.search_jobs, strict=True))
    ]
    content = {
        "id": study.id,
        "reading": {},
        **study.content,
        "trials": trials,
        "winner": winner.cell if winner else None,
        "confirm": [cell.id for cell in progress.confirm_cells],
    }
    grid = [cell.id for cell in study.grid_cells]
    marks = {"grid": grid, "allow_edges": study.recipe.allow_edges, "oracle": oracle, "too_few": progress.no_winner}
    return StudyFile.model_validate(content | {name: mark for name, mark in marks.items() if mark})


def _status(job: Job, state: State, running: Container[str]) -> Status:
    if job.key in state.failed:
        return "failed"
    return "done" if job.cell.id in state.done else "running" if job.key in running else "open"


def with_extension(
    on_disk: StudyFile | None, content: StudyFile, store: Store, earlier: Sequence[StudyFile]
) -> StudyFile:
    """The study with ``extended_from``: its size when its test metrics were first seen.

    A study whose trials or confirm cells grew, or whose winner changed, after that moment is marked by it. So is one
    that got another winner because a lost trial was run again, a further search that begins once test metrics of an
    earlier one can be seen, and a study without its file that gets seeds beside those that were tested.

    Args:
        on_disk: The study as it is on disk; None when it is not there.
        content: The study as it is now.
        store: The results folder, which holds the evaluations of the confirm cells.
        earlier: The earlier searches of the same task, method and reading, as they are on disk.
    """
    if on_disk is None:
        begins = all(trial.status != "done" for trial in content.trials)
        if begins and any(store.evaluated(cell) for study in earlier for cell in study.confirm):
            return content.model_copy(update={"extended_from": Extension(searches=len(earlier))})
        if 0 < (tested := sum(bool(store.evaluated(cell)) for cell in content.confirm)) < len(content.confirm):
            return content.model_copy(update={"extended_from": Extension(trials=len(content.trials), confirm=tested)})
        return content
    content = content.model_copy(update={"grid": [*dict.fromkeys((*on_disk.grid, *content.grid))]})
    extension = on_disk.extended_from
    if extension is None:
        grew = len(content.trials) > len(on_disk.trials) or len(content.confirm) > len(on_disk.confirm)
        changed = on_disk.winner not in (None, content.winner)
        if not (grew or changed) or not any(store.evaluated(cell) for cell in on_disk.confirm):
            return content
        extension = Extension(trials=len(on_disk.trials), confirm=len(on_disk.confirm))
    return content.model_copy(update={"extended_from": extension})


def is_larger(on_disk: StudyFile | None, content: StudyFile) -> bool:
    """Whether the study on disk has more trials or confirm cells. A smaller request never shrinks a study."""
    if on_disk is None:
        return False
    return len(on_disk.trials) > len(content.trials) or len(on_disk.confirm) > len(content.confirm)
