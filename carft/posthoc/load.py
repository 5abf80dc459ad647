"""The network of any finished cell, trained or post-hoc."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from carft.core.errors import UserError
from carft.models.network import Network
from carft.spec.cell import Cell
from carft.spec.registry import method_card
from carft.spec.resolve import command
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.run import load_network

Weights = dict[str, torch.Tensor]


def load_finished(cell: Cell, context: CellContext, store: Store) -> Network:
    """The network of a finished cell: its own weights, or its parents' weights combined by its rule.

    Raises ``UserError`` when the weights of a soup are no longer in its folder.
    """
    if method_card(cell.method).kind != "post-hoc" or store.find_weights(cell.id).is_file():
        return load_network(cell, context, store)
    if cell.method not in COMBINED:
        raise UserError(
            f"The weights of cell {cell.id} are no longer in its folder.",
            f"Move the folder away and run: {command(cell, store.name)}",
        )
    parents = [store.read(parent).cell for parent in cell.parents]
    weights = [load_network(parent, context, store).state_dict() for parent in parents]
    network = context.network(cell.reading.class_head, cell.seed)
    network.load_state_dict(COMBINED[cell.method](cell, network.state_dict(), weights))
    return network


def _interpolated(cell: Cell, start: Mapping[str, torch.Tensor], parents: list[Weights]) -> Weights:
    return method_card("wise_ft").load()(start, parents[0], cell.hyperparameters["alpha"])


#: post-hoc method -> function of (cell, weights at the start of training, parents' weights)
COMBINED: Mapping[str, Callable[[Cell, Mapping[str, torch.Tensor], list[Weights]], Weights]] = {
    "wise_ft": _interpolated,
}
