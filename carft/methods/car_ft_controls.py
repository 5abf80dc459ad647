"""Two controls of CAR-FT: the same loss, without the image's own context. All are this project's.

If a control gains as much as CAR-FT, the gain does not come from the image's own context.
"""

import torch
import torch.nn.functional as F

from carft.config.cell import Cell
from carft.core.rng import CONTEXTS, PERMUTATION, generator
from carft.methods.car_ft import ContextAwareFineTune
from carft.methods.ft import Batch
from carft.models.clip import Pretrained
from carft.models.network import Prompts


class PermutedContexts(ContextAwareFineTune):
    """Loss = CE + kl_weight * mean_i KL(p_ctx(x_pi(i); theta_0) || p_ctx(x_i; theta)).

    pi is a permutation of the batch, uniform among all, drawn from (cell's seed, step). The set of targets of a batch
    stays the same, but a target belongs to another image. On average one image per batch keeps its own target.
    """

    def target(self, batch: Batch) -> torch.Tensor:
        features = batch.pretrained_features()
        shuffled = generator(self.cell.seed, batch.step, PERMUTATION).permutation(len(features))
        return features[torch.from_numpy(shuffled).to(features.device)]


class RandomContexts(ContextAwareFineTune):
    """CAR-FT's loss with W_ctx replaced by K random unit vectors, K as in W_ctx, drawn once from the cell's seed."""

    def __init__(self, cell: Cell, pretrained: Pretrained, prompts: Prompts) -> None:
        super().__init__(cell, pretrained, prompts)
        self.directions = random_rows(prompts.contexts, cell.seed)

    def context_head(self) -> torch.Tensor:
        return self.directions


def random_rows(head: torch.Tensor, seed: int) -> torch.Tensor:
    """Unit vectors (K, D) in the place of those of a head (K, D): normalised rows of a standard normal matrix."""
    drawn = generator(seed, 0, CONTEXTS).standard_normal(head.shape)
    return F.normalize(torch.from_numpy(drawn), dim=-1).to(head)
