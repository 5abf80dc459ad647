"""Fixtures of the whole suite: one prepared execution, one folder of finished cells, one bench.

``tests/conftest.py`` loads them in the processes that run tests: they import torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings

from carft.catalog.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.core.files import locked
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import run_cell
from tests.support.browsing import CHROMIUM, FLAGS, PATIENCE_MS
from tests.support.drawn import all_images, share_drawings
from tests.support.gates import Gate, closed_gate
from tests.support.helpers import LR, ROOT, quick_cell
from tests.support.processes import open_few_images

share_drawings()

settings.register_profile(
    "carft", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("carft")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU on this machine")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, one for each process: Playwright cannot be started twice in one."""
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), timeout=PATIENCE_MS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def execution() -> Execution:
    """One CPU worker on one thread, set up."""
    execution = Execution()
    execution.prepare()
    return execution


@pytest.fixture(scope="session")
def cells() -> dict[str, Cell]:
    """The cells that ``finished`` holds, by method."""
    return {
        "zeroshot": quick_cell("zeroshot"),
        "ft": quick_cell("ft", lr=LR),
        "car_ft": quick_cell("car_ft", lr=LR, kl_weight=1.0),
    }


@pytest.fixture(scope="session")
def finished(execution: Execution, cells: dict[str, Cell]) -> Store:
    """A results folder with one-epoch cells of three methods, evaluated on test set and suites. Do not change it.

    The first process of the run that needs it computes the cells, and the others find them.
    """
    store = Store(Path(os.environ["CARFT_PLANTED"], "finished"))
    with locked(store.root.with_suffix(".lock")):
        for cell in cells.values():
            run_cell(cell, store, execution, unseal=True)
    return store


@pytest.fixture(scope="session")
def whole_bench(execution: Execution, cells: dict[str, Cell]) -> CellContext:
    """Task with all of its images, pretrained model and prompts of the smallest task."""
    with all_images():
        return CellContext.of(cells["ft"], execution, catalog=BUILT_IN)


@pytest.fixture(scope="session")
def bench(execution: Execution, cells: dict[str, Cell]) -> CellContext:
    """The same with fewer images."""
    return open_few_images(cells["ft"], execution)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A head with one core that a sweep can join. Its parameter: whether it has Ray's dashboard."""
    from tests.support.nodes import Nodes  # Ray, which few tests need

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = Nodes(dashboard=getattr(request, "param", False))
    try:
        yield found
    finally:
        found.cluster.shutdown()


@pytest.fixture
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate for the cells of one sweep."""
    with closed_gate(tmp_path_factory.mktemp("gate") / "gate") as gate:
        yield gate


@pytest.fixture(scope="session", autouse=True)
def _quick_disk() -> Iterator[None]:
    """Nothing that this process writes is flushed to disk: made-up records are hundreds of files."""
    with patch("os.fsync", lambda descriptor: None):
        yield


@contextmanager
def _two_figures() -> Iterator[None]:
    from reports.render.figures.figure import figures

    with patch.dict(figures(), {name: figures()[name] for name in ("answer", "differences")}, clear=True):
        yield


@pytest.fixture(scope="module")
def few_figures() -> Iterator[None]:
    """For modules that are not about figures: their reports have two of them, since all take most of the time."""
    with _two_figures():
        yield


@pytest.fixture
def few_figures_here() -> Iterator[None]:
    """The same for one test."""
    with _two_figures():
        yield


@pytest.fixture(scope="module")
def whole_world() -> Iterator[None]:
    """For modules that compare with other processes, or with numbers on record: sets have all of their images.

    ``finished`` holds cells of few images.
    """
    with all_images():
        yield


@pytest.fixture
def store(tmp_path) -> Store:
    """An empty results folder."""
    return Store(tmp_path / "results")
