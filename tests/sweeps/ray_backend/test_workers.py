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
from carft.catalog.resolve import soup_of
from carft.config.cell import Cell
from carft.config.registry import METHODS, SoupRule
from carft.posthoc.soup import run_soup
from carft.posthoc.wise_ft import run_curve
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from sweeps.plan.resources import Resources
from sweeps.ray_backend.connect import connect
from sweeps.search.jobs import Job
from tests.support.helpers import LR, TASK, quick_cell
from tests.support.processes import run_alone, run_jobs_on_two, run_on_two

pytestmark = pytest.mark.slow

ALPHAS = (0.5,)


@pytest.fixture(scope="module")
def souped(cells: dict[str, Cell]) -> list[Cell]:
    """Two cells that one worker trains."""
    return [cells["ft"], quick_cell("ft", seed=1, lr=LR)]


@pytest.fixture(scope="module")
def on_two(
    tmp_path_factory: pytest.TempPathFactory,
    finished: Store,
    cells: dict[str, Cell],
    souped: list[Cell],
    execution: Execution,
) -> Store:
    """Every kind of job on two workers: zero-shot and CAR-FT, the curve of its cell, soups of cells of one worker."""
    folder = tmp_path_factory.mktemp("two")
    first, second = souped
    shutil.copytree(finished.folder(first.id), folder / "cells" / first.id)
    run_cell(second, Store(folder), execution, keep_weights=True)
    jobs = [
        Job("confirm", cells["zeroshot"]),
        Job("confirm", cells["car_ft"]),
        Job("curve", cells["car_ft"], alphas=ALPHAS),
        Job("soup", soup_of(souped, SoupRule.UNIFORM, BUILT_IN)),
    ]
    return run_jobs_on_two(jobs, folder)


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


def test_jobs_that_do_not_train_use_all_workers_too(
    on_two: Store, finished: Store, cells: dict[str, Cell], souped: list[Cell], tmp_path: Path
) -> None:
    sets, made_by_one = set(BUILT_IN.card(TASK).sets), {cell.id for cell in souped}
    by_two = set(on_two.ids()) - made_by_one
    assert len(by_two) == 2 + len(ALPHAS) + len(SoupRule)
    for cell in by_two:
        opened = on_two.evaluations(cell)
        assert opened.keys() == sets, on_two.read(cell).cell.method
        executions = [on_two.read(cell).made_with.execution, *(one.provenance.execution for one in opened.values())]
        assert {execution.workers for execution in executions} == {2}
    logged = [(line.cell, line.set) for line in on_two.unsealings()]
    assert len(logged) == len(set(logged)) == len(by_two) * len(sets)  # by the first workers alone
    alone = without_post_hoc(on_two, tmp_path / "one")
    run_curve(cells["car_ft"], alone, Execution(), alphas=ALPHAS)
    for rule in SoupRule:
        run_soup(souped, rule, alone, Execution())
    assert alone.ids() == on_two.ids()
    for cell in by_two - {cells["car_ft"].id}:
        expected = finished if cell == cells["zeroshot"].id else alone
        for name in ("val", *sets):
            found, wanted = on_two.predictions(cell, name), expected.predictions(cell, name)
            np.testing.assert_allclose(found.logits, wanted.logits, rtol=0, atol=3e-3, err_msg=f"{cell} {name}")


def without_post_hoc(store: Store, folder: Path) -> Store:
    """A copy of a results folder without its post-hoc cells."""
    shutil.copytree(store.root, folder)
    for cell in store.ids():
        if METHODS[store.read(cell).cell.method].kind == "post-hoc":
            shutil.rmtree(folder / "cells" / cell)
    return Store(folder)


@pytest.mark.full
@pytest.mark.ray
def test_workers_of_ray_train_give_the_same_bits(on_two: Store, cells: dict[str, Cell], tmp_path: Path) -> None:
    """A sweep of such cells is in tests/sweeps/faults."""
    cell = cells["car_ft"]
    by_ray = run_on_two(cell, tmp_path)
    assert by_ray.read(cell.id).provenance["execution"]["workers"] == 2
    assert by_ray.metrics(cell.id) == on_two.metrics(cell.id)


@pytest.mark.full
@pytest.mark.ray
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
