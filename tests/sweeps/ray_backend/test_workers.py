"""A cell on several workers is the same cell: the global batch and its gradient do not change."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.util.state import get_actor

from carft.catalog.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.config.registry import METHODS, SoupRule
from carft.posthoc.soup import run_soup
from carft.posthoc.wise_ft import run_curve
from carft.store.records import Store
from carft.training.execution import Execution
from sweeps.plan.resources import Resources
from sweeps.ray_backend.connect import connect
from sweeps.ray_backend.jobs import payload_of, run_payload
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from tests.support.helpers import TASK
from tests.support.processes import run_alone, run_on_two

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory, cells: dict[str, Cell]) -> Store:
    """The car_ft cell of ``finished`` on two workers."""
    return run_on_two(cells["car_ft"], tmp_path_factory.mktemp("two"))


def test_two_workers_agree_with_one(on_two: Store, finished: Store, cells: dict[str, Cell]) -> None:
    cell = cells["car_ft"].id
    metrics, expected = on_two.metrics(cell), finished.metrics(cell)
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = 1e-3 if name.endswith("loss") else 0.01  # one image whose two best classes are nearly equal
        assert metrics[name] == pytest.approx(value, abs=tolerance), name
    for name in ("val", *finished.evaluated(cell)):
        found, wanted = on_two.predictions(cell, name), finished.predictions(cell, name)
        np.testing.assert_allclose(found.logits, wanted.logits, rtol=0, atol=2e-2, err_msg=name)
        second, first = np.sort(wanted.logits, axis=1)[:, -2:].T
        assert (first - second)[found.predicted != wanted.predicted].max(initial=0) < 4e-2, name
        assert list(found.images) == list(wanted.images)


def test_two_workers_log_the_loss_of_the_global_batch(on_two: Store, finished: Store, cells: dict[str, Cell]) -> None:
    found, expected = (s.history(cells["car_ft"].id) for s in (on_two, finished))
    for column in ("lr", "train/loss", "train/kl", "grad_norm"):
        # later steps amplify differences in the last bits
        np.testing.assert_allclose(found[column][:10], expected[column][:10], rtol=1e-3, atol=1e-4, err_msg=column)


def test_a_record_says_how_many_workers_made_it(on_two: Store, cells: dict[str, Cell]) -> None:
    assert on_two.read(cells["car_ft"].id).provenance["execution"]["workers"] == 2


@pytest.mark.full
def test_workers_ask_their_own_ray_also_where_the_machine_names_another() -> None:
    run_alone(ask_own_state)


def ask_own_state() -> None:
    os.environ["RAY_ADDRESS"] = "127.0.0.1:1"  # as /tmp/ray/ray_current_cluster does after `ray start`
    connect(Resources(execution=Execution(workers=2)), log=print)
    try:
        actor = ray.remote(OwnState).remote()
        assert ray.get(actor.state.remote(), timeout=60) == "ALIVE"
    finally:
        ray.shutdown()


class OwnState:
    """An actor that asks Ray's state API about itself, as Ray Train does about the controller of a cell."""

    def state(self) -> str:
        return get_actor(ray.get_runtime_context().get_actor_id(), timeout=10).state


@pytest.mark.full
def test_jobs_that_do_not_train_use_all_workers_too(tmp_path: Path) -> None:
    store = Store(tmp_path / "two")
    store.root.mkdir()
    run_alone(run_every_kind, str(store.root))
    recipe = recipe_of_every_kind()
    (study,) = store.studies()
    sets, trials = set(BUILT_IN.card(TASK).sets), {trial.cell for trial in study.trials}
    trained = {*trials, *study.confirm}
    for cell in store.ids():
        assert store.evaluated(cell) == (set() if cell in trials else sets), store.read(cell).cell.method
        opened = [found.provenance for found in store.evaluations(cell).values()]
        executions = [store.read(cell).made_with.execution, *(one.execution for one in opened if one is not None)]
        workers = 1 if cell in trained else 2
        assert {execution.workers for execution in executions} == {workers} and len(executions) == 1 + len(opened)
    assert len(store.ids()) == 1 + 2 + 1 + len(recipe.alphas) + 2
    logged = [(line.cell, line.set) for line in store.unsealings()]
    assert len(logged) == len(set(logged)) == (len(store.ids()) - len(trials)) * len(sets)  # by the first workers alone
    copied = without_post_hoc(store, tmp_path / "one")
    run_curve(store.read(study.confirm[0]).cell, copied, Execution(), alphas=recipe.alphas)
    for rule in SoupRule:
        run_soup([store.read(trial.cell).cell for trial in study.trials], rule, copied, Execution())
    assert copied.ids() == store.ids()
    for cell in set(store.ids()) - trials:
        for name in ("val", *sets):
            found, wanted = store.predictions(cell, name), copied.predictions(cell, name)
            np.testing.assert_allclose(found.logits, wanted.logits, rtol=0, atol=3e-3, err_msg=f"{cell} {name}")


def recipe_of_every_kind() -> Recipe:
    return load_recipe("miniature").smoked().changed([TASK], ["zeroshot", "ft", "wise_ft", "soup"], 2, 1)


def run_every_kind(results: str) -> None:
    """What trains runs on one worker here: a trained cell on two is ``on_two``, a sweep of such cells that of
    tests/sweeps/faults/test_faults_of_clusters.py."""
    one, two = Execution(), Execution(workers=2)
    connect(Resources(execution=two), log=print)
    try:
        protocol = Protocol(recipe_of_every_kind(), Store(Path(results)))
        while (job := protocol.next_job()) is not None:
            execution = two if job.kind in ("curve", "soup") or job.cell.method == "zeroshot" else one
            assert run_payload(payload_of(job, results, execution, BUILT_IN)) == {"failure": ""}
            protocol.end(job)
        protocol.write_studies()
    finally:
        ray.shutdown()


def without_post_hoc(store: Store, folder: Path) -> Store:
    """A copy of a results folder without its post-hoc cells."""
    shutil.copytree(store.root, folder)
    for cell in store.ids():
        if METHODS[store.read(cell).cell.method].kind == "post-hoc":
            shutil.rmtree(folder / "cells" / cell)
    return Store(folder)
