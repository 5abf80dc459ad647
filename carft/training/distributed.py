"""The workers of one cell: their ranks, and what the first of them finds or does for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

Found = TypeVar("Found")


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

    @property
    def is_first(self) -> bool:
        """Whether this worker reads and writes the results folder."""
        return self.rank == 0


def on_rank_zero(ask: Callable[[], Found]) -> Found:
    """What ``ask`` returns on the first worker, on every worker; the others do not call it.

    All workers must call this at the same point. They wait until the first worker has answered.
    """
    worker = WorkerRank.current()
    if worker.workers == 1:
        return ask()
    box: list[Any] = [ask() if worker.is_first else None]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def broadcast_tensors(mine: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors that the first worker gives, on the CPU of every worker; what the others give is ignored."""

    def on_cpu(name: str) -> torch.Tensor:
        return mine[name].cpu()

    return {name: on_rank_zero(partial(on_cpu, name)) for name in on_rank_zero(lambda: list(mine))}


def gather_embeddings(mine: torch.Tensor, whole: int) -> torch.Tensor:
    """The rows (B, D) of all workers, those of rank 0 first, without graph. mine: rows of this worker.

    whole: B, the images of the global batch, of which a worker has every ``workers``-th. Workers may have one row less.
    """
    worker = WorkerRank.current()
    if worker.workers == 1:
        return mine
    counts = [len(range(rank, whole, worker.workers)) for rank in range(worker.workers)]
    padded = mine.new_zeros(counts[0], mine.shape[1])
    padded[: len(mine)] = mine
    received = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(received, padded)
    return torch.cat([rows[:count] for rows, count in zip(received, counts, strict=True)])


def gather_rows(parts: list[torch.Tensor], width: int, count: int) -> np.ndarray:
    """All rows (count, width) in order, on every worker. parts: the rows rank, rank + workers, ... of this worker."""
    worker = WorkerRank.current()
    mine = torch.cat(parts).numpy() if parts else np.zeros((0, width), np.float32)
    if worker.workers == 1:
        return mine
    shares: list[Any] = [None] * worker.workers
    dist.all_gather_object(shares, mine)
    whole = np.empty((count, width), np.float32)
    for rank, share in enumerate(shares):
        whole[rank :: worker.workers] = share
    return whole
