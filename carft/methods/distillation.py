"""Distillation: fine-tuning that keeps class distribution or image features near those of the pretrained model."""

import torch
import torch.nn.functional as F

from carft.methods.ft import Batch, FineTune


class ClassDistillation(FineTune):
    """Loss = CE + kl_weight * mean_B KL(p(x; theta_0) || p(x; theta)).

    p(x; theta) = softmax of the class logits; p(x; theta_0) = softmax(s * v_theta_0(x) @ W_cls.T), the zero-shot
    model. Temperature 1, at the pretrained logit scale s. Source: Hinton et al. (arXiv 1503.02531), whose factor T^2 is
    then 1. At kl_weight 0 the term is not computed, so the run is plain fine-tuning bit for bit.
    """

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, parts = super().loss(batch)
        weight = self.cell.hyperparameters["kl_weight"]
        if weight == 0:
            return loss, parts
        teacher = self.pretrained.scale * batch.pretrained_features() @ self.prompts.classes.T
        tuned, target = batch.logits.log_softmax(-1), teacher.log_softmax(-1)
        divergence = F.kl_div(tuned, target, reduction="batchmean", log_target=True)
        return loss + weight * divergence, {**parts, "class_kl": divergence.detach()}


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
