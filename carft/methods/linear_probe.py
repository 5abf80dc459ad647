"""A linear probe: logistic regression on frozen features, solved to convergence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize

from carft.methods.ft import FineTune, Fitting, Row

#: rows of the features whose logits are held at a time
CHUNK = 2**16
ITERATIONS = 1000


@dataclass(frozen=True)
class Solution:
    """weight (C, D) and bias (C,) float32; loss: mean cross-entropy without the penalty; gradient: its largest entry,
    penalty included, at the end; iterations of L-BFGS."""

    weight: torch.Tensor
    bias: torch.Tensor
    loss: float
    gradient: float
    iterations: int


def logistic_regression(features: torch.Tensor, labels: torch.Tensor, classes: int, l2: float) -> Solution:
    """Minimise 1/N sum_i CE(A v_i + b, y_i) + l2/2 ||A||_F^2 over A (C, D) and b (C,), from zeros.

    features: (N, D); labels: (N,), on the device to compute on, in float64. The bias is not penalised. With l2 above 0
    A is unique and b is so up to a constant, which stays 0 from this start: another start would end at the same
    classifier.
    """
    count, width = features.shape

    def head(flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return flat[: classes * width].view(classes, width), flat[classes * width :]

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        flat = torch.from_numpy(point).to(features.device).requires_grad_(True)
        value = l2 / 2 * head(flat)[0].square().sum()
        value.backward()
        for first in range(0, count, CHUNK):  # one chunk's graph is held at a time
            weight, bias = head(flat)
            logits = features[first : first + CHUNK].double() @ weight.T + bias
            part = F.cross_entropy(logits, labels[first : first + CHUNK], reduction="sum") / count
            part.backward()
            value = value.detach() + part.detach()
        assert flat.grad is not None
        return float(value.detach()), flat.grad.cpu().numpy()

    options = {"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS, "gtol": 1e-7, "ftol": 1e-14}
    found = minimize(objective, np.zeros(classes * (width + 1)), jac=True, method="L-BFGS-B", options=options)
    weight, bias = head(torch.from_numpy(found.x))
    loss = float(found.fun) - l2 / 2 * float(weight.square().sum())
    return Solution(weight.float(), bias.float(), loss, float(np.abs(found.jac).max()), int(found.nit))


class LinearProbe(FineTune):
    """argmin over A, b of mean CE(v_theta_0(x) A^T + b, y) + l2/2 ||A||_F^2; the image encoder is not touched.

    Features are L2-normalised, of the training images without augmentation, computed once. The solver is L-BFGS
    (scipy's) in float64; nothing is drawn, so every seed gives the same classifier, and epochs, batch size and learning
    rate have no part in it. Source: CLIP (arXiv 2103.00020), which searches the strength of the penalty on validation.
    """

    def fit(self, fitting: Fitting) -> list[Row]:
        found = self.probe(fitting)
        row = {"epoch": 0.0, "step": 0.0, "train/loss": found.loss, "grad_norm": found.gradient}
        return [{**row, "iterations": float(found.iterations)}]

    def probe(self, fitting: Fitting) -> Solution:
        """Solve, and put the solution into the network's head."""
        head = fitting.network.head
        device = head.weight.device
        features, labels = fitting.features(fitting.images), fitting.images.labels
        found = logistic_regression(
            features.to(device), labels.to(device), head.out_features, self.cell.hyperparameters["l2"]
        )
        with torch.no_grad():
            head.weight.copy_(found.weight)
            head.bias.copy_(found.bias)
        return found
