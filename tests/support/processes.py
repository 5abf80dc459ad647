"""A cell on several processes without Ray: the training loop knows torch.distributed only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing as mp

from carft.config.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import compute


def with_few_images(context: CellContext) -> CellContext:
    """The context with 128 images to train on, four steps an epoch, and 32 to validate on."""
    task = context.task
    return replace(context, task=replace(task, train=task.train.rows(range(128)), val=task.val.rows(range(32))))


def _process(rank: int, workers: int, spec: dict, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=workers)
    try:
        execution = Execution(workers=workers)
        execution.prepare()
        cell = Cell.from_dict(spec)
        computed = compute(cell, CellContext.of(cell, execution, catalog=BUILT_IN))
        content = {"metrics": computed.metrics, "history": computed.history}
        (Path(folder) / f"{rank}.json").write_text(json.dumps(content))
    finally:
        dist.destroy_process_group()


def computed_on(workers: int, cell: Cell, folder: Path) -> list[dict]:
    """Metrics and history of every worker of a cell."""
    mp.spawn(_process, (workers, cell.as_dict(), str(folder)), nprocs=workers)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(workers)]
