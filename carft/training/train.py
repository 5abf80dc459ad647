"""One cell from a program, as the command ``train`` runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from carft.catalog.catalog import BUILT_IN, Catalog
from carft.catalog.resolve import specify
from carft.config.cell import Cell
from carft.config.settings import Reading, Training
from carft.core.errors import RESULTS
from carft.store.mirror import open_for_runs
from carft.training.execution import Execution
from carft.training.run import CellResult, run_cell

#: this machine, on a GPU where it has one
HERE = Execution(device="auto")


def train(
    task: str,
    method: str,
    hyperparameters: Mapping[str, float] | None = None,
    *,
    seed: int = 0,
    training: Training | None = None,
    reading: Reading | None = None,
    model: str | None = None,
    pretrained: str | None = None,
    results: str | Path = RESULTS,
    execution: Execution = HERE,
    catalog: Catalog = BUILT_IN,
    unseal: bool = False,
    keep_weights: bool = False,
    log: Callable[[str], None] = lambda _: None,
    announce: Callable[[Cell], None] = lambda _: None,
    **protocol: Any,
) -> CellResult:
    """Train one cell in this process, without Ray, and write its record. A finished cell is not run again.

    Args:
        task: Name of a task, as of ``ls tasks``.
        method: Name of a method, as of ``ls methods``.
        hyperparameters: All that the method has, such as ``{"lr": 3e-4}``.
        seed: Order and augmentation of the images, in [0, 2**32).
        training: Training recipe.
        reading: What the paper leaves open.
        model: Name of an open_clip model; by default that of the task.
        pretrained: Tag of its weights, or their file; by default those of the task.
        results: Results folder, or its URL. It is made where it is missing.
        execution: Device, folder of data sets, and how the cell is computed.
        catalog: Knows the tasks and methods.
        unseal: Whether to evaluate on test set and suites.
        keep_weights: Whether the trained weights are kept.
        log: Gets sentences on the progress.
        announce: Gets the cell before it is trained.
        protocol: Settings of :class:`carft.config.settings.ProtocolSettings`, such as ``precision="bfloat16"``.

    Returns:
        The cell's id, whether it was run, and its metrics as shares of 1.

    Raises:
        UserError: For unknown names, values that are not allowed, and missing data.
        Diverged: When the loss is no longer finite.
    """
    asked = (seed, training, reading, model, pretrained)
    cell = specify(task, method, hyperparameters or {}, *asked, catalog=catalog, **protocol)
    store = open_for_runs(results, catalog, [cell.task], [cell.method], cell)
    for words in store.left_out.values():
        log(f"Left out: {words}")
    announce(cell)
    return run_cell(cell, store, execution.on_this_machine(), unseal, keep_weights, log)
