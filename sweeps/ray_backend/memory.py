"""Cells that run out of memory: their batches are computed in more parts, at the same global batch size."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from dataclasses import replace

from carft.config.catalog import Catalog
from carft.config.cell import Cell
from carft.config.registry import MethodCard
from carft.core.errors import UserError, kind_of
from carft.training.execution import Execution

#: images of a part below which gradient checkpointing is tried before smaller parts
SMALL = 32

Setting = tuple[int, bool]  # parts of a batch, gradient checkpointing
#: (model, precision, batch size, device, workers) -> what fitted last
Fitted = dict[tuple[str, str, int, str, int], Setting]


def run_in_memory(
    run: Callable[[Execution], None],
    cell: Cell,
    execution: Execution,
    log: Callable[[str], None],
    catalog: Catalog,
    fitted: Fitted,
) -> None:
    """Run a cell; after each out-of-memory error again with twice as many parts, until it fits.

    Where parts of :data:`SMALL` images do not fit, gradient checkpointing is enabled. A batch that the method's loss
    needs whole is not split; gradient checkpointing is then enabled at once. What fitted is added to ``fitted``, where
    the next cell of the model on this device starts. The record's execution holds both. Raises the last error when
    nothing is left to try.
    """
    key = (cell.model, cell.precision, cell.training.batch_size, execution.device, execution.workers)
    if key in fitted and may_have_parts(catalog.method(cell.method), execution.workers, fitted[key][0]):
        parts, checkpointing = fitted[key]
        larger = max(parts, execution.accumulation), checkpointing or execution.grad_checkpointing
        execution = _with(execution, larger)
    failed = False
    while True:
        try:
            run(execution)
            if failed:
                fitted[key] = execution.accumulation, execution.grad_checkpointing
            return
        except Exception as error:
            following = next_setting(cell, execution, catalog)
            if kind_of(error) != "out of memory" or following is None:
                raise
            traceback.print_exc()
        execution, failed = _with(execution, following), True
        parts, checkpointing = following
        again = " and activations computed again in the backward pass" if checkpointing else ""
        log(f"Out of memory: once more with each batch in {parts} part{'s' * (parts > 1)}{again}.")
        _free_memory()  # here, where the exception no longer references the tensors of the attempt


def next_setting(cell: Cell, execution: Execution, catalog: Catalog) -> Setting | None:
    """What takes less memory than an execution; None where nothing is left to try."""
    parts, checkpointing = execution.accumulation, execution.grad_checkpointing
    images = -(-cell.training.batch_size // (execution.workers * parts))
    doubled = 2 * parts
    in_parts = images > 1 and may_have_parts(catalog.method(cell.method), execution.workers, doubled)
    if not checkpointing and (images <= SMALL or not in_parts):
        return parts, True
    return (doubled, checkpointing) if in_parts else None


def _with(execution: Execution, setting: Setting) -> Execution:
    return replace(execution, accumulation=setting[0], grad_checkpointing=setting[1])


def may_have_parts(method: MethodCard, workers: int, parts: int) -> bool:
    """Whether a method can be trained by so many workers, each of which computes its batch in so many parts."""
    try:
        method.require_parts_allowed(workers, parts)
    except UserError:
        return False
    return True


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
