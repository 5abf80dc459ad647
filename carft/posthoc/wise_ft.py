"""The WiSE-FT curve of a finished cell: one post-hoc cell per alpha, each with a record of its own."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from carft.core.errors import UserError
from carft.core.metrics import Predictions, flatten, score
from carft.methods.wise_ft import interpolate
from carft.models.network import Network
from carft.spec.catalog import Catalog
from carft.spec.cell import Cell, Reading, Training
from carft.spec.registry import WISE_ALPHAS
from carft.spec.resolve import interpolation
from carft.store.records import Record, Store
from carft.training.context import CellContext
from carft.training.distributed import WorkerRank, on_rank_zero
from carft.training.execution import Execution
from carft.training.run import CellResult, Command, add_evaluation, load_network, unseal_cell, writing


def run_curve(
    parent: Cell,
    store: Store,
    execution: Execution,
    by: Command = "interpolate",
    alphas: Sequence[float] = WISE_ALPHAS,
) -> list[CellResult]:
    """The WiSE-FT curve of a finished cell: one post-hoc cell per alpha, each evaluated on every set.

    Every worker of the cell calls this; the first one reads and writes records. Alpha 1 is the parent and alpha 0 the
    pretrained model: their predictions are read from records where possible. Raises ``UserError`` when the parent is
    not trained, or not done under the current NUMERICS.
    """
    if store.catalog.method(parent.method).kind != "trained":
        raise UserError(f"Cell {parent.id} is '{parent.method}', which has no trained weights to interpolate.")
    on_rank_zero(lambda: store.require_current(parent.id))
    cells = [interpolation(parent, alpha) for alpha in alphas]
    wanted = set(store.catalog.card(parent.task).sets)
    pending = on_rank_zero(
        lambda: [c for c in cells if store.set_aside_stale(c.id) or not store.evaluated(c.id) >= wanted]
    )
    if pending:
        unseal_cell(parent, store, execution, by)
        execution.prepare()
        context = CellContext.of(parent, execution, store.catalog)
        started = time.perf_counter()
        curve = _curve_predictions(parent, [c.hyperparameters["alpha"] for c in pending], context, store)
        durations = {"evaluate": (time.perf_counter() - started) / len(pending)}
        with writing(threads=len(pending)) as later:  # most of the time goes to the disk
            for cell, predictions in zip(pending, curve, strict=True):
                later(_write, cell, predictions, durations, context, store, by)
    metrics = on_rank_zero(lambda: [store.metrics(c.id) for c in cells])
    return [CellResult(c.id, "done" if c in pending else "reused", m) for c, m in zip(cells, metrics, strict=True)]


def _curve_predictions(
    parent: Cell, alphas: Sequence[float], context: CellContext, store: Store
) -> list[dict[str, Predictions]]:
    """Predictions on every set at each alpha; one pass over the images for all alphas between 0 and 1."""
    ends = {alpha: _end_predictions(parent, alpha, store, context.execution) for alpha in alphas}
    between = [alpha for alpha in alphas if ends[alpha] is None]
    if not between:
        return [predictions for predictions in ends.values() if predictions is not None]
    network = context.network(parent.reading.class_head, parent.seed)
    start = copy.deepcopy(network.state_dict())
    end = load_network(parent, context, store).state_dict()
    networks = [copy.deepcopy(network) for _ in between]
    for alpha, interpolated in zip(between, networks, strict=True):
        interpolated.load_state_dict(interpolate(start, end, alpha))
    computed = iter(predict_all(parent, networks, context))
    return [next(computed) if predictions is None else predictions for predictions in ends.values()]


def _write(
    cell: Cell,
    predictions: dict[str, Predictions],
    durations: dict[str, float],
    context: CellContext,
    store: Store,
    by: Command,
) -> None:
    val = predictions["val"]
    store.write(Record(cell, flatten("val", score(val)), context.provenance(), durations), [], val)
    for name in (name for name in context.card.sets if name not in store.evaluated(cell.id)):
        add_evaluation(cell, name, predictions[name], context, store, by)


def _end_predictions(parent: Cell, alpha: float, store: Store, execution: Execution) -> dict[str, Predictions] | None:
    """Predictions at alpha 0 and 1, from records where they exist; None at any other alpha."""
    names = ("val", *store.catalog.card(parent.task).sets)
    if alpha == 1:
        return _recorded(parent, names, store)
    if alpha == 0 and parent.reading.class_head != "random":
        start = replace(parent, method="zeroshot", hyperparameters={}, seed=0, training=Training(), reading=Reading())
        if on_rank_zero(lambda: _is_recorded(start, names, store)):
            return _recorded(start, names, store)
        return _zero_shot_predictions(start, execution, store.catalog)
    return None


def _is_recorded(cell: Cell, names: Sequence[str], store: Store) -> bool:
    if not store.is_current(cell.id) or not store.evaluated(cell.id) >= set(names[1:]):
        return False
    return all(store.has_logits(cell.id, name) for name in names)  # a compact archive has none


def _recorded(cell: Cell, names: Sequence[str], store: Store) -> dict[str, Predictions]:
    """Predictions on record, on the first worker, which alone writes what is made of them; empty on the others."""
    return {name: store.predictions(cell.id, name) for name in names} if WorkerRank.current().is_first else {}


@lru_cache(maxsize=16)
def _zero_shot_predictions(cell: Cell, execution: Execution, catalog: Catalog) -> dict[str, Predictions]:
    context = CellContext.of(cell, execution, catalog)
    return predict_all(cell, [context.network()], context)[0]


def predict_all(cell: Cell, networks: Sequence[Network], context: CellContext) -> list[dict[str, Predictions]]:
    """Predictions of every network on validation, test set and suites; every image is decoded once."""
    sets = {"val": context.task.val, **context.sealed()}
    by_set = {name: context.predict_each(cell, networks, images) for name, images in sets.items()}
    return [{name: by_set[name][number] for name in by_set} for number in range(len(networks))]
