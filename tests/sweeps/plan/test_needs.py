"""What a sweep needs of machines, and how many workers a cell gets where nobody says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from carft import NUMERICS
from carft.config.cell import Cell
from carft.core.array_cache import ArrayCache
from carft.models.availability import ModelSize, size_of
from carft.store.record_files import Record
from carft.store.records import Store
from carft.training.execution import Execution
from sweeps.plan.planning import (
    DECODE_S,
    MIN_SPEEDUP,
    PROCESS_BYTES,
    START_S,
    TRAIN_START_S,
    Needs,
    Plan,
    choose_workers_per_cell,
    hardware_of,
    plan_of,
)
from sweeps.plan.rates import COMPILE_S, Costs, Rate
from sweeps.plan.resources import Resources
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from tests.support.helpers import made_up_predictions, run_cli

SIZE = ModelSize(10**9, 86_000_000, 150_000_000, text_parameters=63_000_000, text_kept_bytes=38_000_000)
#: seconds of a pass: 1,000 trained images a second at three passes each
PASS_S = 1 / 3000


def needs(recipe: Recipe, gpus: int, seconds: float = PASS_S, **execution: object) -> Needs:
    request = Resources(gpus, Execution("cuda" if gpus else "cpu", **execution))  # type: ignore[arg-type]
    costs, hardware = Costs(recipe.catalog, request.execution), hardware_of(request, recipe.precision)
    rate = Rate(seconds, seconds, seconds, "a test")
    made = Plan(
        recipe=recipe,
        request=request,
        slots=gpus or 2,
        total=0,
        done=0,
        failed=0,
        pruned=0,
        left=(),
        rate=rate,
        size=SIZE,
        hardware=hardware,
        costs=costs,
    )
    return made.needs


def test_checkpoints_are_three_copies_of_the_model_for_every_cell_at_a_time() -> None:
    found = needs(imagenet("zeroshot", "ft"), 8)
    assert (found.checkpoint_minutes, found.checkpoint_bytes) == (10, 8 * 12 * SIZE.parameters)
    assert found.memory_per_device == PROCESS_BYTES + 12 * SIZE.parameters
    none = needs(imagenet("zeroshot", "ft"), 8, checkpoint_minutes=0)
    assert none.checkpoint_bytes == 0


def test_photos_need_cores_that_decode_as_fast_as_the_gpu_trains_and_drawings_do_not() -> None:
    assert needs(imagenet("zeroshot", "ft"), 8).cores_per_device == 1 + round(1000 * DECODE_S + 0.5)
    assert needs(imagenet("zeroshot", "ft"), 8, seconds=PASS_S / 4).cores_per_device == 1 + round(4000 * DECODE_S + 0.5)
    jittered = load_recipe("domainbed").changed(["pacs/sketch"], ["zeroshot", "ft"])
    assert needs(jittered, 8).cores_per_device == 1 + round(3900 * DECODE_S + 0.5)
    assert needs(load_recipe("miniature").changed(["icons-3/mix-6"]), 8).cores_per_device == 1


def test_gpu_memory_is_that_of_a_batch_in_half_precision_and_of_the_numbers() -> None:
    found = needs(imagenet("zeroshot", "ft"), 8)
    assert found.gpu_bytes == 512 * 75_000_000 + 20 * SIZE.parameters
    both = needs(imagenet("ft", "flyp"), 8)
    assert both.gpu_bytes == 512 * 94_000_000 + 20 * 149_000_000 and both.checkpoint_bytes == 8 * 12 * 149_000_000
    assert needs(imagenet("zeroshot", "ft"), 0).gpu_bytes == 0


def test_plan_says_it_in_words_and_in_json_also_where_the_data_are_not(tmp_path: Path) -> None:
    asked = ("ood", "--gpus", 8, "--data", tmp_path, "--results", tmp_path / "results")
    said = run_cli("plan", *asked)
    assert said.returncode == 1 and "In the way:" in said.stdout
    assert "checkpoint minutes" in said.stdout and "memory per device" in said.stdout
    found = json.loads(run_cli("plan", *asked, "--checkpoint-minutes", 3, "--json").stdout)
    assert found["needs"]["checkpoint_minutes"] == 3 and found["needs"]["checkpoint_bytes"] > 2**30
    assert found["needs"]["cache_bytes"] == ArrayCache.limit


def imagenet(*methods: str) -> Recipe:
    return load_recipe("ood").changed(["imagenet"], methods or ["zeroshot", "ft", "car_ft"])


def workers(store: Store, recipe: Recipe, gpus: int, node_gpus: int = 0, **execution: object) -> int:
    execution_ = Execution("cuda" if gpus else "cpu", **execution)  # type: ignore[arg-type]
    request = Resources(gpus, execution_, gpu_model="H100" if gpus else "", node_gpus=node_gpus)
    return choose_workers_per_cell(request, Protocol(recipe, store)).execution.workers


def record(store: Store, cell: Cell, workers: int, **durations: float) -> None:
    made = {"execution": {"device": "cuda", "workers": workers, "threads": 1}, "machine": {}, "numerics": NUMERICS}
    store.write(Record(cell, {"val/top1": 0.5, "val/loss": 1.0}, made, durations), [], made_up_predictions())


@pytest.mark.parametrize(("gpus", "wanted"), [(0, 1), (1, 1), (4, 1), (8, 4), (16, 8)])
def test_long_cells_get_the_workers_that_end_the_sweep_soonest(store: Store, gpus: int, wanted: int) -> None:
    assert workers(store, imagenet(), gpus) == wanted


@pytest.mark.parametrize(("gpus", "node_gpus", "most"), [(64, 8, 8), (800, 8, 8), (800, 0, 8), (64, 4, 4), (60, 6, 6)])
def test_a_worker_gets_64_images_of_a_batch_and_is_on_the_node_of_the_others(
    store: Store, gpus: int, node_gpus: int, most: int
) -> None:
    """A batch has 512 images."""
    assert workers(store, imagenet(), gpus, node_gpus) == most
    small = imagenet().changed(training={"batch_size": 128})
    assert workers(store, small, gpus, node_gpus) == 2


@pytest.mark.parametrize(("card", "link_s"), [("H100", 1 / 225e9), ("L40S", 1 / 16e9), ("unknown", 1 / 16e9)])
def test_a_forecast_has_the_start_of_the_workers_and_what_they_exchange(store: Store, card: str, link_s: float) -> None:
    """By hand: each of four workers sends three quarters of the gradients twice."""
    protocol = Protocol(imagenet("ft"), store)
    rate = Rate(PASS_S, PASS_S, PASS_S, "a test", estimate=True)
    found = plan_of(protocol, Resources(4, Execution("cuda", workers=4), gpu_model=card), 1, rate)
    parameters = size_of("ViT-B-16").parameters  # type: ignore[union-attr]
    jobs = sum(work.jobs for work in found.left)
    passes = sum(work.jobs * work.passes for work in found.left if work.trains)
    exchange_s = found.steps * 2 * 3 / 4 * 4 * parameters * link_s
    assert found.busy_s == pytest.approx(passes * PASS_S + exchange_s)
    assert found.wall_s == pytest.approx(START_S + found.busy_s + jobs * TRAIN_START_S)
    one = plan_of(protocol, Resources(4, Execution("cuda"), gpu_model=card), 1, rate)
    assert one.wall_s == pytest.approx(START_S + passes * PASS_S)
    of_records = plan_of(protocol, found.request, 1, replace(rate, estimate=False))
    assert of_records.wall_s == pytest.approx(one.wall_s + jobs * TRAIN_START_S)


def test_each_training_compiles_and_records_include_it(store: Store) -> None:
    protocol = Protocol(imagenet("ft"), store)
    plain, compiled = (
        plan_of(protocol, Resources(1, Execution("cuda", compile=wanted), gpu_model="H100"), 1)
        for wanted in (False, True)
    )
    trainings = sum(work.jobs for work in plain.left if work.trains)
    assert compiled.busy_s == pytest.approx(plain.busy_s + COMPILE_S * trainings)


def test_short_cells_shared_gpus_and_methods_that_need_whole_batches_keep_one_worker(store: Store) -> None:
    assert workers(store, load_recipe("miniature").changed(["icons-3/mix-6"]), 8) == 1
    assert workers(store, imagenet(), 8, cells_per_gpu=2) == 1
    assert workers(store, imagenet("zeroshot", "ft", "car_ft_permuted"), 8) == 1


def test_plan_chooses_unless_told_and_the_forecast_is_that_of_the_choice(tmp_path: Path) -> None:
    cards = ("--gpus", 8, "--gpu-model", "H100")
    asked = ("plan", "ood", *cards, "--data", tmp_path, "--results", tmp_path / "results", "--json")
    said = {given: json.loads(run_cli(*asked, *given).stdout) for given in ((), ("--workers-per-cell", 1))}
    auto, one = said.values()
    assert (auto["needs"]["workers"], one["needs"]["workers"]) == (4, 1)
    assert (auto["slots"], one["slots"]) == (2, 8)
    assert MIN_SPEEDUP * auto["wall_s"] < one["wall_s"]
    people = run_cli(*asked[:-1])
    assert "Each cell is trained by 4 workers;" in people.stderr


def test_other_cells_do_not_change_the_number_of_a_search(store: Store) -> None:
    recipe = imagenet()
    protocol = Protocol(recipe, store)
    study = protocol.studies[0]
    trial = study.trial_cells[0]
    made = {study.cell(trial.hyperparameters, 1): 4, replace(trial, hyperparameters={"lr": 1e-6}): 1, trial: 2}
    for cell, number in made.items():  # a confirm cell, one that `train` ran, and a trial
        record(store, cell, number, train=100.0)
        assert workers(store, recipe, 16) == (2 if number == 2 else 8)
