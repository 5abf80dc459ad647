"""Whether image features still hold the context of an image: a linear classifier of contexts on frozen features.

Context recognition by prompts is low after fine-tuning for two reasons: the features lost the context, or they moved
away from the prompts. A probe that is fitted on the features themselves tells the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from carft.methods.linear_probe import Solution, logistic_regression


@dataclass(frozen=True)
class ContextProbe:
    """Logistic regression from L2-normalised image features (D,) to contexts."""

    solution: Solution
    """Rows are contexts."""

    @staticmethod
    def fitted(features: torch.Tensor, contexts: torch.Tensor, count: int, l2: float) -> ContextProbe:
        """The probe of features (N, D) with contexts (N,), indices below ``count``; ``l2`` as of the linear probe."""
        return ContextProbe(logistic_regression(features, contexts, count, l2))

    def recognition(self, features: torch.Tensor, contexts: torch.Tensor) -> float:
        """Share of the images (N, D) whose context is named, the mean over contexts, in [0, 1].

        contexts: (N,) indices, -1 where unknown; these images do not count. NaN without a known context.
        """
        named = (features @ self.solution.weight.T + self.solution.bias).argmax(-1)
        known = contexts[contexts >= 0].unique()
        shares = [(named[contexts == context] == context).float().mean() for context in known]
        return float(torch.stack(shares).mean()) if shares else float("nan")
