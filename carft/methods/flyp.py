"""FLYP, "finetune like you pretrain": contrastive fine-tuning of both towers (Goyal et al., arXiv 2212.00638)."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from carft.config.cell import Cell
from carft.core.rng import TEMPLATES, generator
from carft.data.task import ImageSet
from carft.methods.ft import Batch, FineTune, HistoryRow
from carft.models.clip import Pretrained
from carft.models.heads import class_head
from carft.models.network import Network, Prompts, autocast


class FinetuneLikePretrain(FineTune):
    """Loss = (CE(s V U^T, i) + CE(s U V^T, i)) / 2 over the pairs i of a batch: CLIP's own loss.

    V (B, D): image features; U (B, D): features of "template filled with the image's class", the template drawn from
    the card's list for each image and step; both L2-normalised. Trained: image encoder, text tower and logit scale s.
    Pair i is the only positive of row i: two images of one class in a batch count as negatives of each other, as in
    the authors' code (locuslab/FLYP calls ClipLoss without labels). The class head is not trained: before every
    validation it is set to s * W_cls of the current text tower, with bias 0. As in the authors' code neither gradients
    nor s are clipped (locuslab/FLYP at 215d5bb, src/models/flyp_loss.py; open_clip's own training clips s at 100).
    Several workers and parts of a batch compare all its pairs (GradCache, in :mod:`carft.training.loop`).
    """

    def __init__(self, cell: Cell, pretrained: Pretrained, prompts: Prompts) -> None:
        super().__init__(cell, pretrained, prompts)
        card = prompts.card
        rows = []
        for template in card.templates:
            captions = [template.format(name) for name in card.classes]
            rows.append(pretrained.tokenize(captions))
        self.tokens = torch.stack(rows).to(prompts.classes.device)  # (K, C, context length)
        self.text: Any = copy.deepcopy(pretrained.clip)
        self.text.visual = None
        self.text.requires_grad_(True)

    def setup(self, network: Network, images: ImageSet) -> list[HistoryRow]:
        """Add the text tower to the network, so that checkpoints hold it."""
        network.add_module("text", self.text)
        network.head.requires_grad_(False)
        return []

    def trainable_parameters(self, network: Network) -> list[nn.Parameter]:
        return [*network.visual.parameters(), *self.text.parameters()]

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.contrast(batch.features, self.captions(batch)), {}

    def contrast(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """The loss of pairs: features (B, D) of images and of their texts."""
        similarity = self.text.logit_scale.exp() * images @ texts.T
        pairs = torch.arange(len(images), device=similarity.device)
        return (F.cross_entropy(similarity, pairs) + F.cross_entropy(similarity.T, pairs)) / 2

    def embed(self, batch: Batch) -> torch.Tensor:
        return torch.cat([batch.features, self.captions(batch)], dim=1)

    def compare(self, embedded: torch.Tensor) -> torch.Tensor:
        return self.contrast(*embedded.chunk(2, dim=1))

    def compared_parameters(self) -> list[nn.Parameter]:
        return [self.text.logit_scale]

    def captions(self, batch: Batch) -> torch.Tensor:
        """Text features (B, D) of one prompt for each image of the batch."""
        with autocast(batch.images.device.type, self.cell.precision):
            features = self.text.encode_text(self.drawn_tokens(batch))
        return F.normalize(features.float(), dim=-1)

    def drawn_tokens(self, batch: Batch) -> torch.Tensor:
        """Tokens (B, context length) of the prompts of :meth:`captions`."""
        whole = len(batch.labels) if batch.whole is None else batch.whole
        drawn = generator(self.cell.seed, batch.step, TEMPLATES).integers(0, len(self.tokens), whole)
        templates = torch.from_numpy(drawn).to(batch.labels.device)
        templates = templates if batch.places is None else templates[batch.places]
        return self.tokens[templates, batch.labels]

    @torch.no_grad()
    def before_evaluation(self, network: Network) -> None:
        encoded = [F.normalize(self.text.encode_text(row).float(), dim=-1) for row in self.tokens]
        network.head.weight.copy_(self.text.logit_scale.exp() * class_head(torch.stack(encoded)))
        network.head.bias.zero_()

    def teardown(self, network: Network) -> None:
        del network.text
        network.head.requires_grad_(not network.frozen_head)
