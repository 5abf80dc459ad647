"""What only a card can show: `pytest -m gpu`, about ten minutes. Without one every test is skipped, aloud."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.cell import Cell, Training
from carft.data.views import CentreView, Feed
from carft.models.availability import counted
from carft.models.clip import load_pretrained
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.device import gpu_name, probe_gpu, use_repeatable_cublas
from carft.training.execution import Execution
from carft.training.loop import Trainer
from carft.training.run import compute, run_cell
from sweeps.faults.policy import run_until_it_fits
from tests.support.cards import on_noise, require_repeatable, sweep_that_fills
from tests.support.gates import Gate
from tests.support.helpers import LR, TASK, quick_cell
from tests.support.processes import run_on_two

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

DEVICE = "cuda"
#: parts of a batch that fit where the whole batch does not
PARTS = 4
#: model, precision and batch of what a card is rented for
RENTED_FOR = ("ViT-B-16", "bfloat16", 256)
CELL = quick_cell("car_ft", epochs=2, lr=LR, kl_weight=1.0)


def context_of(cell: Cell, **options: Any) -> CellContext:
    execution = Execution(DEVICE, **options)
    execution.prepare()
    return CellContext.of(cell, execution, catalog=BUILT_IN)


@pytest.fixture(autouse=True)
def back_on_the_cpu() -> Any:
    """Other tests of this process find the pretrained models where they left them."""
    yield
    load_pretrained(CELL.model, CELL.pretrained).clip.to("cpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_context_divergence_is_zero_at_the_first_step(precision: str) -> None:
    cell = replace(CELL, precision=precision)
    history = compute(cell, context_of(cell)).history
    assert abs(history[0]["train/kl"]) < 1e-6 < history[-1]["train/kl"]


def test_a_training_has_the_same_bits_each_time_and_when_it_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    require_repeatable(CELL, context_of(CELL), tmp_path)


def test_what_a_card_is_rented_for_has_the_same_bits_and_fits_into_the_memory_that_plan_states(tmp_path: Path) -> None:
    """ViT-B/16 in bfloat16 with a batch of 256, run twice and resumed."""
    cell, context = on_noise(*RENTED_FOR, 2, Execution(DEVICE))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    require_repeatable(cell, context, tmp_path)
    size = counted(RENTED_FOR[0])
    forecast = size.training_bytes(RENTED_FOR[2], RENTED_FOR[1])
    assert torch.cuda.max_memory_allocated() == pytest.approx(forecast, rel=0.2)


def test_a_sweep_of_tiny_cells_leaves_no_gpu_idle(tmp_path: Path, gate: Gate) -> None:
    gpus = torch.cuda.device_count()
    used = sweep_that_fills(gpus, tmp_path / "results", gate, "--gpus", gpus)
    assert len(set(used)) == gpus


def test_a_compiled_training_starts_at_no_divergence_and_agrees() -> None:
    plain, compiled = (compute(CELL, context_of(CELL, compile=wanted)).history for wanted in (False, True))
    assert abs(compiled[0]["train/kl"]) < 1e-6
    assert compiled[-1]["train/loss"] == pytest.approx(plain[-1]["train/loss"], rel=0.05)


def test_two_gpus_agree_with_one(tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    one = run_cell(CELL, Store(tmp_path / "one"), Execution(DEVICE), unseal=True).metrics
    two = run_on_two(CELL, tmp_path / "two", DEVICE).metrics(CELL.id)
    for name, value in one.items():
        assert two[name] == pytest.approx(value, abs=1e-3 if name.endswith("loss") else 0.02), name


def test_a_step_does_not_wait_for_the_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context = context_of(CELL, feature_cache=str(tmp_path))
    method = BUILT_IN.method("car_ft").load()(CELL, context.pretrained, context.prompts)
    trainer = Trainer(CELL, context, context.network(), method)
    trainer.train_epoch(0)
    update = Trainer.update

    def strict(self: Trainer, *given: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return update(self, *given)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Trainer, "update", strict)
    trainer.train_epoch(1)
    assert all("train/kl" in row for row in trainer.progress.history)


def test_batches_reach_the_gpu_as_they_are() -> None:
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8)
    plan = [np.arange(first, first + 8) for first in range(0, 64, 8)] * 5
    feed = Feed(images, plan, CentreView(32), torch.device("cuda", 0))
    for rows, batch in zip(plan, feed, strict=True):
        torch.cuda._sleep(10_000_000)  # the device computes while the next batches are copied
        assert torch.equal(batch.cpu(), images[rows])


def test_memory_that_runs_out_is_met_with_smaller_parts_of_the_same_batch() -> None:
    training = Training(epochs=1, batch_size=128)
    cell = specify(TASK, "ft", {"lr": LR}, 0, training, None, "ViT-B-32", "random")
    peaks, used = {}, []

    def run(execution: Execution) -> None:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        used.append(execution.accumulation)
        compute(cell, context_of(cell, accumulation=execution.accumulation))
        peaks[execution.accumulation] = torch.cuda.max_memory_reserved()

    for parts in (1, PARTS):
        run(Execution(DEVICE, accumulation=parts))
    limit = (peaks[1] + peaks[PARTS]) / 2 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(limit)
    try:
        run_until_it_fits(run, cell, Execution(DEVICE), print, BUILT_IN, {})
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert used[:3] == [1, PARTS, 1] and used[3:] in ([2], [2, PARTS])


def test_float32_is_float32_in_products_and_convolutions() -> None:
    Execution(DEVICE).prepare()
    random = torch.manual_seed(0)
    a, b = (torch.randn(1024, 1024, generator=random) for _ in range(2))
    images, kernel = torch.randn(8, 64, 32, 32, generator=random), torch.randn(64, 64, 3, 3, generator=random)
    pairs = [
        (a.to(DEVICE) @ b.to(DEVICE), a.double() @ b.double()),
        (
            torch.nn.functional.conv2d(images.to(DEVICE), kernel.to(DEVICE)),
            torch.nn.functional.conv2d(images.double(), kernel.double()),
        ),
    ]
    for found, exact in pairs:  # TensorFloat-32 keeps ten bits of a number, and errs by about 1e-3
        assert float((found.cpu().double() - exact).abs().max() / exact.abs().max()) < 1e-5


def test_the_card_has_a_name_and_computes() -> None:
    use_repeatable_cublas()
    assert gpu_name().startswith(("GPU-", "MIG-"))
    probe_gpu(DEVICE, gpu_name())
