"""Run one cell: train, validate, write the record, and evaluate on the held-out sets."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from carft.catalog.catalog import Catalog
from carft.catalog.resolve import command
from carft.config.cell import Cell
from carft.core.errors import Diverged, UserError
from carft.core.files import write_atomic
from carft.core.metrics import Predictions, score, with_prefix
from carft.methods.ft import HistoryRow
from carft.models.network import Network, interpolate, require_precision
from carft.store.document import utc_now
from carft.store.record_files import Record
from carft.store.records import Store
from carft.training.checkpoint import NONE, Checkpoints
from carft.training.context import CellContext
from carft.training.distributed import WorkerRank, broadcast_tensors, on_rank_zero
from carft.training.execution import Execution
from carft.training.loop import Trainer
from carft.training.preemption import Pruned

#: of a cell that was run: computed now, or found on record
CellStatus = Literal["done", "reused"]
#: the command that evaluates on a held-out set, as the log of unsealings names it
Command = Literal["train", "sweep", "interpolate", "soup", "combine"]


@dataclass(frozen=True)
class Computed:
    """What :func:`compute` returns."""

    network: Network
    """The network at the end of training."""
    history: list[HistoryRow]
    """One row per step; empty for an untrained method."""
    predictions: Predictions
    """On validation."""
    metrics: dict[str, float]
    """``val/...``, and means over the last epoch of ``train/...``."""
    durations: dict[str, float]
    """Seconds of ``train``, validation after each epoch included, and of ``validate``. After steps also ``data_wait``,
    the part of ``train`` in which the device waited for images; a training that was resumed counts from there."""
    features: dict[str, float]
    """The pretrained model's features that training needed, and the share that the cache had; empty for none."""


@dataclass(frozen=True)
class CellResult:
    """What :func:`run_cell` returns."""

    cell: str
    """The cell's id."""
    status: CellStatus
    metrics: Mapping[str, float]
    """Of the record and of all its evaluations."""


def compute(
    cell: Cell,
    context: CellContext,
    checkpoints: Checkpoints = NONE,
    log: Callable[[str], None] = lambda _: None,
) -> Computed:
    """Train (unless the method is untrained) and validate. Every worker of a cell calls this.

    Raises ``Diverged`` when the loss or a metric is not finite.
    """
    started = time.perf_counter()
    network = context.network(cell.reading.class_head, cell.seed)
    history: list[HistoryRow] = []
    trainer = None
    card = context.catalog.method(cell.method)
    if card.kind == "trained":
        try:
            method = card.load()(cell, context.pretrained, context.prompts)
            history = method.setup(network, context.task.train)
            if method.trainable_parameters(network):
                trainer = Trainer(cell, context, network, method, checkpoints, log)
                trainer.train()
                history = trainer.progress.history
        except (Diverged, Pruned):
            checkpoints.remove()  # the same steps would diverge again, or are not needed
            raise
    ended = time.perf_counter()
    predictions = None
    data_wait_s = 0.0
    features = {}
    if trainer is not None:
        predictions = trainer.predictions
        data_wait_s = trainer.data_wait_s
        features = trainer.cache.use
    if predictions is None:
        predictions = context.predict(cell, network, context.task.val)
    metrics = {**_last_epoch(history), **with_prefix("val", score(predictions))}
    if not all(map(math.isfinite, metrics.values())):
        raise Diverged("a metric of the trained model is not finite; a smaller learning rate may help")
    durations = {"train": ended - started, "validate": time.perf_counter() - ended}
    if history:
        durations["data_wait"] = data_wait_s
    return Computed(network, history, predictions, metrics, durations, features)


def _last_epoch(history: list[HistoryRow]) -> dict[str, float]:
    """Means over the last epoch of what was logged at every step."""
    if not history:
        return {}
    rows = [row for row in history if row["epoch"] == history[-1]["epoch"]]
    means = {}
    for name in rows[0]:
        if name.startswith("train/"):
            means[name] = sum(row[name] for row in rows) / len(rows)
    return means


def run_cell(
    cell: Cell,
    store: Store,
    execution: Execution,
    unseal: bool = False,
    keep_weights: bool = False,
    log: Callable[[str], None] = lambda _: None,
    by: Command = "train",
) -> CellResult:
    """Run a cell, unless it is done. Every worker of the cell calls this; the first one reads and writes records.

    unseal: evaluate on test set and suites. Raises as :func:`require_runnable` and :func:`compute`.
    """
    require_runnable(cell, execution, store.catalog)
    if not on_rank_zero(lambda: store.set_aside_stale(cell.id, log)):
        if unseal:
            unseal_cell(cell, store, execution, by)
        return CellResult(cell.id, "reused", on_rank_zero(lambda: store.metrics(cell.id)))
    if unseal:
        store.catalog.require_present(cell.task, execution, sealed=True)
    execution.prepare()
    context = CellContext.of(cell, execution, store.catalog)
    checkpoints = store_checkpoints(cell, store, execution)
    computed = compute(cell, context, checkpoints, log)
    on_rank_zero(lambda: write(cell, computed, context, store, keep_weights or unseal))
    checkpoints.remove()
    if unseal and (missing := missing_sets(cell, store)):
        computed.network.load_state_dict(broadcast_tensors(computed.network.state_dict()))
        evaluate(cell, computed.network, missing, context, store, by)
    return CellResult(cell.id, "done", on_rank_zero(lambda: store.metrics(cell.id)))


def require_runnable(cell: Cell, execution: Execution, catalog: Catalog) -> None:
    """``UserError`` for a cell that this code cannot run, or not on this device, or not with split batches."""
    method = catalog.method(cell.method)
    method.require_trainable(cell.hyperparameters)
    catalog.card(cell.task)
    catalog.require_source(cell.method, cell.task, cell.plugin)
    require_precision(cell.precision, execution.device)
    method.require_parts_allowed(execution.workers, execution.accumulation)


def store_checkpoints(cell: Cell, store: Store, execution: Execution) -> Checkpoints:
    """The checkpoints of a cell, in the results folder."""
    path = store.checkpoint_path(cell.id)
    return Checkpoints(path, execution.checkpoint_every, store.make, execution.checkpoint_minutes)


def write(cell: Cell, computed: Computed, context: CellContext, store: Store, keep_weights: bool) -> None:
    """Write the record of a computed cell."""
    provenance = context.provenance()
    if computed.features:
        provenance["feature_cache"] = computed.features
    record = Record(cell, computed.metrics, provenance, computed.durations)
    save = None
    if keep_weights and context.catalog.method(cell.method).kind == "trained":
        save = partial(save_weights, computed.network)
    store.write(record, computed.history, computed.predictions, save)


def save_weights(network: Network, path: Path) -> None:
    """Write the network's tensors as safetensors."""
    save_file({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, path)


def load_network(cell: Cell, context: CellContext, store: Store) -> Network:
    """The network of a finished cell: from its weights, at zero-shot, of WiSE-FT made from its parent's, or trained
    again when no weights were kept.

    Raises ``UserError`` when the weights are corrupt, when a soup has none any more, when training again gives other
    numbers than the record, and for a method that mixes outputs.
    """
    card = context.catalog.method(cell.method)
    kind = card.kind
    if card.combines == "outputs":
        words = f"Cell {cell.id} is {card.label}, which mixes the outputs of two models and has no weights."
        raise UserError(words, f"Name the fine-tuned one: {cell.parents[0]}.")
    network = context.network(cell.reading.class_head, cell.seed)
    if kind == "untrained":
        return network
    if cell.method == "wise_ft":
        parent = on_rank_zero(lambda: store.read(cell.parents[0]).cell)
        tuned = load_network(parent, context, store).state_dict()
        network.load_state_dict(interpolate(network.state_dict(), tuned, cell.hyperparameters["alpha"]))
        return network
    path = on_rank_zero(lambda: store.find_weights(cell.id))
    if not on_rank_zero(lambda: store.has_weights(cell.id)):
        if kind == "post-hoc":
            raise UserError(
                f"The weights of cell {cell.id} are no longer in its folder.",
                f"Move the folder away and run: {command(cell, store.name, catalog=store.catalog)}",
            )
        checkpoints = store_checkpoints(cell, store, context.execution)
        again = compute(cell, context, checkpoints)
        checkpoints.remove()
        recorded = on_rank_zero(lambda: store.read(cell.id).metrics)
        if any(again.metrics.get(name) != value for name, value in recorded.items()):
            raise UserError(
                f"Cell {cell.id} kept no weights, and training it again here gives other numbers than its record.",
                "Run it on the hardware and with the number of workers that its record names, or in a fresh results "
                "folder with --unseal.",
            )
        on_rank_zero(lambda: write_atomic(path, lambda part: save_weights(again.network, part)))
        return again.network
    try:
        on_rank_zero(lambda: network.load_state_dict(load_file(path)))
    except (SafetensorError, RuntimeError) as error:
        words = f"The weights '{path}' are corrupt: {str(error).splitlines()[0]}"
        raise UserError(words, "Remove the file; the cell trains again.") from error
    network.load_state_dict(broadcast_tensors(network.state_dict()))
    return network


def unseal_cell(cell: Cell, store: Store, execution: Execution, by: Command = "train") -> None:
    """Evaluate a finished cell on those held-out sets of its task on which it is not evaluated yet.

    Every worker of the cell calls this.
    """
    if missing := missing_sets(cell, store):
        execution.prepare()
        context = CellContext.of(cell, execution, store.catalog)
        evaluate(cell, load_network(cell, context, store), missing, context, store, by)


def missing_sets(cell: Cell, store: Store) -> set[str]:
    """The held-out sets of its task on which a cell is not evaluated yet."""
    return on_rank_zero(lambda: set(store.catalog.card(cell.task).sets) - store.evaluated(cell.id))


def evaluate(cell: Cell, network: Network, missing: set[str], context: CellContext, store: Store, by: Command) -> None:
    """Evaluate the network of a finished cell on held-out sets, by name. Every worker of the cell calls this."""

    def predicted() -> Iterator[tuple[str, list[Predictions]]]:
        for name, images in context.sealed().items():
            if name in missing:
                yield name, [context.predict(cell, network, images)]

    write_each_set(predicted(), [cell], lambda _, name, made: add_evaluation(cell, name, made, context, store, by))


def write_each_set(
    predicted: Iterable[tuple[str, Sequence[Predictions | None]]],
    cells: Sequence[Cell],
    write: Callable[[Cell, str, Predictions], None],
) -> None:
    """Write predictions of cells on one set after another; a set is written while the next one is computed.

    So the predictions on two sets are in memory at most. The first worker of the cells writes; every worker computes.
    predicted: name of a set, and the predictions of each of the cells on it; None on workers that write nothing. write:
    writes the predictions of a cell on a set, in a thread of each cell; its first error is raised.
    """
    written: Iterable[None] = ()
    with ThreadPoolExecutor(len(cells)) as pool:
        for name, of_cells in predicted:
            list(written)  # waits, and raises the first error
            if WorkerRank.current().is_first:
                written = pool.map(write, cells, repeat(name), of_cells)
        list(written)


def add_evaluation(
    cell: Cell, name: str, predictions: Predictions, context: CellContext, store: Store, by: Command
) -> None:
    """Write the evaluation of a cell on one held-out set."""
    note = {"by": by, "unsealed_at": utc_now(), "provenance": context.provenance(name)}
    store.add_evaluation(cell.id, name, with_prefix(name, score(predictions)), predictions, note)
