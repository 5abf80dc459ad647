"""The number of workers of a cell where nobody gives it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from carft import NUMERICS
from carft.config.cell import Cell
from carft.store.records import Record, Store
from carft.training.execution import Execution
from sweeps.plan.planning import MIN_SPEEDUP, choose_workers_per_cell
from sweeps.ray_backend.connect import Resources
from sweeps.recipes import Recipe, load_recipe
from sweeps.search.protocol import Protocol
from tests.support.helpers import made_up_predictions, run_cli


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
    assert workers(store, load_recipe("miniature").changed(["icons/tools"]), 8) == 1
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


def test_other_cells_do_not_change_the_number_of_a_search(store: Store) -> None:
    recipe = imagenet()
    protocol = Protocol(recipe, store)
    study = protocol.studies[0]
    trial = study.trial_cells[0]
    made = {study.cell(trial.hyperparameters, 1): 4, replace(trial, hyperparameters={"lr": 1e-6}): 1, trial: 2}
    for cell, number in made.items():  # a confirm cell, one that `train` ran, and a trial
        record(store, cell, number, train=100.0)
        assert workers(store, recipe, 16) == (2 if number == 2 else 8)


def test_what_a_zero_shot_cell_took_does_not_change_the_number(store: Store) -> None:
    recipe = imagenet()
    record(store, recipe.cell("imagenet", "zeroshot", {}), 2, train=0.0, validate=1e6)
    assert workers(store, recipe, 8) == 4
