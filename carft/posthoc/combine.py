"""Cells that are made of finished ones without training: of their weights, or of their predictions on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch

from carft.catalog.resolve import combination, command, zero_shot_of
from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.core.metrics import Predictions
from carft.models.network import Network
from carft.posthoc.wise_ft import is_pending, write_post_hoc
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import CellStatus, load_network, save_weights, unseal_cell

Weights = Mapping[str, torch.Tensor]


def run_combination(
    method: str, parents: Sequence[Cell], hyperparameters: Mapping[str, float], store: Store, execution: Execution
) -> tuple[str, CellStatus]:
    """A cell of finished cells, evaluated on every set; returns its id.

    ``UserError`` for parents that the method cannot combine, that are not done under the current NUMERICS, or whose
    logits are not kept.
    """
    cell = combination(method, parents, hyperparameters, store.catalog)
    for parent in parents:
        store.require_current(parent.id)
    if not is_pending(cell, store):
        return cell.id, "reused"
    execution.prepare()
    context = CellContext.of(cell, execution, store.catalog)
    if store.catalog.method(method).combines == "outputs":
        write_post_hoc([cell], _from_outputs(cell, parents[0], context, store), context, store, "combine")
        return cell.id, "done"
    network = context.network(cell.reading.class_head)
    network.load_state_dict(_merged(cell, parents, network, context, store))
    sets = context.every_set().items()
    predicted = ((name, context.predict_each(cell, [network], images)) for name, images in sets)
    write_post_hoc([cell], predicted, context, store, "combine", save_weights=partial(save_weights, network))
    return cell.id, "done"


def _merged(cell: Cell, parents: Sequence[Cell], start: Network, context: CellContext, store: Store) -> Weights:
    """The weights of a cell. start: the network at zero-shot."""
    merge = context.catalog.method(cell.method).load()
    tuned = [load_network(parent, context, store).state_dict() for parent in parents]
    merged: Weights = merge(start.state_dict(), *tuned, **cell.hyperparameters)
    return merged


def _from_outputs(
    cell: Cell, parent: Cell, context: CellContext, store: Store
) -> Iterator[tuple[str, list[Predictions | None]]]:
    """Name of a set, and the predictions of the cell, from those of the parent and of zero-shot on record."""
    zero_shot = zero_shot_of(parent, store.catalog)
    sets = context.every_set()
    if not store.is_current(zero_shot.id) or not store.evaluated(zero_shot.id) >= set(sets) - {"val"}:
        wanted = command(zero_shot, store.name, catalog=store.catalog, unseal=True)
        raise UserError("The outputs of the zero-shot model are not on record.", f"Make them: {wanted}")
    unseal_cell(parent, store, context.execution, "combine")
    combine = context.catalog.method(cell.method).load()
    for name in sets:
        yield name, [combine(store.predictions(zero_shot.id, name), store.predictions(parent.id, name))]
