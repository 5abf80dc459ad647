"""The update of a loss that compares all images of a global batch, in parts and over workers (GradCache).

Such a loss cannot be summed over the parts of a batch. First every part is embedded without a graph, and the embeddings
of all parts and workers are gathered. The loss of all embeddings gives their gradient. Then every part is embedded
again, with a graph, and the gradient of its embeddings is sent back. One part is in memory at a time. Source of the
idea: Gao et al., arXiv 2101.06983.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist

from carft.methods.ft import FineTune
from carft.training.distributed import WorkerRank


def gathered(mine: torch.Tensor, whole: int, worker: WorkerRank) -> torch.Tensor:
    """The rows (B, D) of all workers, those of rank 0 first, without graph. mine: rows of this worker.

    whole: B, the images of the global batch, of which a worker has every ``workers``-th. Workers may have one row less.
    """
    if worker.workers == 1:
        return mine
    counts = [len(range(rank, whole, worker.workers)) for rank in range(worker.workers)]
    padded = mine.new_zeros(counts[0], mine.shape[1])
    padded[: len(mine)] = mine
    received = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(received, padded)
    return torch.cat([rows[:count] for rows, count in zip(received, counts, strict=True)])


def first_row(whole: int, worker: WorkerRank) -> int:
    """The place of this worker's first row among those of all workers."""
    return sum(len(range(rank, whole, worker.workers)) for rank in range(worker.rank))


class Compared:
    """The loss of a global batch, and its gradient with respect to this worker's embeddings."""

    def __init__(self, method: FineTune, mine: torch.Tensor, whole: int, worker: WorkerRank) -> None:
        """mine: (n, D) embeddings of this worker's images, part after part, without graph."""
        everything = gathered(mine, whole, worker).requires_grad_(True)
        self.shared = method.compared_parameters()
        loss = method.compare(everything)
        rows, *self.of_shared = torch.autograd.grad(loss, [everything, *self.shared])
        start = first_row(whole, worker)
        self.loss, self.gradient = loss.detach(), rows[start : start + len(mine)]

    def surrogate(self, embedded: torch.Tensor, first: int, scale: float) -> torch.Tensor:
        """A scalar with the gradient of the loss with respect to a part's embeddings, times ``scale``.

        first: the place of the part's first row among this worker's rows.
        """
        return scale * (embedded * self.gradient[first : first + len(embedded)]).sum()

    def of_parameters(self) -> torch.Tensor:
        """A scalar with the gradient of the loss with respect to the parameters that ``compare`` uses itself."""
        pairs: Sequence[tuple[torch.Tensor, torch.Tensor]] = list(zip(self.shared, self.of_shared, strict=True))
        return torch.stack([(parameter * gradient).sum() for parameter, gradient in pairs]).sum()
