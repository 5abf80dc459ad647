"""Lipsum-FT: fine-tuning that keeps the similarities of images to random text (Nam, Heo and Lee, arXiv 2404.00860)."""

import torch
import torch.nn.functional as F

from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.core.rng import TEXTS, generator
from carft.methods.ft import Batch, FineTune
from carft.models.clip import Pretrained
from carft.models.network import Prompts

#: random texts per step and tokens of each, the defaults of the authors' code (cs-giung/lipsum-ft, scripts)
COUNT, LENGTH = 80, 8


class RandomText(FineTune):
    """Loss = CE + energy_weight * mean_B 1/(2M) * sum_m (s * <v_theta(x) - v_theta_0(x), t_m>)^2.

    t_m: L2-normalised features of M = 80 random texts under the frozen text tower; s the pretrained logit scale. Each
    text is a start token, 8 tokens uniform over the vocabulary and an end token. New texts are drawn at every step
    from (cell's seed, step); all images, parts and workers of a batch have the same texts. Loss and defaults are those
    of the authors' code. At energy_weight 0 the term is not computed, so the run is plain fine-tuning bit for bit.

    Raises ``UserError`` when the model's tokenizer is not CLIP's own, whose special tokens are known.
    """

    def __init__(self, cell: Cell, pretrained: Pretrained, prompts: Prompts) -> None:
        super().__init__(cell, pretrained, prompts)
        start = getattr(pretrained.tokenize, "sot_token_id", None)
        end = getattr(pretrained.tokenize, "eot_token_id", None)
        if start is None or end is None:
            raise UserError(
                f"lipsum_ft draws random text from CLIP's own vocabulary, and '{pretrained.name}' has another.",
                "Use a model with CLIP's tokenizer, or another method.",
            )
        self.start, self.end = int(start), int(end)

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, parts = super().loss(batch)
        weight = self.cell.hyperparameters["energy_weight"]
        if weight == 0:
            return loss, parts
        change = self.pretrained.scale * (batch.features - batch.pretrained_features()) @ self.texts(batch.step).T
        gap = change.square().sum(-1).mean() / (2 * COUNT)
        return loss + weight * gap, {**parts, "energy_gap": gap.detach()}

    @torch.no_grad()
    def texts(self, step: int) -> torch.Tensor:
        """Features (M, D) of the random texts of a step."""
        tokens = self.tokens(step).to(self.prompts.classes.device)
        return F.normalize(self.pretrained.clip.encode_text(tokens).float(), dim=-1)

    def tokens(self, step: int) -> torch.Tensor:
        """Token ids (M, context length) of the random texts of a step, with the tokenizer's padding."""
        rows = self.pretrained.tokenize([""]).repeat(COUNT, 1)
        length = min(LENGTH, rows.shape[1] - 2)
        drawn = generator(self.cell.seed, step, TEXTS).integers(0, self.start, (COUNT, length))
        rows[:, 0], rows[:, length + 1] = self.start, self.end
        rows[:, 1 : length + 1] = torch.from_numpy(drawn)
        return rows
