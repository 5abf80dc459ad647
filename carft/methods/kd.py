"""Distillation of the class distribution: the zero-shot model is the teacher."""

from __future__ import annotations

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
