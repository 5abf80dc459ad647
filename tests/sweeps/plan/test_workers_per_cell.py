"""The number of workers of a cell where nobody gives it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from carft import NUMERICS
from carft.spec.cell import Cell
from carft.store.records import Record, Store
from carft.training.execution import Execution
from sweeps.faults.storage_retry import StorageRetry
from sweeps.plan.forecast import simulate
from sweeps.plan.planning import MIN_SPEEDUP, choose_workers_per_cell
from sweeps.plan.work import PendingWork
from sweeps.ray_backend.connect import Resources
from sweeps.ray_backend.searcher import ProtocolSearcher
from sweeps.recipes import Recipe, load_recipe
from sweeps.search.protocol import Protocol, slots_of_a_confirm_cell
from tests.support.helpers import made_up_predictions, run_cli
from tests.sweeps.search.test_protocol import TASKS, Crew, small


def imagenet(*methods: str) -> Recipe:
    return load_recipe("ood").changed(["imagenet"], methods or ["zeroshot", "ft", "car_ft"])


def workers(store: Store, recipe: Recipe, gpus: int, **execution: object) -> int:
    request = Resources(gpus, Execution("cuda" if gpus else "cpu", **execution))  # type: ignore[arg-type]
    return choose_workers_per_cell(request, Protocol(recipe, store)).workers_per_cell


def record(store: Store, cell: Cell, workers: int, **durations: float) -> None:
    made = {"execution": {"device": "cuda", "workers": workers, "threads": 1}, "machine": {}, "numerics": NUMERICS}
    store.write(Record(cell, {"val/top1": 0.5, "val/loss": 1.0}, made, durations), [], made_up_predictions())


@pytest.mark.parametrize(("gpus", "wanted"), [(0, 1), (1, 1), (4, 1), (8, 4), (16, 8)])
def test_long_cells_get_the_workers_that_end_the_sweep_soonest(store: Store, gpus: int, wanted: int) -> None:
    assert workers(store, imagenet(), gpus) == wanted


def test_short_cells_shared_gpus_and_methods_that_need_whole_batches_keep_one_worker(store: Store) -> None:
    assert workers(store, load_recipe("miniature"), 8) == 1
    assert workers(store, imagenet(), 8, cells_per_gpu=2) == 1
    assert workers(store, imagenet("zeroshot", "ft", "car_ft_permuted"), 8) == 1


def test_a_folder_keeps_the_number_that_its_cells_were_trained_with(store: Store) -> None:
    recipe = imagenet()
    protocol = Protocol(recipe, store)
    cell = protocol.studies[0].trial_cells[0]
    record(store, cell, 4, train=100.0)
    assert workers(store, recipe, 8) == 4
    assert workers(store, recipe, 2) == 1  # four do not fit


def test_plan_chooses_unless_told_and_the_forecast_is_that_of_the_choice(tmp_path: Path) -> None:
    asked = ("plan", "ood", "--gpus", 8, "--data", tmp_path, "--results", tmp_path / "results", "--json")
    said = {given: json.loads(run_cli(*asked, *given).stdout) for given in ((), ("--workers-per-cell", 1))}
    auto, one = said.values()
    assert (auto["needs"]["workers"], one["needs"]["workers"]) == (4, 1)
    assert (auto["slots"], one["slots"]) == (2, 8)
    assert MIN_SPEEDUP * auto["wall_s"] < one["wall_s"]
    people = run_cli(*asked[:-1])
    assert "Each cell is trained by 4 workers." in people.stdout


@pytest.mark.parametrize(
    ("slots", "free", "trainings", "taken"),
    [(4, 4, 1, 4), (4, 4, 2, 2), (4, 4, 3, 1), (4, 3, 1, 2), (4, 1, 1, 1), (4, 2, 6, 1), (3, 2, 1, 1), (8, 7, 1, 4)],
)
def test_a_confirm_cell_takes_the_slots_that_no_other_training_would_use(
    slots: int, free: int, trainings: int, taken: int
) -> None:
    assert slots_of_a_confirm_cell(slots, free, trainings) == taken


def test_wider_confirm_cells_end_a_sweep_sooner_where_they_are_fewer_than_the_slots() -> None:
    left = [
        PendingWork("study", "search", "task", "ft", 2, 2, 10.0, 0, 0.0),
        PendingWork("study", "confirm", "task", "ft", 2, 2, 10.0, 0, 0.0),
        PendingWork("study", "curve", "task", "wise_ft", 2, 6, 1.0, 0, 0.0),
    ]

    def length(slots: int, widens: bool) -> float:
        return simulate(left, slots, lambda work: work.passes, widens)[0]

    assert length(slots=4, widens=False) == 10 + 10 + 1
    assert length(slots=4, widens=True) == 10 + 10 / 2 + 1
    assert length(slots=2, widens=True) == 10 + 10 + 1


def test_other_cells_do_not_change_the_number_of_a_search(store: Store) -> None:
    recipe = imagenet()
    protocol = Protocol(recipe, store)
    study = protocol.studies[0]
    trial = study.trial_cells[0]
    made = {study.cell(trial.hyperparameters, 1): 4, replace(trial, hyperparameters={"lr": 1e-6}): 1, trial: 2}
    for cell, number in made.items():  # a late confirm cell, one that `train` ran, and a trial
        record(store, cell, number, train=100.0)
        assert workers(store, recipe, 16) == (2 if number == 2 else 8)


def test_what_a_zero_shot_cell_took_does_not_change_the_number(store: Store) -> None:
    recipe = imagenet()
    record(store, recipe.cell("imagenet", "zeroshot", {}), 2, train=0.0, validate=1e6)
    assert workers(store, recipe, 8) == 4


def test_a_late_confirm_cell_has_all_workers_and_as_many_as_the_others_when_it_runs_again(store: Store) -> None:
    protocol = Protocol(small(tasks=TASKS[:1], methods=["zeroshot", "ft"], trials=2, seeds=1), store)
    Crew(store, workers=1).work(protocol, stop_after=3)  # zero-shot and both trials
    request = Resources(8, Execution("cuda", workers=2), widens=True)
    retry = StorageRetry(store, lambda _: None)
    searcher = ProtocolSearcher(protocol, str(store.root), request, retry, lambda: 4, lambda: None, "a sweep")
    first = searcher.suggest("one")["job"]
    assert (first["kind"], first["execution"]["workers"], first["wide"]) == ("confirm", 8, True)
    assert searcher.suggest("two") is None
    searcher.on_trial_complete("one", {"failure": "its workers did not start", "kind": "lost"})
    again = searcher.suggest("three")["job"]
    assert (again["key"], again["execution"]["workers"], again["wide"]) == (first["key"], 2, False)
