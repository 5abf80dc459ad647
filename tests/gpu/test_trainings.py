"""Every method, precision and way to compute a cell, once on a card with a ViT: `pytest -m gpu`, some minutes more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from carft.config.registry import METHODS
from carft.models.clip import load_pretrained
from carft.training.execution import Execution
from carft.training.run import compute
from tests.support.cards import as_photos, on_noise, require_repeatable, require_same_bits
from tests.support.processes import noise_on

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

DEVICE = "cuda"
MODEL = "ViT-B-32"
#: images of a batch, and batches of an epoch
BATCH, STEPS = 32, 2
TRAINED = [name for name, card in METHODS.items() if card.kind == "trained"]
#: relative difference of the loss of a precision from that of float32 that rounding may make
ROUNDING = {"tf32": 0.01, "float16": 0.03, "bfloat16": 0.1}


@pytest.fixture(autouse=True)
def back_on_the_cpu() -> Iterator[None]:
    """Other tests of this process find the pretrained model where they left it."""
    yield
    load_pretrained(MODEL, "random").clip.to("cpu")
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("method", TRAINED)
def test_a_method_has_kernels_that_are_deterministic_and_gives_the_same_bits(method: str, tmp_path: Path) -> None:
    cell, context = on_noise(MODEL, "bfloat16", BATCH, STEPS, Execution(DEVICE), method)
    first = compute(cell, context)
    assert torch.are_deterministic_algorithms_enabled()
    require_same_bits(first, compute(cell, context))


def test_jpeg_files_reach_the_card_through_the_feed_with_the_same_bits(tmp_path: Path) -> None:
    cell, context = on_noise(MODEL, "bfloat16", BATCH, STEPS, Execution(DEVICE))
    require_repeatable(cell, as_photos(context, tmp_path / "photos"), tmp_path)


@pytest.mark.parametrize("precision", ROUNDING)
def test_a_precision_repeats_resumes_and_is_near_float32(precision: str, tmp_path: Path) -> None:
    cell, context = on_noise(MODEL, precision, BATCH, STEPS, Execution(DEVICE))
    require_repeatable(cell, context, tmp_path)
    found = compute(cell, context).history
    exact = compute(replace(cell, precision="float32"), context).history
    assert found != exact
    for row, wanted in zip(found, exact, strict=True):
        assert row["train/loss"] == pytest.approx(wanted["train/loss"], rel=ROUNDING[precision])


def test_a_compiled_vit_repeats_and_is_near_the_eager_one(tmp_path: Path) -> None:
    cell, context = on_noise(MODEL, "bfloat16", BATCH, STEPS, Execution(DEVICE))
    eager = compute(cell, context).history
    compiled = replace(context, execution=replace(context.execution, compile=True))
    require_repeatable(cell, compiled, tmp_path)
    found = compute(cell, compiled).history
    assert abs(found[0]["train/kl"]) < 1e-3
    for row, wanted in zip(found, eager, strict=True):
        assert row["train/loss"] == pytest.approx(wanted["train/loss"], rel=0.05)


def test_a_vit_on_two_cards_accumulates_resumes_and_agrees_with_one(tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    one = noise_on(1, MODEL, "float32", tmp_path / "one", DEVICE)
    two = noise_on(2, MODEL, "float32", tmp_path / "two", DEVICE)
    for first, second in zip(one["history"], two["history"], strict=True):
        assert second["train/loss"] == pytest.approx(first["train/loss"], rel=1e-3)
    assert two["metrics"]["val/loss"] == pytest.approx(one["metrics"]["val/loss"], rel=1e-2)
