"""Null checks that need a model: what must hold of the loss itself. Those that records can answer are in reports."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from carft.core.errors import UserError
from carft.data.views import CentreView, batches
from carft.methods.ft import Batch
from carft.spec.cell import Cell
from carft.spec.registry import method_card
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.feature_cache import FeatureCache

IMAGES = 16
RELATIVE = 1e-5  # rounding that another order of the rows may leave in float32


@dataclass(frozen=True)
class Difference:
    """Two values that must agree, and whether they do."""

    name: str
    first: float
    second: float
    agree: bool


def context_order(cell: Cell, execution: Execution) -> Difference:
    """The loss of a car_ft cell on validation images, away from zero-shot, with the context rows in reverse order.

    ``UserError`` for a method without a context term.
    """
    if "kl_weight" not in method_card(cell.method).space:
        raise UserError(f"'{cell.method}' has no context term.", "Give a car_ft cell.")
    context = CellContext.of(cell, execution)
    reverse = torch.arange(len(context.prompts.contexts)).flip(0)
    shuffled = replace(context.prompts, contexts=context.prompts.contexts[reverse])
    plain, turned = (_loss(cell, context, prompts) for prompts in (context.prompts, shuffled))
    agree = abs(plain - turned) <= RELATIVE * max(abs(plain), 1.0)
    return Difference("the order of the context rows does not matter", plain, turned, agree)


@torch.no_grad()
def _loss(cell: Cell, context: CellContext, prompts: object) -> float:
    network = context.network()
    for parameter in network.visual.parameters():
        parameter.mul_(1.02)  # so that the divergence is not 0
    device = next(network.parameters()).device
    shown = context.task.val.rows(range(min(IMAGES, len(context.task.val))))
    (pixels,) = batches(shown.images, [np.arange(len(shown))], CentreView(context.pretrained.side))
    images, labels = context.pretrained.normalise(pixels.to(device)), shown.labels.to(device)
    method = method_card(cell.method).load()(cell, context.pretrained, prompts)
    frozen = FeatureCache(context.pretrained, cell.precision)
    logits, features = network(images)
    loss, _ = method.loss(Batch(network, images, labels, logits, features, lambda: frozen.features(images, 0)))
    return float(loss)
