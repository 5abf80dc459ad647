"""The linear probe's solution: worked out by hand where it can be, and by its conditions where it cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from scipy.special import expit, softmax

from carft.core.heartbeat import on_heartbeat
from carft.methods import linear_probe
from carft.methods.linear_probe import logistic_regression
from carft.models.network import embed
from carft.training.context import CellContext
from carft.training.run import compute
from tests.support.helpers import LR, quick_cell


def made_up(count: int = 60, width: int = 5, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(count, width, generator=generator), dim=-1)
    return features, torch.randint(0, classes, (count,), generator=generator)


@pytest.mark.parametrize("l2", [0.01, 0.1, 1.0])
def test_two_points_have_the_solution_of_a_scalar_equation(l2: float) -> None:
    """x = -1 of class 0 and x = 1 of class 1. By symmetry A = (-a, a) and b = 0; the objective is
    log(1 + exp(-2a)) + l2 a^2, so l2 a = sigmoid(-2a)."""
    found = logistic_regression(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]), 2, l2)
    a = brentq(lambda x: l2 * x - expit(-2 * x), 0, 100)
    assert found.weight.flatten().tolist() == pytest.approx([-a, a], abs=1e-5)
    assert found.bias.tolist() == pytest.approx([0, 0], abs=1e-6)
    assert found.loss == pytest.approx(np.log1p(np.exp(-2 * a)), abs=1e-6)


@pytest.mark.parametrize("l2", [1e-4, 1e-2])
def test_the_gradient_is_zero_at_the_solution(l2: float) -> None:
    features, labels = made_up()
    found = logistic_regression(features, labels, 3, l2)
    x, weight = features.double().numpy(), found.weight.double().numpy()
    residual = softmax(x @ weight.T + found.bias.double().numpy(), axis=1) - np.eye(3)[labels.numpy()]
    assert np.abs(residual.T @ x / len(x) + l2 * weight).max() < 1e-5
    assert np.abs(residual.mean(0)).max() < 1e-5
    assert found.gradient < 1e-5


def test_chunks_of_rows_give_the_solution_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = made_up()
    whole = logistic_regression(features, labels, 3, 1e-2)
    monkeypatch.setattr(linear_probe, "CHUNK", 7)
    torch.testing.assert_close(logistic_regression(features, labels, 3, 1e-2).weight, whole.weight, rtol=0, atol=1e-5)


def test_a_class_without_images_is_never_preferred() -> None:
    features, labels = made_up(classes=2)
    found = logistic_regression(features, labels, 3, 1e-2)
    assert not (features @ found.weight.T + found.bias).argmax(1).eq(2).any()


def test_a_smaller_penalty_fits_the_training_images_better(bench: CellContext) -> None:
    losses = [compute(quick_cell("linear_probe", l2=l2), bench).metrics["train/loss"] for l2 in (1e-1, 1e-3, 1e-5)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.1 * losses[0]


def test_the_probe_trains_the_head_on_frozen_features_and_nothing_else(bench: CellContext) -> None:
    computed = compute(quick_cell("linear_probe", l2=1e-3), bench)
    pretrained = bench.pretrained.clip.visual.state_dict()
    assert all(torch.equal(value, pretrained[name]) for name, value in computed.network.visual.state_dict().items())
    features = embed(bench.network(), bench.task.train, bench.pretrained)
    expected = logistic_regression(features, bench.task.train.labels, len(bench.card.classes), 1e-3)
    assert torch.equal(computed.network.head.weight.detach(), expected.weight)
    assert torch.equal(computed.network.head.bias.detach(), expected.bias)
    logits = features @ expected.weight.T + expected.bias
    assert float(F.cross_entropy(logits, bench.task.train.labels)) == pytest.approx(expected.loss, rel=1e-4)
    (row,) = computed.history
    assert row["train/loss"] == expected.loss and row["iterations"] > 5


def test_lp_ft_fine_tunes_from_the_probe(bench: CellContext) -> None:
    """With steps that go nowhere it is the probe; with real ones the encoder moves too."""
    probe = compute(quick_cell("linear_probe", l2=1e-3), bench)
    still = compute(quick_cell("lp_ft", lr=1e-12, l2=1e-3), bench)
    np.testing.assert_allclose(still.predictions.logits, probe.predictions.logits, atol=1e-4)
    tuned = compute(quick_cell("lp_ft", lr=LR, l2=1e-3), bench)
    moved = [not torch.equal(a, b) for a, b in zip(tuned.network.parameters(), probe.network.parameters(), strict=True)]
    assert all(moved)
    assert tuned.history[0]["train/loss"] == pytest.approx(probe.metrics["train/loss"], abs=0.3)


def test_the_solver_shows_signs_of_progress_to_a_watchdog() -> None:
    beats: list[int] = []
    with on_heartbeat(lambda: beats.append(1)):
        found = logistic_regression(torch.eye(4), torch.tensor([0, 1, 0, 1]), 2, 1e-2)
    assert len(beats) >= found.iterations > 0
