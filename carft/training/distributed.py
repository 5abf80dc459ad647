"""Which part of a batch or of a set this process computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch.distributed as dist


@dataclass(frozen=True)
class WorkerRank:
    """Rank of this process among the workers of one cell."""

    rank: int = 0
    workers: int = 1

    @staticmethod
    def current() -> WorkerRank:
        """From torch.distributed when it is initialised, else the whole."""
        if dist.is_available() and dist.is_initialized():
            return WorkerRank(dist.get_rank(), dist.get_world_size())
        return WorkerRank()
