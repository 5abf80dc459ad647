"""Single rules on what is made up: what is too little for them, and what is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from carft.catalog.catalog import BUILT_IN
from carft.protocol.selection import Candidate
from carft.store.journal import Journal, Line
from carft.store.study_file import StudyFile
from reports.evidence.protocol import (
    on_planned_suites,
    other_margins,
    planned_is_there,
    unequal_runs,
    unequal_trials,
    winner_is_best,
)
from tests.support.helpers import LR, TASK, made_up_study, quick_cell


def searched(*states: str, **content: Any) -> StudyFile:
    """A study whose trials have the cells a, b, ... and these states."""
    trials = []
    for number, status in enumerate(states):
        trials.append({"trial": number, "parameters": {"lr": LR}, "cell": "abc"[number], "status": status})
    return made_up_study(trials=trials, task=TASK, **content)


def test_trials_that_ended_are_compared_by_their_numbers() -> None:
    assert not list(unequal_trials([[0, 1]], [[0, 1]]))
    (note,) = unequal_trials([[0, 1]], [[0, 2]])
    assert note.text == "the searches (trials 0, 1 against 0, 2 ended)"


def test_sides_that_share_some_code_are_equal() -> None:
    codes = {"": set(), "a": {"one", "two"}, "b": {"two"}, "c": {"three"}}
    conduct: Any = SimpleNamespace(code_of=lambda cells: codes["".join(cells)], data_of=lambda cells: {"data"})
    first, second, third = (made_up_study(confirm=[cell]) for cell in "abc")
    assert not list(unequal_runs(conduct, ("ft", "car_ft"), first, second))
    (note,) = unequal_runs(conduct, ("ft", "car_ft"), first, third)
    assert note.text == "the code (ft one, two against car_ft three)"


def test_trials_that_were_pruned_or_failed_need_no_record() -> None:
    conduct: Any = SimpleNamespace(winner=lambda study: quick_cell("ft", lr=LR), records={"a": None}, plans={})
    assert not list(planned_is_there(conduct, searched("done", "pruned", "failed")))
    (note,) = planned_is_there(conduct, searched("done", "done", "failed"))
    assert note.text == "trials 1 have neither a record nor a failure"


def test_a_winner_of_too_few_finished_trials_is_none() -> None:
    study = searched("done", "failed", "failed", winner="a")
    candidates = [Candidate("a", 0, {"val/top1": 0.5, "val/loss": 1.0})]
    conduct: Any = SimpleNamespace(candidates=lambda study: candidates, family=lambda study: [study])
    (note,) = winner_is_best(conduct, study)
    assert note.text == "the winner is a; validation selects none"


def test_more_suites_than_planned_are_named_too() -> None:
    conduct: Any = SimpleNamespace(planned_suites={TASK: ["hands"]}, catalog=BUILT_IN)
    (note,) = on_planned_suites(conduct, searched())
    assert note.text.startswith("its plan evaluates on hands, and the results are now evaluated on hands, ")


def test_a_margin_that_is_wider_than_planned_is_named() -> None:
    plan = Line(kind="planned", when="", claims={"C3": 0.01})
    notes = other_margins(Journal({"digest": plan}, ()), {"C3": 0.02, "C4": 0.0})
    assert {claim: note.text for claim, note in notes.items()} == {
        "C3": "the margin of C3 is 2 points, and was 1 when a sweep was planned"
    }
