"""A cell that runs out of memory is run again in more parts, then with gradient checkpointing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.cell import Cell, Training
from carft.config.registry import METHODS
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.loop import Trainer
from carft.training.run import compute
from sweeps.faults.policy import Fitted, run_until_it_fits, smaller_execution
from sweeps.ray_backend.jobs import payload_of, run_payload
from sweeps.search.jobs import Job
from tests.support.cards import TINY_VIT
from tests.support.helpers import LR, quick_cell

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here fills memory, and to collect the garbage of a process of tests takes a second."""
    monkeypatch.setattr("gc.collect", int)


def cell_of(batch_size: int, method: str = "ft") -> Cell:
    hyperparameters = {"lr": LR, **({"kl_weight": 1.0} if method.startswith("car_ft") else {})}
    return specify("icons-3/mix-7", method, hyperparameters, 0, Training(epochs=1, batch_size=batch_size))


class Machine:
    """Runs a cell where a part of more than ``fits`` images does not fit; with checkpointing, of ``checkpointed``."""

    def __init__(self, cell: Cell, fits: int, checkpointed: int | None = None) -> None:
        self.batch_size, self.fits = cell.training.batch_size, fits
        self.checkpointed = fits if checkpointed is None else checkpointed
        self.tried: list[tuple[int, bool]] = []

    def run(self, execution: Execution) -> None:
        self.tried.append((execution.accumulation, execution.grad_checkpointing))
        images = -(-self.batch_size // (execution.accumulation * execution.workers))
        if images > (self.checkpointed if execution.grad_checkpointing else self.fits):
            raise OUT_OF_MEMORY


def test_parts_are_doubled_until_the_cell_fits() -> None:
    cell, lines = cell_of(512), []
    machine = Machine(cell, fits=100)
    run_until_it_fits(machine.run, cell, Execution(), lines.append, BUILT_IN, {})
    assert machine.tried == [(1, False), (2, False), (4, False), (8, False)]
    assert lines[-1] == "Out of memory: once more with each batch in 8 parts."


def test_the_next_cell_of_the_model_starts_with_what_fitted() -> None:
    machine, fitted = Machine(cell_of(512), fits=100), Fitted()
    run_until_it_fits(machine.run, cell_of(512), Execution(), print, BUILT_IN, fitted)
    machine.tried.clear()
    run_until_it_fits(machine.run, cell_of(512, "car_ft"), Execution(), print, BUILT_IN, fitted)
    assert machine.tried == [(8, False)]
    for other in (replace(cell_of(512), model="ViT-B-32"), replace(cell_of(512), precision="bfloat16")):
        machine.tried.clear()
        run_until_it_fits(machine.run, other, Execution(), print, BUILT_IN, fitted)
        assert machine.tried[0] == (1, False)
    machine.tried.clear()
    run_until_it_fits(machine.run, cell_of(512), Execution(accumulation=16), print, BUILT_IN, fitted)
    assert machine.tried == [(16, False)]


def test_gradients_are_checkpointed_where_parts_of_32_do_not_fit() -> None:
    cell, lines = cell_of(128), []
    machine = Machine(cell, fits=20, checkpointed=40)
    run_until_it_fits(machine.run, cell, Execution(), lines.append, BUILT_IN, {})
    assert machine.tried == [(1, False), (2, False), (4, False), (4, True)]
    assert "activations computed again" in lines[-1]


def test_parts_shrink_to_single_images_and_then_the_error_is_the_cells() -> None:
    cell = cell_of(64)
    machine = Machine(cell, fits=0)
    with pytest.raises(torch.OutOfMemoryError):
        run_until_it_fits(machine.run, cell, Execution(workers=2), print, BUILT_IN, {})
    assert machine.tried == [(1, False), (1, True), (2, True), (4, True), (8, True), (16, True), (32, True)]
    machine = Machine(cell, fits=64)
    run_until_it_fits(machine.run, cell, Execution(workers=2), print, BUILT_IN, {})
    assert machine.tried == [(1, False)]  # what never fitted is not remembered


def test_another_error_is_not_tried_again() -> None:
    tried = []

    def run(execution: Execution) -> None:
        tried.append(execution)
        raise ValueError("no memory problem")

    with pytest.raises(ValueError, match="no memory problem"):
        run_until_it_fits(run, cell_of(512), Execution(), print, BUILT_IN, {})
    assert len(tried) == 1


def test_a_loss_that_needs_the_whole_batch_is_checkpointed_and_never_split() -> None:
    large, small = cell_of(512, "car_ft_permuted"), cell_of(16, "car_ft_permuted")
    card, checkpointed = METHODS["car_ft_permuted"], Execution(grad_checkpointing=True)
    assert smaller_execution(large, Execution(), card) == checkpointed
    assert smaller_execution(small, Execution(), card) == checkpointed
    assert smaller_execution(small, checkpointed, card) is None
    fitted = Fitted()
    run_until_it_fits(Machine(cell_of(512), fits=100).run, cell_of(512), Execution(), print, BUILT_IN, fitted)
    machine = Machine(large, fits=512)
    run_until_it_fits(machine.run, large, Execution(), print, BUILT_IN, fitted)
    assert machine.tried == [(1, False)]  # what the model learnt from another method cannot be used


def test_a_job_that_runs_out_of_memory_leaves_a_record_that_says_in_how_many_parts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Trainer.forward

    def small(self: Trainer, step: int, part, pixels: torch.Tensor):
        if len(part.rows) > 10:
            raise OUT_OF_MEMORY
        return forward(self, step, part, pixels)

    monkeypatch.setattr(Trainer, "forward", small)
    cell = quick_cell("ft", lr=LR)
    message = payload_of(Job("search", cell), str(store.root), Execution(), catalog=BUILT_IN)
    assert run_payload(message) == {"failure": ""}
    execution = store.read(cell.id).provenance["execution"]
    assert (execution["accumulation"], execution["grad_checkpointing"]) == (4, True)


@pytest.mark.parametrize("method", ["ft", pytest.param("flyp", marks=pytest.mark.full)])
def test_gradient_checkpointing_gives_the_same_training(bench: CellContext, method: str) -> None:
    cell = replace(quick_cell(method, lr=LR), model=TINY_VIT, pretrained="random")
    context = replace(CellContext.of(cell, Execution(), catalog=BUILT_IN), task=bench.task)
    whole, checkpointed = (
        compute(cell, replace(context, execution=Execution(grad_checkpointing=on))) for on in (False, True)
    )
    assert checkpointed.network.visual.transformer.grad_checkpointing
    whole, again = whole.history, checkpointed.history
    for column in ("train/loss", "grad_norm"):
        np.testing.assert_allclose([r[column] for r in again], [r[column] for r in whole], rtol=1e-4, err_msg=column)
