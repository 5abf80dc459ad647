"""The positive control, and the margins within which two methods count as equal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from reports.analysis.contrasts import Contrast, Part, every_suite, pool
from reports.evidence.evidence import FT, WISE, Evidence

#: interpolation weight of the positive control
CONTROL_ALPHA = 0.5
#: the positive control, named in advance: it must gain over FT out of distribution
POSITIVE = replace(WISE, alpha=CONTROL_ALPHA)
#: margin of equivalence in distribution, a share of 1
ID_EQUIVALENCE = 0.005
#: the largest margin of equivalence out of distribution, a share of 1
LARGEST_EQUIVALENCE = 0.01


def positive_control_bound(evidence: Evidence) -> float:
    """The lower bound of WiSE-FT of FT at alpha 0.5 minus FT, mean of suites, a share of 1.

    It was named in advance. NaN where the control was not run, or its evidence is incomplete.
    """
    control = pool(evidence, Contrast(POSITIVE, FT, "top1", every_suite), "positive control")
    return math.nan if control is None or control.flaws or control.unequal else control.low


def equivalence_margin(evidence: Evidence, needs: str) -> float | None:
    """The margin, a share of 1, within which two methods count as equal; None where there is none.

    needs: ``test`` for accuracy in distribution. For ``suites`` it is half of what the positive control surely gains,
    at most ``LARGEST_EQUIVALENCE``, and there is none where the control does not surely gain. Context recognition has
    none.
    """
    if needs == "test":
        return ID_EQUIVALENCE
    if needs == "suites" and (bound := positive_control_bound(evidence)) > 0:
        return min(bound / 2, LARGEST_EQUIVALENCE)
    return None


def equivalence_of(evidence: Evidence, needs: str, parts: Sequence[Part]) -> float | None:
    """The margin of equivalence that the intervals of all parts lie within, a share of 1; None where one does not."""
    is_narrow = all(part.side != "around" and part.is_within(LARGEST_EQUIVALENCE) for part in parts)
    margin = equivalence_margin(evidence, needs) if is_narrow else None
    return margin if margin is not None and all(part.is_within(margin) for part in parts) else None
