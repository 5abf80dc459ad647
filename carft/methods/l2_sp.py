"""L2-SP: fine-tuning that keeps the weights near their starting point (Li et al., arXiv 1802.01483)."""

import torch

from carft.methods.ft import Batch, FineTune


class StartingPoint(FineTune):
    """Loss = CE + l2_weight / 2 * ||w - w_0||^2, w every trained tensor of the image encoder, w_0 its pretrained value.

    The class head is left out, like the new layer in the paper. There the new layer decays to zero; here AdamW's weight
    decay does that. The weight decay also applies to the encoder, as in every method. At l2_weight 0 the term is not
    computed, so the run is plain fine-tuning bit for bit.
    """

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, parts = super().loss(batch)
        weight = self.cell.hyperparameters["l2_weight"]
        if weight == 0:
            return loss, parts
        pairs = zip(batch.network.visual.parameters(), self.pretrained.clip.visual.parameters(), strict=True)
        distance = torch.stack([(tuned - start).square().sum() for tuned, start in pairs]).sum()
        return loss + weight / 2 * distance, {**parts, "moved": distance.detach()}
