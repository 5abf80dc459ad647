"""The context distribution of a pretrained model on a task, before training, and what it means for CAR-FT."""

import math
from dataclasses import dataclass

from carft.catalog.catalog import Catalog
from carft.config.cell import Cell
from carft.models.heads import context_logits
from carft.models.network import embed
from carft.training.context import CellContext
from carft.training.execution import Execution

#: share of the largest entropy above which the distribution of an image is near uniform
UNIFORM = 0.98
#: templates over all images below which all images have one context
SAME = 1.5


@dataclass(frozen=True)
class ContextCheck:
    """The distribution over the context templates of the loss, on validation images."""

    templates: int
    """Number of templates, K."""
    entropy: float
    """Mean entropy over images as a share of ln K, in [0, 1]; 0 with one template."""
    effective: float
    """exp of the mean entropy: as many templates share the probability of one image."""
    spread: float
    """exp of the entropy of the mean distribution: as many templates share the probability over all images."""
    scale: float
    """Logit scale of the model."""

    @property
    def words(self) -> str:
        """What it means for CAR-FT, in a sentence."""
        if self.templates == 1:
            return "There is one context template: the KL term is 0, and CAR-FT is fine-tuning."
        sentence = (
            f"{self.effective:.1f} of {self.templates} context templates share the probability of an image, "
            f"{self.spread:.1f} that of all images"
        )
        if self.entropy > UNIFORM:
            return (
                f"{sentence}: the context distribution is near uniform, and the KL term of CAR-FT has little to hold."
            )
        if self.spread < SAME:
            return f"{sentence}: all images have nearly one context, and the KL term of CAR-FT has little to hold."
        return f"{sentence}: the KL term of CAR-FT has something to hold."


def context_check(cell: Cell, execution: Execution, catalog: Catalog) -> ContextCheck:
    """The context distribution of the pretrained model of a cell, under its reading, on the validation images."""
    context = CellContext.of(cell, execution, catalog)
    head = context.prompts.contexts.cpu()
    scale = context.pretrained.scale
    features = embed(context.network(), context.task.val, context.pretrained, cell.precision)
    log_shares = context_logits(features, head, scale, cell.reading.context_temperature).log_softmax(-1)
    shares = log_shares.exp()
    entropy = float(-(shares * log_shares).sum(-1).mean())
    mean = shares.mean(0).clamp_min(1e-12)
    spread = math.exp(float(-(mean * mean.log()).sum()))
    count = len(head)
    of_largest = entropy / math.log(count) if count > 1 else 0.0
    return ContextCheck(count, of_largest, math.exp(entropy), spread, float(scale))
