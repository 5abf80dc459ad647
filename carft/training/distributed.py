"""The workers of one cell: their ranks, and what the first of them finds or does for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist

Returned = TypeVar("Returned")


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


def on_rank_zero(ask: Callable[[], Returned]) -> Returned:
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

    tensors = {}
    for name in on_rank_zero(lambda: list(mine)):
        tensors[name] = on_rank_zero(partial(on_cpu, name))
    return tensors


def gather_rows(mine: torch.Tensor, count: int) -> torch.Tensor:
    """All rows (count, D) in order, on every worker, without graph. mine: the rows rank, rank + workers, ..."""
    workers = WorkerRank.current().workers
    if workers == 1:
        return mine
    padded = mine.new_zeros(-(-count // workers), mine.shape[1])
    padded[: len(mine)] = mine
    received = [torch.empty_like(padded) for _ in range(workers)]
    dist.all_gather(received, padded)
    return torch.stack(received, dim=1).flatten(0, 1)[:count]
