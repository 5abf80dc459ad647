"""The WiSE-FT curve of a finished cell (Wortsman et al., arXiv 2109.01903)."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from carft.catalog.resolve import interpolation, zero_shot_of
from carft.config.cell import Cell
from carft.config.registry import WISE_ALPHAS
from carft.core.errors import UserError
from carft.core.metrics import Predictions, score, with_prefix
from carft.models.network import Network
from carft.store.record_files import Record
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.distributed import WorkerRank, on_rank_zero
from carft.training.execution import Execution
from carft.training.run import CellStatus, Command, add_evaluation, load_network, unseal_cell, write_each_set


def run_curve(
    parent: Cell,
    store: Store,
    execution: Execution,
    by: Command = "interpolate",
    alphas: Sequence[float] = WISE_ALPHAS,
) -> dict[str, CellStatus]:
    """The WiSE-FT curve of a finished cell: one post-hoc cell per alpha, each evaluated on every set. Returns ids.

    Every worker of the cell calls this; the first one reads and writes records. Alpha 1 is the parent and alpha 0 the
    pretrained model: their predictions are read from records where possible. Raises ``UserError`` when the parent is
    not trained, or not done under the current NUMERICS.
    """
    if store.catalog.method(parent.method).kind != "trained":
        raise UserError(f"Cell {parent.id} is '{parent.method}', which has no trained weights to interpolate.")
    on_rank_zero(lambda: store.require_current(parent.id))
    cells = [interpolation(parent, alpha) for alpha in alphas]
    pending = on_rank_zero(lambda: [cell for cell in cells if is_pending(cell, store)])
    if pending:
        unseal_cell(parent, store, execution, by)
        execution.prepare()
        context = CellContext.of(parent, execution, store.catalog)
        write_post_hoc(pending, _curve_predictions(parent, pending, context, store), context, store, by)
    statuses: dict[str, CellStatus] = {}
    for cell in cells:
        statuses[cell.id] = "done" if cell in pending else "reused"
    return statuses


def _curve_predictions(
    parent: Cell, cells: Sequence[Cell], context: CellContext, store: Store
) -> Iterator[tuple[str, list[Predictions | None]]]:
    """Name of a set, and the predictions of each cell: those on record, and one pass over its images for the rest."""
    zero_shot = zero_shot_of(parent, store.catalog)
    ends = {interpolation(parent, 1.0).id: parent}  # point of the curve -> the cell that has its model
    on_record = {parent.id}
    if parent.reading.class_head != "random":  # else alpha 0 is another model
        ends[interpolation(parent, 0.0).id] = zero_shot
        if on_rank_zero(lambda: _is_whole(zero_shot, store)):
            on_record.add(zero_shot.id)
    models: list[Cell] = []
    networks: dict[str, Network] = {}
    for cell in cells:
        model = ends.get(cell.id, cell)
        models.append(model)
        if model.id not in on_record:
            networks[model.id] = load_network(model, context, store)
    for name, images in context.every_set().items():
        made: dict[str, Predictions] = {}
        if networks:
            each = context.predict_each(parent, list(networks.values()), images)
            made = dict(zip(networks, each, strict=True))
        predictions: list[Predictions | None] = []
        for model in models:
            if model.id in made:
                predictions.append(made[model.id])
            elif WorkerRank.current().is_first:
                predictions.append(store.predictions(model.id, name))
            else:
                predictions.append(None)  # the first worker alone writes
        yield name, predictions


def _is_whole(cell: Cell, store: Store) -> bool:
    """Whether a cell is evaluated on every set, and its predictions have logits, which compact archives leave out."""
    sets = ("val", *store.catalog.card(cell.task).sets)
    return _is_evaluated(cell, store) and all(store.has_logits(cell.id, name) for name in sets)


def is_pending(cell: Cell, store: Store) -> bool:
    """Whether a post-hoc cell is to be computed on some set. A record under other NUMERICS is set aside first."""
    return store.set_aside_stale(cell.id) or not _is_evaluated(cell, store)


def _is_evaluated(cell: Cell, store: Store) -> bool:
    """Whether a cell is done under the current NUMERICS and evaluated on every set."""
    return store.is_current(cell.id) and store.evaluated(cell.id) >= set(store.catalog.card(cell.task).sets)


def write_post_hoc(
    cells: Sequence[Cell],
    predicted: Iterable[tuple[str, Sequence[Predictions | None]]],
    context: CellContext,
    store: Store,
    by: Command,
    more: Mapping[str, Any] | None = None,
    save_weights: Callable[[Path], None] | None = None,
) -> None:
    """Write post-hoc cells, one set after another: their records with validation, then the evaluations.

    predicted: as of :func:`carft.training.run.write_each_set`, validation first. more: other entries of the provenance.
    The records' duration ``evaluate`` ends with their validation.
    """
    started = time.perf_counter()

    def write(cell: Cell, name: str, predictions: Predictions) -> None:
        if name != "val":
            if name not in store.evaluated(cell.id):
                add_evaluation(cell, name, predictions, context, store, by)
            return
        metrics = with_prefix("val", score(predictions))
        provenance = {**context.provenance(), **(more or {})}
        durations = {"evaluate": time.perf_counter() - started}
        store.write(Record(cell, metrics, provenance, durations), [], predictions, save_weights)

    write_each_set(predicted, cells, write)
