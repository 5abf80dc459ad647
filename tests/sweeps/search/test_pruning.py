"""Trials that are pruned: which, what is kept of them, and who may win."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from carft.core.errors import UserError
from carft.core.failure_kinds import FailureKind
from carft.store.failures import write_failure
from carft.store.records import Store
from carft.store.study_file import StudyFile
from sweeps.plan.planning import plan_of
from sweeps.plan.rates import Rate
from sweeps.plan.resources import Resources
from sweeps.recipes.choices import Readings
from sweeps.recipes.recipe import Recipe
from sweeps.search.jobs import Job
from sweeps.search.protocol import Protocol
from tests.support.dry import made_up_metrics, parts
from tests.sweeps.search.test_protocol import TASKS, small, winners

EPOCHS = 4


def pruning(**change: Any) -> Recipe:
    """One task and one method, twelve trials."""
    return small(**{"tasks": TASKS[:1], "methods": ["ft"], "trials": 12, "seeds": 1, "pruner": "halving", **change})


class Crew:
    """Three workers that train nothing: after each epoch a trial has val/top1 as it will have in the end."""

    def __init__(self, store: Store, seed: int = 0) -> None:
        self.store, self.random = store, random.Random(seed)
        self.ran: list[Job] = []
        self.epochs: dict[str, list[float]] = defaultdict(list)

    def work(self, protocol: Protocol, stop_after: int = 10**9, fails: Callable[[Job], bool] = lambda job: False):
        running: list[Job] = []
        while len(self.ran) < stop_after:
            while len(running) < 3 and (job := protocol.next_job()) is not None:
                assert job.kind == "oracle" or not self.store.is_done(job.cell.id)
                running.append(job)
            if not running:
                break
            job = self.random.choice(running)
            values = self.epochs[job.key]
            values.append(made_up_metrics(job.cell, "val")["val/top1"])
            if job.kind == "search" and len(values) < EPOCHS:
                if not protocol.stops(job, values):
                    continue
                protocol.prune(job, values)
            elif fails(job):
                protocol.end(job, "made up to fail")
            else:
                for part in parts(self.store, job):
                    part()
                protocol.end(job)
            protocol.write_studies(at_once=False)
            running.remove(job)
            self.ran.append(job)
        return self


def only_study(store: Store) -> StudyFile:
    (study,) = store.studies()
    return study


def test_a_pruner_stands_in_the_id_of_a_study_only_where_it_is_not_none(store: Store) -> None:
    (plain,), (pruned,) = (Protocol(pruning(pruner=name), store).studies for name in ("none", "median"))
    assert "pruner" not in plain.content and pruned.content["pruner"] == "median"
    assert plain.id != pruned.id and [cell.id for cell in plain.trial_cells] == [cell.id for cell in pruned.trial_cells]


@pytest.mark.parametrize("change", [{}, {"pruner": "median"}, {"sampler": "tpe"}])
def test_pruned_trials_are_on_record_count_as_settled_and_cannot_win(store: Store, change: dict[str, str]) -> None:
    recipe = pruning(**change)
    crew = Crew(store).work(protocol := Protocol(recipe, store))
    protocol.write_studies()
    study = only_study(store)
    assert protocol.finished() and set(Counter(trial.status for trial in study.trials)) == {"done", "pruned"}
    for number, trial in study.pruned.items():
        assert 0 < len(trial.validated) < EPOCHS and trial.number == number and not store.is_done(trial.cell)
    assert study.winner in {trial.cell for trial in study.trials if trial.status == "done"}
    assert [job.kind for job in crew.ran if job.kind != "search"] == ["confirm"]  # which is never pruned
    assert protocol.total() == len(protocol.done) + len(protocol.pruned) == 13
    assert set(protocol.pruned) == {trial.cell for trial in study.pruned.values()}
    plan = plan_of(protocol, Resources(), 2, Rate(1.0, 1.0, 1.0, "a test"))
    assert (plan.cells, plan.failed, plan.pruned) == (0, 0, len(study.pruned))
    again = Protocol(recipe, store)
    assert again.next_job() is None and again.finished() and winners(again) == winners(protocol)
    again.write_studies()
    assert only_study(store) == study


@pytest.mark.parametrize("sampler", ["sobol", "tpe"])
def test_a_killed_search_keeps_its_pruned_trials(store: Store, sampler: str) -> None:
    Crew(store).work(Protocol(pruning(sampler=sampler), store), stop_after=7)
    before = only_study(store).pruned
    assert before
    crew = Crew(store, seed=1).work(again := Protocol(pruning(sampler=sampler), store))
    after = only_study(store)
    for number, trial in before.items():
        assert after.trials[number] == trial and trial.cell not in {job.cell.id for job in crew.ran}
    assert again.finished() and after.winner and len(after.trials) == 12


def test_a_search_without_a_whole_trial_has_no_winner_and_says_so(store: Store) -> None:
    def fails(job: Job) -> bool:
        write_failure(store, job.cell, FailureKind.DIVERGED, "the loss is not finite", job=job.kind)
        return True

    Crew(store).work(protocol := Protocol(pruning(), store), fails=fails)
    protocol.write_studies()
    study = only_study(store)
    assert protocol.finished() and study.pruned and study.winner is None
    assert f"0 of 12 trials finished, {len(study.pruned)} were pruned; a winner needs" in study.too_few


def test_a_cell_that_studies_share_is_pruned_only_if_all_prune_it(store: Store) -> None:
    """The first guess of a search over the context temperature is that of the default reading."""
    readings = Readings(factors={"context_temperature": ["validated"]}, combinations=0, seed=0)
    protocol = Protocol(pruning(methods=["car_ft"], readings=readings), store)
    default, searched = protocol.studies
    jobs = {job.key: job for job in iter(protocol.next_job, None)}
    shared = jobs[default.trials.jobs[0].key]
    assert shared.key == searched.trials.jobs[0].key
    assert not protocol.stops(jobs[default.trials.jobs[1].key], [0.9])
    assert not protocol.stops(shared, [0.1])  # the other study knows nothing better
    assert not protocol.stops(jobs[searched.trials.jobs[1].key], [0.9])
    assert not protocol.stops(jobs[searched.trials.jobs[1].key], [0.9, 0.9])
    assert protocol.stops(shared, [0.1, 0.1])
    protocol.prune(shared, [0.1, 0.1])
    protocol.write_studies()
    assert [study.trials[0].status for study in store.studies()] == ["pruned", "pruned"]


def test_a_damaged_file_of_a_search_that_prunes_is_refused(store: Store) -> None:
    Crew(store).work(Protocol(pruning(), store), stop_after=6)
    (store.root / "studies" / only_study(store).id / "study.json").write_text("{")
    with pytest.raises(UserError, match="stands in no other file"):
        Protocol(pruning(), store)


def test_nothing_is_left_after_a_search_that_pruned(store: Store) -> None:
    """Pruned trials get no soup and no evaluation on held-out sets."""
    recipe = pruning(methods=["ft", "soup"], oracle=True)
    Crew(store).work(protocol := Protocol(recipe, store))
    assert protocol.finished() and protocol.pruned
    assert protocol.total() == len(protocol.done) + len(protocol.pruned)
    left = plan_of(protocol, Resources(), 2, Rate(1.0, 1.0, 1.0, "a test"))
    assert (left.cells, left.failed, left.left) == (0, 0, ())
