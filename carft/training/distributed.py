"""The rank of this process among the workers of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch.distributed as dist


@dataclass(frozen=True)
class WorkerRank:
    """Rank of this process among the workers of one cell."""

    rank: int = 0
    """From 0 to workers - 1."""
    workers: int = 1
    """Number of processes that compute the cell, at least 1."""

    @staticmethod
    def current() -> WorkerRank:
        """The rank in torch.distributed's default group; rank 0 of 1 when no group is initialised."""
        if dist.is_available() and dist.is_initialized():
            return WorkerRank(dist.get_rank(), dist.get_world_size())
        return WorkerRank()
