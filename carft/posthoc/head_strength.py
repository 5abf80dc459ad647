"""How strongly the KL term of CAR-FT holds a model with contexts, and with what may stand in their place."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from carft.catalog.catalog import Catalog
from carft.config.cell import Cell
from carft.methods.car_ft_controls import random_rows, rotated_rows
from carft.models.network import embed
from carft.models.strength import TermStrength, temperature_of_entropy, term_strength
from carft.training.context import CellContext
from carft.training.execution import Execution

#: ratio of the traces of two terms from which they are not equally strong at equal weight
UNEQUAL = 1.5


@dataclass(frozen=True)
class HeadStrength:
    """The term with one head in the place of W_ctx, mean over draws of the head."""

    head: str
    """``contexts``, ``rotated``, ``random`` or ``classes``; ``softened`` after the first two."""
    draws: int
    """Number of draws; 1 for a head that is not drawn."""
    temperature: float
    """tau of the term."""
    entropy: float
    """As of :class:`carft.models.strength.TermStrength`, as are the next three."""
    fisher_trace: float
    effective_rank: float
    cosine: float
    trace_spread: float
    """Standard deviation of ``fisher_trace`` over draws; 0 for one."""
    trace_ratio: float
    """``fisher_trace`` over that of contexts."""

    @property
    def is_as_strong(self) -> bool:
        """Whether a comparison with contexts at equal weight is one at about equal strength."""
        return 1 / UNEQUAL < self.trace_ratio < UNEQUAL


def head_strengths(cell: Cell, execution: Execution, catalog: Catalog, draws: int) -> list[HeadStrength]:
    """The term of a cell's reading on the training images of its task, with each head. Trains nothing.

    draws: of rotations and of random vectors, from seeds 0, 1, ... *Softened* heads have the temperature at which their
    distribution has the entropy of that of random vectors; they are left out where no temperature gives it.
    """
    context = CellContext.of(cell, execution, catalog)
    features = embed(context.network(), context.task.train, context.pretrained, cell.precision)
    contexts, classes = context.prompts.contexts.cpu(), context.prompts.classes.cpu()
    scale = context.pretrained.scale if cell.reading.context_scale == "pretrained" else 1.0
    temperature = cell.reading.context_temperature
    heads: dict[str, list[torch.Tensor]] = {"contexts": [contexts], "rotated": [], "random": [], "classes": [classes]}
    for seed in range(draws):
        heads["rotated"].append(rotated_rows(contexts, seed))
        heads["random"].append(random_rows(contexts, seed))
    reference = term_strength(features, contexts, scale, temperature).fisher_trace

    def mean_strength(name: str, of: Sequence[torch.Tensor], tau: float) -> HeadStrength:
        return _mean(name, tau, [term_strength(features, head, scale, tau) for head in of], reference)

    found = {}
    for name, of in heads.items():
        found[name] = mean_strength(name, of, temperature)
    for name in ("contexts", "rotated"):
        try:
            softer = temperature_of_entropy(features, heads[name], scale, found["random"].entropy)
        except ValueError:
            continue
        softened = f"{name}, softened"
        found[softened] = mean_strength(softened, heads[name], softer)
    return list(found.values())


def _mean(name: str, temperature: float, strengths: Sequence[TermStrength], reference: float) -> HeadStrength:
    """The mean over draws of a head. reference: trace of contexts."""
    traces = [one.fisher_trace for one in strengths]
    trace = statistics.fmean(traces)
    spread = 0.0
    ratio = math.nan
    if len(traces) > 1:
        spread = statistics.stdev(traces)
    if reference > 0:
        ratio = trace / reference
    return HeadStrength(
        head=name,
        draws=len(strengths),
        temperature=temperature,
        entropy=statistics.fmean(one.entropy for one in strengths),
        fisher_trace=trace,
        effective_rank=statistics.fmean(one.effective_rank for one in strengths),
        cosine=statistics.fmean(one.cosine for one in strengths),
        trace_spread=spread,
        trace_ratio=ratio,
    )
