"""A linear probe, logistic regression on frozen features that is solved to convergence, and fine-tuning from it."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import nn

from carft.core.heartbeat import heartbeat
from carft.data.task import ImageSet
from carft.methods.ft import FineTune, HistoryRow
from carft.models.network import Network, embed

#: rows of the features whose logits are in memory at a time
CHUNK = 2**16
#: upper limit of L-BFGS iterations
ITERATIONS = 1000


@dataclass(frozen=True)
class Solution:
    """The minimum of a logistic regression."""

    weight: torch.Tensor
    """A (C, D), float32."""
    bias: torch.Tensor
    """b (C,), float32."""
    loss: float
    """Mean cross-entropy, without the penalty."""
    gradient: float
    """Largest absolute entry of the gradient, with the penalty."""
    iterations: int
    """Iterations of L-BFGS."""


def logistic_regression(features: torch.Tensor, labels: torch.Tensor, classes: int, l2: float) -> Solution:
    """Minimise 1/N sum_i CE(A v_i + b, y_i) + l2/2 ||A||_F^2 over A (C, D) and b (C,), from zeros.

    features: (N, D); labels: (N,), on the device to compute on, in float64. The bias is not penalised. With l2 above 0
    A is unique, and b is unique up to a constant; every start leads to the same classifier. Every evaluation of the
    objective sends heartbeats. Several workers of a cell have a part of the rows each; they add up objective and
    gradient, and each finds the solution of all rows.
    """
    width = features.shape[1]
    rows = torch.tensor(len(features), device=features.device)
    rank, workers = _rank_and_workers()
    if workers > 1:
        dist.all_reduce(rows)
    penalty = l2 / 2 if rank == 0 else 0.0  # once in the sum over workers

    def head(flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return flat[: classes * width].view(classes, width), flat[classes * width :]

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        flat = torch.from_numpy(point).to(features.device).requires_grad_(True)
        value = penalty * head(flat)[0].square().sum()
        value.backward()
        for first in range(0, len(features), CHUNK):  # the graph of one chunk is in memory at a time
            heartbeat()
            weight, bias = head(flat)
            logits = features[first : first + CHUNK].double() @ weight.T + bias
            part = F.cross_entropy(logits, labels[first : first + CHUNK], reduction="sum") / rows
            part.backward()
            value = value.detach() + part.detach()
        assert flat.grad is not None
        sums = torch.cat([value.detach().reshape(1), flat.grad])
        if workers > 1:
            dist.all_reduce(sums)
        loss, gradient = sums[0], sums[1:]
        return float(loss), gradient.cpu().numpy()

    options = {"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS, "gtol": 1e-7, "ftol": 1e-14}
    solution = minimize(objective, np.zeros(classes * (width + 1)), jac=True, method="L-BFGS-B", options=options)
    weight, bias = head(torch.from_numpy(solution.x))
    loss = float(solution.fun) - l2 / 2 * float(weight.square().sum())
    return Solution(weight.float(), bias.float(), loss, float(np.abs(solution.jac).max()), int(solution.nit))


def _rank_and_workers() -> tuple[int, int]:
    """Rank of this process, and the number of workers of the cell."""
    several = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if several else (0, 1)


class LinearProbe(FineTune):
    """argmin over A, b of mean CE(v_theta_0(x) A^T + b, y) + l2/2 ||A||_F^2; the image encoder does not change.

    Features are L2-normalised, of the training images without augmentation, computed once; each worker computes those
    of its share. The solver is L-BFGS (scipy's) in float64. Nothing is drawn at random, so the classifier does not
    depend on seed, epochs or batch size.
    Source: CLIP (arXiv 2103.00020), which searches the strength of the penalty on validation.
    """

    def setup(self, network: Network, images: ImageSet) -> list[HistoryRow]:
        """Solve the probe on the features of the network, write the solution into its head, and return it as a row."""
        head = network.head
        device = head.weight.device
        rank, workers = _rank_and_workers()
        mine = np.arange(rank, len(images), workers)
        features = embed(network, images, self.pretrained, self.cell.precision, self.cell.eval_view, mine)
        features, labels = features.to(device), images.labels[mine].to(device)
        solution = logistic_regression(features, labels, head.out_features, self.cell.hyperparameters["l2"])
        with torch.no_grad():
            head.weight.copy_(solution.weight)
            head.bias.copy_(solution.bias)
        row = {"epoch": 0.0, "step": 0.0, "train/loss": solution.loss, "grad_norm": solution.gradient}
        return [{**row, "iterations": float(solution.iterations)}]

    def trainable_parameters(self, network: Network) -> list[nn.Parameter]:
        return []


class ProbeThenFineTune(LinearProbe):
    """LP-FT: the head starts at the probe's solution with penalty ``l2``; then all parameters are trained on CE.

    Source: the two steps of Kumar et al. (arXiv 2202.10054). ``l2`` and ``lr`` are searched together, in the same
    number of trials as every other method; the paper validates the probe first and then searches the learning rate.
    """

    def trainable_parameters(self, network: Network) -> list[nn.Parameter]:
        return FineTune.trainable_parameters(self, network)
