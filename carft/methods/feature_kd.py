"""Distillation of features: fine-tuning that keeps image features near the pretrained ones."""

import torch

from carft.methods.ft import Batch, FineTune


class FeatureDistillation(FineTune):
    """Loss = CE + distance_weight * mean_B ||v_theta(x) - v_theta_0(x)||^2, v the L2-normalised features.

    Source: hints on features (Romero et al., arXiv 1412.6550), with the pretrained model as teacher of the same width.
    At distance_weight 0 the term is not computed, so the run is plain fine-tuning bit for bit.
    """

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, parts = super().loss(batch)
        weight = self.cell.hyperparameters["distance_weight"]
        if weight == 0:
            return loss, parts
        distance = (batch.features - batch.pretrained_features()).square().sum(-1).mean()
        return loss + weight * distance, {**parts, "distance": distance.detach()}
