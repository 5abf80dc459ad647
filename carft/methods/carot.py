"""CaRot: contrastive fine-tuning that keeps singular values and follows its own average (Oh et al., 2311.01723)."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.data.task import ImageSet
from carft.methods.flyp import FinetuneLikePretrain
from carft.methods.ft import Batch, HistoryRow
from carft.models.clip import Pretrained
from carft.models.network import Network, Prompts, autocast

#: updates of the teacher in a training; on ImageNet the authors update it every 500 of about 25,000 steps
UPDATES = 50
#: momentum of the teacher at the first step and from the end of the warm-up, and the warm-up as a share of the steps
MOMENTUM, WARMUP = (0.05, 0.9), 0.2


class CalibratedRobust(FinetuneLikePretrain):
    """Loss = FLYP's + orthogonality_weight ||W W^T - 1||_F + distillation_weight * L_SD, from the second step on.

    W (D, width) projects image features; D its singular values near 1 keep features diverse. L_SD is the mean over the
    pairs of a batch of CE(q, p), summed over both directions: p the softmax of the similarities of an image to all
    texts, and of a text to all images, q that of the teacher, a moving average of image encoder, text tower and logit
    scale (:data:`UPDATES`, :data:`MOMENTUM`). Source: MLAI-Yonsei/CaRot at 5d78b94, src/models/carot_loss.py; its
    further option ``cross_fnorm`` is no part of the paper's objective and is left out.
    """

    def __init__(self, cell: Cell, pretrained: Pretrained, prompts: Prompts) -> None:
        super().__init__(cell, pretrained, prompts)
        self.teacher: Any = nn.Module()
        self.steps = 1
        self.seen = 0
        self.has_teacher = False

    def setup(self, network: Network, images: ImageSet) -> list[HistoryRow]:
        """Add text tower and teacher to the network, so that checkpoints hold them."""
        super().setup(network, images)
        projection(network)
        self.teacher.visual, self.teacher.text = copy.deepcopy(network.visual), copy.deepcopy(self.text)
        self.teacher.requires_grad_(False)
        network.add_module("teacher", self.teacher)
        self.steps = self.cell.training.all_steps(len(images), max(1, self.prompts.card.domains))
        return []

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.compare(self.embed(batch)), {}

    def embed(self, batch: Batch) -> torch.Tensor:
        """(B, 4 D) features of images and texts, of the model and of the teacher; (B, 2 D) at the first step."""
        self.network = batch.network
        self.follow(batch)
        self.has_teacher = batch.step > 0
        own = super().embed(batch)
        if not self.has_teacher:
            return own
        with torch.no_grad(), autocast(batch.images.device.type, self.cell.precision):
            seen = F.normalize(self.teacher.visual(batch.images).float(), dim=-1)
            texts = F.normalize(self.teacher.text.encode_text(self.drawn_tokens(batch)).float(), dim=-1)
        return torch.cat([own, seen, texts], dim=1)

    def compare(self, embedded: torch.Tensor) -> torch.Tensor:
        images, texts, *of_teacher = embedded.chunk(4 if self.has_teacher else 2, dim=1)
        weight = projection(self.network)
        gram = weight @ weight.T
        distance = (gram - torch.eye(len(gram), device=gram.device)).square().sum().sqrt()
        loss = self.contrast(images, texts) + self.cell.hyperparameters["orthogonality_weight"] * distance
        if not self.has_teacher:
            return loss
        teacher_images, teacher_texts = of_teacher
        similarity = self.text.logit_scale.exp() * images @ texts.T
        with torch.no_grad():
            target = self.teacher.text.logit_scale.exp() * teacher_images @ teacher_texts.T
        both = F.cross_entropy(similarity, target.softmax(1)) + F.cross_entropy(similarity.T, target.T.softmax(1))
        return loss + self.cell.hyperparameters["distillation_weight"] * both

    def compared_parameters(self) -> list[nn.Parameter]:
        return [self.text.logit_scale, projection(self.network, as_rows=False)]

    @torch.no_grad()
    def follow(self, batch: Batch) -> None:
        """Move the teacher towards the model once after each step that is a multiple of the interval, the first too."""
        last = batch.step - 1
        if batch.step == self.seen or last % max(1, self.steps // UPDATES):
            return
        self.seen = batch.step
        grown = min(1.0, last / (WARMUP * self.steps))
        momentum = MOMENTUM[0] + grown * (MOMENTUM[1] - MOMENTUM[0])
        ours = (*batch.network.visual.parameters(), *self.text.parameters())
        for kept, new in zip(self.teacher.parameters(), ours, strict=True):
            kept.lerp_(new, 1 - momentum)

    def teardown(self, network: Network) -> None:
        super().teardown(network)
        del network.teacher


def projection(network: Network, as_rows: bool = True) -> nn.Parameter | torch.Tensor:
    """The matrix that makes features of an image encoder's output, as a parameter; as_rows: as (D, width).

    ``UserError`` for an encoder of another kind than CLIP's ViT and ResNet.
    """
    visual: Any = network.visual
    if isinstance(getattr(visual, "proj", None), nn.Parameter):
        return visual.proj.T if as_rows else visual.proj
    if hasattr(visual, "attnpool"):
        return visual.attnpool.c_proj.weight
    raise UserError("CaRot needs the projection of CLIP's own image encoders.", "Use a ViT or ResNet of CLIP.")
