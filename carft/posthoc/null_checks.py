"""Null checks that need a model. The null checks on records are in ``reports.analysis.null_checks``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from carft.core.errors import UserError
from carft.data.reference_views import EVAL_VIEWS
from carft.data.views import batches
from carft.methods.ft import Batch
from carft.models.network import Prompts
from carft.spec.cell import Cell
from carft.spec.registry import method_card
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.feature_cache import FeatureCache

#: validation images of one loss
IMAGES = 16
#: relative float32 rounding error that another order of the rows may cause
RELATIVE = 1e-5


@dataclass(frozen=True)
class Difference:
    """Two values that must agree."""

    name: str
    """What is checked, as a sentence."""
    first: float
    second: float
    agree: bool
    """Whether they agree up to rounding."""


def context_order(cell: Cell, execution: Execution) -> Difference:
    """The loss of a car_ft cell on validation images, with the context rows in their order and in reverse order.

    The network is not at zero-shot. Raises ``UserError`` for a method without a context term.
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
def _loss(cell: Cell, context: CellContext, prompts: Prompts) -> float:
    network = context.network()
    for parameter in network.visual.parameters():
        parameter.mul_(1.02)  # so that the divergence is not 0
    device = next(network.parameters()).device
    shown = context.task.val.rows(range(min(IMAGES, len(context.task.val))))
    (pixels,) = batches(shown.images, [np.arange(len(shown))], EVAL_VIEWS[cell.eval_view](context.pretrained.side))
    images, labels = context.pretrained.normalise(pixels.to(device)), shown.labels.to(device)
    method = method_card(cell.method).load()(cell, context.pretrained, prompts)
    cache = FeatureCache(context.pretrained, cell.precision)
    logits, features = network(images)
    loss, _ = method.loss(Batch(network, images, labels, logits, features, partial(cache.features, images, 0)))
    return float(loss)
