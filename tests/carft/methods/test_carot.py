"""CaRot: its loss by hand, its teacher by hand, and what its terms are for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from carft.config.cell import Cell
from carft.methods.carot import projection
from carft.models.network import Network
from carft.training.context import CellContext
from carft.training.run import compute
from tests.carft.methods.test_baselines import first_guess, loss_of
from tests.carft.posthoc.test_wise_ft import a_batch
from tests.support.helpers import same_predictions


def set_up(bench: CellContext, cell: Cell) -> tuple[Any, Network]:
    method, network = loss_of(cell, bench), bench.network()
    method.setup(network, bench.task.train)
    return method, network


def cross_entropy(target: np.ndarray, own: np.ndarray) -> float:
    """Mean over rows of the cross-entropy of softmax distributions."""
    return float(-(softmax(target, axis=1) * log_softmax(own, axis=1)).sum(1).mean())


def test_the_loss_by_hand(bench: CellContext) -> None:
    cell = first_guess("carot", orthogonality_weight=0.7, distillation_weight=2.0)
    method, network = set_up(bench, cell)
    with torch.no_grad():
        for parameter in (*network.visual.parameters(), *method.text.parameters()):
            parameter.mul_(1.01)
    method.seen = 3  # the teacher stays at the start
    batch = replace(a_batch(bench, network), step=3)
    found = float(method.loss(batch)[0].detach())
    own = [part.detach().double().numpy() for part in method.embed(batch).chunk(4, dim=1)]
    scale, start = float(method.text.logit_scale.detach().exp()), bench.pretrained.scale
    assert scale != pytest.approx(start, rel=1e-3)
    similarity, target = scale * own[0] @ own[1].T, start * own[2] @ own[3].T
    rows = np.arange(len(similarity))
    contrast = sum(-log_softmax(one, axis=1)[rows, rows].mean() for one in (similarity, similarity.T)) / 2
    weight = projection(network).detach().double().numpy()
    distance = np.linalg.norm(weight @ weight.T - np.eye(len(weight)))
    told = cross_entropy(target, similarity) + cross_entropy(target.T, similarity.T)
    assert found == pytest.approx(contrast + 0.7 * distance + 2.0 * told, rel=1e-4)


def test_without_its_terms_it_is_flyp(bench: CellContext) -> None:
    found = compute(first_guess("carot", orthogonality_weight=0.0, distillation_weight=0.0), bench)
    assert same_predictions(found.predictions, compute(first_guess("flyp"), bench).predictions)
    names = set(bench.network().state_dict())
    assert set(found.network.state_dict()) == names


def test_the_teacher_is_a_moving_average_with_a_growing_momentum(bench: CellContext) -> None:
    method, network = set_up(bench, first_guess("carot"))
    method.steps = 100  # every second step is followed, the momentum grows over 20 steps
    kept, now = (tower.logit_scale for tower in (method.teacher.text, method.text))
    expected = float(kept)
    for step in range(1, 6):
        with torch.no_grad():
            now.add_(1.0)
        method.follow(replace(a_batch(bench, network), step=step))
        method.follow(replace(a_batch(bench, network), step=step))  # another part of the same batch
        if (step - 1) % 2 == 0:
            momentum = 0.05 + (step - 1) / 20 * (0.9 - 0.05)
            expected = momentum * expected + (1 - momentum) * float(now.detach())
        assert float(kept) == pytest.approx(expected, rel=1e-5)


def test_singular_values_move_towards_one(bench: CellContext) -> None:
    spread = []
    for weight in (0.0, 50.0):
        network = compute(first_guess("carot", orthogonality_weight=weight), bench).network
        values = torch.linalg.svdvals(projection(network).detach())
        spread.append(float((values - 1).abs().mean()))
    assert spread[1] < spread[0]
