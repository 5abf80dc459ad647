"""LP-FT: a linear probe, then fine-tuning from it (Kumar et al., arXiv 2202.10054)."""

from __future__ import annotations

from carft.methods.ft import Fitting, Row
from carft.methods.linear_probe import LinearProbe


class ProbeThenFineTune(LinearProbe):
    """The head starts at the linear probe's solution with penalty ``l2``; then all is trained on CE, as in ft.

    Source: the paper's two steps. ``l2`` and ``lr`` are searched together, in the same number of trials as every other
    method; the paper validates the probe first and then searches the learning rate.
    """

    def fit(self, fitting: Fitting) -> list[Row]:
        self.probe(fitting)
        return fitting.descend()
