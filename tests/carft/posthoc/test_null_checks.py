"""What must hold before any comparison of CAR-FT with fine-tuning means something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from carft.config.catalog import BUILT_IN
from carft.config.cell import Cell, Reading
from carft.config.settings import DIRECTIONS, Direction
from carft.methods.ft import Batch
from carft.models.network import Network
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.feature_cache import FeatureCache
from carft.training.run import compute, run_cell
from tests.support.helpers import LR, quick_cell, same_predictions


def a_batch(bench: CellContext, network: Network, count: int = 12) -> Batch:
    """A batch of validation images as the training loop would hand it to a loss."""
    images = bench.pretrained.normalise(bench.task.val.images[:count])
    frozen = FeatureCache(bench.pretrained, "float32", Execution())
    return Batch(network, images, bench.task.val.labels[:count], *network(images), lambda: frozen.features(images, 0))


def by_hand(batch: Batch, bench: CellContext, kl_weight: float, direction: Direction, temperature: float) -> float:
    """CE + kl_weight * mean KL in numpy, from features and heads alone."""
    classes = log_softmax(batch.logits.detach().double().numpy(), axis=1)
    cross_entropy = -classes[np.arange(len(batch.labels)), batch.labels.numpy()].mean()
    head = bench.prompts.contexts.double().numpy()
    with torch.no_grad():
        raw = bench.pretrained.clip.visual(batch.images).double().numpy()
    frozen = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    scale = bench.pretrained.scale / temperature
    p = log_softmax(scale * frozen @ head.T, axis=1)
    q = log_softmax(scale * batch.features.detach().double().numpy() @ head.T, axis=1)
    forward, backward = (np.exp(p) * (p - q)).sum(1).mean(), (np.exp(q) * (q - p)).sum(1).mean()
    chosen = {
        "pretrained-to-tuned": forward,
        "tuned-to-pretrained": backward,
        "symmetric": (forward + backward) / 2,
    }[direction]
    return float(cross_entropy + kl_weight * chosen)


def test_car_ft_with_kl_weight_zero_is_ft_bit_for_bit(
    store: Store, execution: Execution, finished: Store, cells: dict[str, Cell]
) -> None:
    ft, car_ft = cells["ft"], quick_cell("car_ft", lr=LR, kl_weight=0.0)
    found = run_cell(car_ft, store, execution, unseal=True)
    assert ft.id != car_ft.id
    assert dict(found.metrics) == finished.metrics(ft.id)
    sets = {"val", *finished.evaluated(ft.id)}
    assert len(sets) == 7
    for name in sets:
        assert same_predictions(store.predictions(car_ft.id, name), finished.predictions(ft.id, name)), name


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_divergence_is_zero_before_the_first_step_and_positive_after_a_few(
    bench: CellContext, direction: Direction
) -> None:
    cell = quick_cell("car_ft", reading=Reading(direction), lr=LR, kl_weight=1.0)
    method = BUILT_IN.method("car_ft").load()(cell, bench.pretrained, bench.prompts)
    start = a_batch(bench, bench.network())
    assert method.divergence(start.pretrained_features(), start.features).detach().max() <= 1e-6
    tuned = a_batch(bench, compute(quick_cell("ft", lr=LR), bench).network)
    assert method.divergence(tuned.pretrained_features(), tuned.features).detach().mean() > 1e-3


@pytest.mark.parametrize("kl_weight", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_is_cross_entropy_plus_weighted_divergence(
    bench: CellContext, kl_weight: float, direction: Direction, temperature: float
) -> None:
    reading = Reading(direction, temperature)
    network = bench.network()
    with torch.no_grad():
        for p in network.visual.parameters():
            p.mul_(1.02)
    batch = a_batch(bench, network)
    cell = quick_cell("car_ft", reading=reading, lr=LR, kl_weight=kl_weight)
    loss, parts = BUILT_IN.method("car_ft").load()(cell, bench.pretrained, bench.prompts).loss(batch)
    loss = loss.detach()
    assert float(loss) == pytest.approx(by_hand(batch, bench, kl_weight, direction, temperature), rel=1e-4)
    if kl_weight:
        without = by_hand(batch, bench, 0.0, direction, temperature)
        assert float(parts["kl"]) == pytest.approx((float(loss) - without) / kl_weight, abs=1e-4)
        assert float(parts["kl"]) > 1e-3


def test_the_loss_sends_no_gradient_into_the_pretrained_model(bench: CellContext) -> None:
    network = bench.network()
    cell = quick_cell("car_ft", lr=LR, kl_weight=1.0)
    loss, _ = BUILT_IN.method("car_ft").load()(cell, bench.pretrained, bench.prompts).loss(a_batch(bench, network))
    loss.backward()
    assert all(p.grad is None for p in bench.pretrained.clip.parameters())
    assert not bench.prompts.contexts.requires_grad
    assert all(p.grad is not None for p in network.parameters())


def test_permuting_the_context_rows_of_both_models_leaves_the_loss_unchanged(bench: CellContext) -> None:
    network = compute(quick_cell("ft", lr=LR), bench).network
    rows = torch.arange(len(bench.prompts.contexts)).flip(0)
    shuffled = replace(bench.prompts, contexts=bench.prompts.contexts[rows])
    cell, batch = quick_cell("car_ft", lr=LR, kl_weight=5.0), a_batch(bench, network)
    plain, permuted = (
        BUILT_IN.method("car_ft").load()(cell, bench.pretrained, p).loss(batch) for p in (bench.prompts, shuffled)
    )
    assert float(permuted[0].detach()) == pytest.approx(float(plain[0].detach()), rel=1e-5)
    assert float(plain[1]["kl"]) > 0  # the term is there, so its order could have mattered


def test_with_one_template_car_ft_learns_what_ft_learns(bench: CellContext) -> None:
    """The gradient of a KL between constant distributions is zero, so only rounding could differ."""
    one = replace(bench, prompts=replace(bench.prompts, contexts=bench.prompts.contexts[:1]))
    ft, car_ft = (
        compute(cell, one).predictions
        for cell in (quick_cell("ft", lr=LR), quick_cell("car_ft", lr=LR, kl_weight=10.0))
    )
    np.testing.assert_allclose(car_ft.logits, ft.logits, rtol=1e-4, atol=1e-3)
