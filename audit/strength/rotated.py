"""Rotated contexts, the control of the experiment at equal strength (audit/README.md), as a plug-in.

The published cells were made when the method was part of the package, at commit 8e2427a9 and at 9a36ff66, the last that
has it. A plug-in's text is part of the id of its cells, so cells made with this file have the same numbers and other
ids.
"""

import torch

from carft import method
from carft.config.cell import Cell
from carft.config.registry import CONTEXT_FACTORS, FINE_TUNING, KL_WEIGHT, LEARNING_RATE
from carft.core.rng import ROTATION, generator
from carft.methods.car_ft import ContextAwareFineTune
from carft.models.clip import Pretrained
from carft.models.network import Prompts


@method(
    name="car_ft_rotated",
    label="CAR-FT, rotated",
    summary="Control of CAR-FT: the context head under a random rotation, which keeps its angles alone.",
    space={"lr": LEARNING_RATE, "kl_weight": KL_WEIGHT},
    shares={**FINE_TUNING, "kl_weight": "weight of the context KL"},
    reads=CONTEXT_FACTORS,
    whole_batch=False,
    epoch_passes=4,
)
class RotatedContexts(ContextAwareFineTune):
    """CAR-FT's loss with W_ctx Q in the place of W_ctx, Q a random rotation drawn once from the cell's seed.

    The rows keep the angles between them, and lose what they say of an image.
    """

    def __init__(self, cell: Cell, pretrained: Pretrained, prompts: Prompts) -> None:
        super().__init__(cell, pretrained, prompts)
        self.directions = rotated_rows(prompts.contexts, cell.seed)

    def context_head(self) -> torch.Tensor:
        return self.directions


def rotated_rows(head: torch.Tensor, seed: int) -> torch.Tensor:
    """A head (K, D) times an orthogonal matrix (D, D), uniform among all (Haar): Q of a standard normal matrix = Q R,
    with the signs of the diagonal of R (Mezzadri 2007)."""
    width = head.shape[1]
    drawn = torch.from_numpy(generator(seed, 0, ROTATION).standard_normal((width, width)))
    rotation, upper = torch.linalg.qr(drawn)
    return (head.double() @ (rotation * upper.diagonal().sign()).to(head.device)).to(head)
