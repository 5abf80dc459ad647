"""Model soups: averages of the weights of finished cells (Wortsman et al., arXiv 2203.05482)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from carft.catalog.resolve import soup_of
from carft.config.cell import Cell
from carft.config.registry import SoupRule
from carft.core.metrics import score
from carft.models.network import interpolate
from carft.posthoc.wise_ft import is_pending, write_post_hoc
from carft.protocol.selection import Candidate, ranked
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.distributed import on_rank_zero
from carft.training.execution import Execution
from carft.training.run import CellStatus, Command, load_network, save_weights

Weights = Mapping[str, torch.Tensor]


def uniform_soup(names: Sequence[str], load: Callable[[str], Weights]) -> dict[str, torch.Tensor]:
    """theta = 1/n sum_i theta_i over every floating tensor, class head and bias included; the rest from the first.

    load: returns the weights of a name; the average and one model are in memory at a time. Averages are float64.
    """
    return greedy_soup(names, load, accuracy=lambda weights: 1.0, best=1.0)[1]  # no model makes it worse


def greedy_soup(
    order: Sequence[str], load: Callable[[str], Weights], accuracy: Callable[[Weights], float], best: float
) -> tuple[list[str], dict[str, torch.Tensor]]:
    """Members and weights: each model in turn is added if the soup with it validates no worse than the soup without.

    order: from the best on validation down; the first is always a member, and ``best`` is its accuracy. "No worse" is
    the paper's rule; the authors' code (mlfoundations/model-soups) requires "better".
    """
    members = [order[0]]
    soup = _double(load(order[0]))
    for name in order[1:]:
        trial = interpolate(soup, _double(load(name)), 1 / (len(members) + 1))
        reached = accuracy(trial)
        if reached >= best:
            members, soup, best = [*members, name], trial, reached
    return members, soup


def _double(weights: Weights) -> dict[str, torch.Tensor]:
    """A copy of the weights with floating tensors as float64."""
    copies = {}
    for name, value in weights.items():
        copies[name] = value.double() if value.is_floating_point() else value.clone()
    return copies


def run_soup(
    parents: Sequence[Cell], rule: SoupRule, store: Store, execution: Execution, by: Command = "soup"
) -> tuple[str, CellStatus]:
    """The soup over finished cells, evaluated on every set; returns its id. Its record's provenance lists its members.

    A greedy one goes from the best parent on validation down (val/top1, then val/loss, then id) and adds each that
    leaves val/top1 no lower. A parent without weights is trained again. Raises ``UserError`` for a
    parent that is not done under the current NUMERICS. Every worker of the cell calls this; the first one reads and
    writes records.
    """
    cell = soup_of(parents, rule, store.catalog)
    for parent in cell.parents:
        on_rank_zero(partial(store.require_current, parent))
    if not on_rank_zero(lambda: is_pending(cell, store)):
        return cell.id, "reused"
    execution.prepare()
    context = CellContext.of(cell, execution, store.catalog)
    members, weights = _members_and_weights(cell, parents, context, store)
    network = context.network(cell.reading.class_head)
    network.load_state_dict(weights)
    sets = context.every_set().items()
    predicted = ((name, context.predict_each(cell, [network], images)) for name, images in sets)
    write_post_hoc([cell], predicted, context, store, by, {"members": members}, partial(save_weights, network))
    return cell.id, "done"


def _members_and_weights(
    cell: Cell, parents: Sequence[Cell], context: CellContext, store: Store
) -> tuple[list[str], Weights]:
    """Members of a soup, in the order in which they were added, and its weights."""
    by_id = {parent.id: parent for parent in parents}

    def load(parent: str) -> Weights:
        return load_network(by_id[parent], context, store).state_dict()

    def accuracy(weights: Weights) -> float:
        network = context.network(cell.reading.class_head)
        network.load_state_dict(weights)
        return score(context.predict(cell, network, context.task.val))["top1"]

    def from_the_best() -> list[Candidate]:
        candidates = []
        for number, name in enumerate(cell.parents):
            candidates.append(Candidate(name, number, store.read(name).metrics))
        return ranked(candidates)

    order = on_rank_zero(from_the_best)
    names = [candidate.cell for candidate in order]
    if cell.hyperparameters["greedy"] == SoupRule.GREEDY.value:
        return greedy_soup(names, load, accuracy, order[0].metrics["val/top1"])
    return names, uniform_soup(names, load)
