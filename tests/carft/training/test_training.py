"""The training loop: order, crops, learning rates, and what happens when the loss explodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carft.config.cell import Training
from carft.config.resolve import specify
from carft.data.views import crop_box
from carft.models.availability import ModelSize
from carft.training import pace
from carft.training.context import CellContext
from carft.training.pace import Pace
from carft.training.run import compute
from carft.training.schedule import draws, learning_rates, order
from tests.support.helpers import LR, TASK, quick_cell

seeds = st.integers(0, 2**31)
epochs = st.integers(0, 500)
counts = st.integers(1, 300)


def rates(warmup: float, steps: int, peak: float = 1.0) -> list[float]:
    return list(learning_rates(Training(warmup=warmup), peak, steps))


def crops(seed: int, epoch: int, count: int, side: int, least: float) -> np.ndarray:
    """Boxes (count, 4) of square images."""
    return np.array([crop_box(draw, side, side, least) for draw in draws(seed, epoch, count)])


@given(seeds, epochs, counts)
def test_an_epoch_shows_every_image_once(seed: int, epoch: int, count: int) -> None:
    assert sorted(order(seed, epoch, count)) == list(range(count))


@given(seeds, epochs, counts, st.integers(0, 100))
def test_order_and_crops_do_not_depend_on_what_was_drawn_before_or_follows(
    seed: int, epoch: int, count: int, more: int
) -> None:
    expected = order(seed, epoch, count), crops(seed, epoch, count, 64, 0.9)
    np.random.seed(count)
    torch.manual_seed(count)
    order(seed + 1, epoch, count)
    assert np.array_equal(order(seed, epoch, count), expected[0])
    assert np.array_equal(crops(seed, epoch, count + more, 64, 0.9)[:count], expected[1])


@given(seeds, epochs)
def test_another_seed_or_epoch_gives_another_order_and_other_crops(seed: int, epoch: int) -> None:
    for other in ((seed + 1, epoch), (seed, epoch + 1)):
        assert not np.array_equal(order(seed, epoch, 50), order(*other, 50))
        assert not np.array_equal(crops(seed, epoch, 50, 64, 0.5), crops(*other, 50, 64, 0.5))


@given(seeds, st.integers(1, 400), st.integers(1, 400), st.floats(0.05, 1.0))
def test_crops_of_any_shape_of_image_lie_within_it(seed: int, height: int, width: int, least: float) -> None:
    top, left, tall, wide = crop_box(draws(seed, 0, 1)[0], height, width, least)
    assert 0 <= top <= top + tall <= height and tall >= 1
    assert 0 <= left <= left + wide <= width and wide >= 1


def test_crops_of_a_long_image_keep_to_the_allowed_ratios() -> None:
    for draw in draws(0, 0, 200):
        _, _, height, width = crop_box(draw, 100, 400, 0.9)
        assert width / height <= 4 / 3 + 0.02
        assert height >= 99


def test_crops_use_the_whole_image_and_keep_to_the_share_that_was_asked_for() -> None:
    """Clipping to a square image may take at most the factor sqrt(3/4) of the area again."""
    top, left, height, width = crops(0, 0, 4000, 100, 0.5).T
    share = height * width / 100**2
    assert share.min() >= 0.5 * np.sqrt(3 / 4) - 0.02
    assert share.max() > 0.95
    assert top.max() > 20
    assert left.max() > 20
    assert abs(float((top + height / 2).mean()) - 50) < 1


@given(st.floats(0, 0.9), st.integers(1, 400), st.floats(1e-6, 1.0))
def test_learning_rates_rise_to_the_peak_and_fall_without_passing_it(warmup: float, steps: int, peak: float) -> None:
    values = rates(warmup, steps, peak)
    warm = round(warmup * steps)
    assert len(values) == steps
    assert max(values) <= peak * (1 + 1e-12)
    assert min(values) >= 0
    assert values[:warm] == sorted(values[:warm])
    assert values[warm:] == sorted(values[warm:], reverse=True)


def test_learning_rates_have_the_values_worked_out_by_hand() -> None:
    """Ten steps, two of them warm-up: 1/2, 1, then a cosine over eight steps from 1."""
    half_cosine = [1.0, 0.9619398, 0.8535534, 0.6913417, 0.5, 0.3086583, 0.1464466, 0.0380602]
    assert rates(0.2, 10) == pytest.approx([0.5, 1.0, *half_cosine], abs=1e-6)
    assert rates(0.0, 2) == pytest.approx([1.0, 0.5])
    assert rates(0.1, 1) == [1.0]


def test_a_history_logs_every_step_with_its_learning_rate(bench: CellContext) -> None:
    cell = quick_cell("ft", epochs=2, lr=LR)
    history = compute(cell, bench).history
    steps = -(-len(bench.task.train) // cell.training.batch_size)
    assert [row["step"] for row in history] == list(range(2 * steps))
    assert [row["epoch"] for row in history] == [0.0] * steps + [1.0] * steps
    assert [row["lr"] for row in history] == list(learning_rates(cell.training, LR, 2 * steps))
    assert ["val/top1" in row for row in history] == ([False] * (steps - 1) + [True]) * 2
    assert min(row["grad_norm"] for row in history) > 0


def test_training_lowers_the_loss(bench: CellContext) -> None:
    history = compute(quick_cell("ft", epochs=4, lr=LR), bench).history
    steps = len(history) // 4
    first, last = (np.mean([row["train/loss"] for row in rows]) for rows in (history[:steps], history[-steps:]))
    assert last < 0.5 * first


def test_another_seed_gives_another_network_and_the_same_seed_the_same(bench: CellContext) -> None:
    weights = [compute(quick_cell("ft", seed=s, lr=LR), bench).network.head.weight for s in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_training_says_how_far_it_is_and_has_the_same_bits(
    bench: CellContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, said = quick_cell("ft", lr=LR), list[str]()
    plain = compute(cell, bench).history
    monkeypatch.setattr(pace, "LOG_EVERY_S", 0.0)
    assert compute(cell, bench, log=said.append).history == plain
    lines = [line for line in said if line.startswith("step ")]
    assert len(lines) == len(plain) == 4
    assert lines[0].startswith(f"step 1/4  loss {plain[0]['train/loss']:.3f}  ") and " images/s  " in lines[0]
    assert lines[-1].endswith("0 s left, without evaluations")


def test_the_share_of_a_card_s_peak_is_that_of_forward_and_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: 2,818 images a second, three passes of 35.1 GFLOP, 989 TFLOP/s."""
    cell = specify(TASK, "ft", {"lr": LR}, 0, Training(), None, "ViT-B-16", "random", "bfloat16")
    monkeypatch.setattr(pace, "size_of", lambda model: ModelSize(35.1e9, 86_000_000))
    made = Pace(cell, torch.device("cuda", 0), 100, 512, print)
    for card, words in (("NVIDIA H100 80GB HBM3", "  MFU 30 %"), ("an unknown card", "")):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, card=card: card)
        assert made._utilisation(2818.0) == words
