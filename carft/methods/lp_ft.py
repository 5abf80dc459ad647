"""LP-FT: a linear probe, then fine-tuning from it (Kumar et al., arXiv 2202.10054)."""

from __future__ import annotations

from torch import nn

from carft.methods.ft import FineTune
from carft.methods.linear_probe import LinearProbe
from carft.models.network import Network


class ProbeThenFineTune(LinearProbe):
    """The head starts at the linear probe's solution with penalty ``l2``; then all parameters are trained on CE.

    Source: the paper's two steps. ``l2`` and ``lr`` are searched together, in the same number of trials as every other
    method; the paper validates the probe first and then searches the learning rate.
    """

    def trainable_parameters(self, network: Network) -> list[nn.Parameter]:
        return FineTune.trainable_parameters(self, network)
