"""my method: fine-tuning with a penalty of its own."""

import torch

from carft import method
from carft.config.registry import FINE_TUNING, HEAD_FACTORS, LEARNING_RATE, Range
from carft.methods.ft import Batch, FineTune


@method(
    name="my_method",
    label="my method",
    summary="Fine-tuning that keeps the image features near the pretrained ones.",
    space={"lr": LEARNING_RATE, "weight": Range(0.1, 100.0, first_guess=1.0, zero_allowed=True)},
    shares=FINE_TUNING,
    reads=HEAD_FACTORS,
    whole_batch=False,
    epoch_passes=4,
)
class MyMethod(FineTune):
    """Loss = CE + weight * mean_B ||v_theta(x) - v_theta_0(x)||^2, v the L2-normalised features."""

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, parts = super().loss(batch)
        weight = self.cell.hyperparameters["weight"]
        distance = (batch.features - batch.pretrained_features()).square().sum(-1).mean()
        return loss + weight * distance, {**parts, "distance": distance.detach()}
