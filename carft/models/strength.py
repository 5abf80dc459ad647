"""How strongly a KL term on softmax(s / tau * v @ W.T) holds image features, before any training (docs/method.md).

Near the pretrained features v_0 the term is quadratic: KL = 1/2 (v - v_0)^T F (v - v_0) + O(|v - v_0|^3), with the
Fisher information F = (s / tau)^2 W^T (diag(p) - p p^T) W of the distribution p of an image. Its trace says how steeply
the term rises with a displacement in any direction, its eigenvalues in how many directions it does. Two terms with
different traces are not equally strong at equal weight.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import optimize

from carft.models.heads import context_logits


@dataclass(frozen=True)
class TermStrength:
    """What a KL term with one head holds, as means over images."""

    rows: int
    """Rows of the head, K."""
    entropy: float
    """Entropy of the pretrained distribution, in nats; at most ln K."""
    fisher_trace: float
    """Trace of the Fisher information with respect to the features, at least 0."""
    effective_rank: float
    """Participation ratio tr(F)^2 / tr(F^2) of the mean Fisher information, from 1 to the width D; 0 without any."""
    cosine: float
    """Mean cosine of two rows of the head; NaN for one row."""


@torch.no_grad()
def term_strength(features: torch.Tensor, head: torch.Tensor, scale: float, temperature: float = 1.0) -> TermStrength:
    """The strength of the term on the L2-normalised features (N, D) of N images, with a head (K, D) of unit rows.

    scale, temperature: s and tau of the term.
    """
    features, head = features.double(), head.double()
    steepness = scale / temperature
    logs = context_logits(features, head, scale, temperature).log_softmax(-1)
    shares = logs.exp()
    means = shares @ head
    per_image = steepness**2 * (shares @ head.square().sum(-1) - means.square().sum(-1))
    fisher = steepness**2 * (head.T @ (shares.mean(0)[:, None] * head) - means.T @ means / len(features))
    trace = float(fisher.trace())
    squared = float(fisher.square().sum())
    count = len(head)
    sum_of_cosines = float(head.sum(0).square().sum()) - count
    return TermStrength(
        rows=count,
        entropy=float(-(shares * logs).sum(-1).mean()),
        fisher_trace=float(per_image.mean()),
        effective_rank=trace**2 / squared if squared > 0 else 0.0,
        cosine=sum_of_cosines / (count * (count - 1)) if count > 1 else math.nan,
    )


def temperature_of_entropy(
    features: torch.Tensor, heads: Sequence[torch.Tensor], scale: float, entropy: float
) -> float:
    """The temperature at which the entropy, mean over images and heads, is this, in nats.

    Raises ``ValueError`` for an entropy that no temperature between 1/1024 and 1024 gives.
    """

    def excess(log_temperature: float) -> float:
        found = [term_strength(features, head, scale, math.exp(log_temperature)).entropy for head in heads]
        return sum(found) / len(found) - entropy

    return math.exp(optimize.brentq(excess, -math.log(1024), math.log(1024), xtol=1e-6))
