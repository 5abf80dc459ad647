"""What a sweep does about a failure: how often a job runs, what is made smaller, what the same command runs again."""

import gc
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from carft.catalog.catalog import Catalog
from carft.config.cell import Cell
from carft.config.registry import MethodCard
from carft.core.failure_kinds import FailureKind, failure_kind
from carft.store.failures import failures
from carft.store.records import Store
from carft.training.execution import Execution


@dataclass(frozen=True)
class Policy:
    """What a sweep does about one kind of failure."""

    attempts: int = 1
    """Attempts of a job in one sweep."""
    shrinks: bool = False
    """Whether a training runs again at once, with :func:`smaller_execution`."""
    passes: bool = False
    """Whether it does not depend on the cell: the same command runs such a cell again."""
    ends_study: bool = False
    """Whether no other trial of a study runs once its first :data:`FIRST_TRIALS` failed with the same error."""


#: A job that was lost with its machine, or that crashed once, may succeed on the next attempt. Two failures set a GPU
#: aside, so a third attempt is on another one.
POLICIES: Mapping[str, Policy] = {
    FailureKind.STORAGE: Policy(attempts=3, passes=True),
    FailureKind.LOST: Policy(attempts=3, passes=True),
    FailureKind.DEVICE: Policy(attempts=3, passes=True),
    FailureKind.CRASH: Policy(attempts=2),
    FailureKind.OUT_OF_MEMORY: Policy(shrinks=True),
    FailureKind.UNREADABLE: Policy(passes=True, ends_study=True),
    FailureKind.CODE: Policy(ends_study=True),
    FailureKind.DIVERGED: Policy(),
    FailureKind.REFUSED: Policy(),
    FailureKind.HANG: Policy(),
}
#: kinds that do not depend on the cell
PASSING = tuple(kind for kind, policy in POLICIES.items() if policy.passes)
#: trials of a study that must fail first, all with the same error, for its other trials not to run
FIRST_TRIALS = 2


def policy_of(kind: str) -> Policy:
    """The policy of a kind of failure; that of a kind which only another version knows is the default."""
    return POLICIES.get(kind, Policy())


def final_failures(store: Store) -> dict[str, str]:
    """Job key -> reason, of the failures that the same command does not run again."""
    return {f.key: f.reason for f in failures(store) if f.job and not policy_of(f.kind).passes}


#: images of a part below which gradient checkpointing is tried before smaller parts
SMALL = 32


#: (model, precision, batch size, device, workers) -> parts of a batch, gradient checkpointing: what fitted last
Fitted = dict[tuple[str, str, int, str, int], tuple[int, bool]]


def run_until_it_fits(
    run: Callable[[Execution], None],
    cell: Cell,
    execution: Execution,
    log: Callable[[str], None],
    catalog: Catalog,
    fitted: Fitted,
) -> None:
    """Run the training of a cell, after each out-of-memory error again with :func:`smaller_execution`.

    What fitted is added to ``fitted``, where the next cell of the model on this device starts. The record's execution
    says it. Raises the last error when nothing is left to try.
    """
    method = catalog.method(cell.method)
    key = (cell.model, cell.precision, cell.training.batch_size, execution.device, execution.workers)
    if key in fitted and method.allows_parts(execution.workers, fitted[key][0]):
        parts, checkpointing = fitted[key]
        parts, checkpointing = max(parts, execution.accumulation), checkpointing or execution.grad_checkpointing
        execution = replace(execution, accumulation=parts, grad_checkpointing=checkpointing)
    first = execution
    while True:
        try:
            run(execution)
            if execution != first:
                fitted[key] = execution.accumulation, execution.grad_checkpointing
            return
        except Exception as error:
            smaller = smaller_execution(cell, execution, method)
            if smaller is None or not policy_of(failure_kind(error)).shrinks:
                raise
            traceback.print_exc()
        execution, parts = smaller, smaller.accumulation
        again = " and activations computed again in the backward pass" if smaller.grad_checkpointing else ""
        log(f"Out of memory: once more with each batch in {parts} part{'s' * (parts > 1)}{again}.")
        import torch

        gc.collect()  # here, where the exception no longer references the tensors of the attempt
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def smaller_execution(cell: Cell, execution: Execution, method: MethodCard) -> Execution | None:
    """What takes less memory at the same global batch; None where nothing is left to try.

    Batches are computed in twice as many parts. Where parts have :data:`SMALL` images, or the loss needs the whole
    batch, gradient checkpointing is enabled first.
    """
    parts = execution.accumulation
    images = -(-cell.training.batch_size // (execution.workers * parts))
    may_split = images > 1 and method.allows_parts(execution.workers, 2 * parts)
    if not execution.grad_checkpointing and (images <= SMALL or not may_split):
        return replace(execution, grad_checkpointing=True)
    return replace(execution, accumulation=2 * parts) if may_split else None
