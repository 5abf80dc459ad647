"""Single rules on what is made up: what is too little for them, and what is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from carft.protocol.selection import Candidate
from carft.store.study_file import StudyFile
from reports.judge.protocol import (
    planned_is_there,
    unequal_runs,
    winner_is_best,
)
from tests.support.helpers import LR, TASK, made_up_study, quick_cell


def searched(*states: str, **content: Any) -> StudyFile:
    """A study whose trials have the cells a, b, ... and these states."""
    trials = []
    for number, status in enumerate(states):
        trials.append({"trial": number, "parameters": {"lr": LR}, "cell": "abc"[number], "status": status})
    return made_up_study(trials=trials, task=TASK, **content)


def test_sides_that_share_some_code_are_equal() -> None:
    codes = {"": set(), "a": {"one", "two"}, "b": {"two"}, "c": {"three"}}
    folder = SimpleNamespace(code_of=lambda cells: codes["".join(cells)])
    conduct: Any = SimpleNamespace(folder=folder, data_of=lambda cells: {"data"})
    first, second, third = (made_up_study(confirm=[cell]) for cell in "abc")
    assert not list(unequal_runs(conduct, ("ft", "car_ft"), first, second))
    (note,) = unequal_runs(conduct, ("ft", "car_ft"), first, third)
    assert note.text == "the code (ft one, two against car_ft three)"


def test_trials_that_were_pruned_or_failed_need_no_record() -> None:
    folder = SimpleNamespace(records={"a": None})
    conduct: Any = SimpleNamespace(winner=lambda study: quick_cell("ft", lr=LR), folder=folder, plans={})
    assert not list(planned_is_there(conduct, searched("done", "pruned", "failed")))
    (note,) = planned_is_there(conduct, searched("done", "done", "failed"))
    assert note.text == "trials 1 have neither a record nor a failure"


def test_a_winner_of_too_few_finished_trials_is_none() -> None:
    study = searched("done", "failed", "failed", winner="a")
    candidates = [Candidate("a", 0, {"val/top1": 0.5, "val/loss": 1.0})]
    conduct: Any = SimpleNamespace(candidates=lambda study: candidates, family=lambda study: [study])
    (note,) = winner_is_best(conduct, study)
    assert note.text == "the winner is a; validation selects none"
