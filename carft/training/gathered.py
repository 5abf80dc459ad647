"""The update of a loss that compares all images of a global batch, in parts and over workers (GradCache).

Such a loss cannot be summed over the parts of a batch. First every part is embedded without a graph, and the embeddings
of all parts and workers are gathered. The loss of all embeddings gives their gradient. Then every part is embedded
again, with a graph, and the gradient of its embeddings is sent back. One part is in memory at a time. Source of the
idea: Gao et al., arXiv 2101.06983.
"""

from __future__ import annotations

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


def compared(
    method: FineTune, mine: torch.Tensor, whole: int, worker: WorkerRank
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """The loss of a global batch; its gradient of this worker's embeddings, and of the parameters of ``compare``.

    mine: (n, D) embeddings of this worker's images, part after part, without graph.
    """
    everything = gathered(mine, whole, worker).requires_grad_(True)
    loss = method.compare(everything)
    rows, *of_parameters = torch.autograd.grad(loss, [everything, *method.compared_parameters()])
    first = sum(len(range(rank, whole, worker.workers)) for rank in range(worker.rank))
    return loss.detach(), rows[first : first + len(mine)], of_parameters
