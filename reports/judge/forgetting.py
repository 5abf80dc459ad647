"""What plain fine-tuning forgets out of distribution, and what remedies give back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.judge.contrasts.contrast import Contrast, every_suite, pool
from reports.judge.entry import FT, WISE, ZERO_SHOT, Entry
from reports.judge.evidence import Evidence
from reports.judge.intervals.ratio import Ratio, fieller
from reports.judge.part import Part
from reports.read.references import NAMES, reported_gain, reported_share

#: interpolation weight of the positive control
CONTROL_ALPHA = 0.5
#: the positive control, named in advance: it must gain over FT out of distribution
POSITIVE = replace(WISE, alpha=CONTROL_ALPHA)
#: margin of equivalence, a share of 1
EQUIVALENCE = 0.005
#: zero-shot minus FT out of distribution: what FT loses
FORGOTTEN = Contrast(ZERO_SHOT, FT, "top1", every_suite)
FORGOTTEN_SIDES = "zero-shot - FT, mean of suites"


def forgotten(evidence: Evidence) -> Part | None:
    """Zero-shot minus FT out of distribution, mean over suites and tasks; None where a side was not evaluated."""
    return pool(evidence, FORGOTTEN, FORGOTTEN_SIDES)


@dataclass(frozen=True)
class GivenBack:
    """What a method gains over FT out of distribution, as a share of what FT lost to zero-shot."""

    entry: Entry
    gained: Part
    forgotten: Part
    share: Ratio

    @property
    def reported_share(self) -> float:
        """The share on ImageNet in the reference numbers; NaN where no pipeline has all three numbers."""
        return reported_share(NAMES.get(self.entry.label, ""))

    @property
    def reported_gain(self) -> float:
        """What it gains there, a share of 1; NaN where none is on record."""
        return reported_gain(NAMES.get(self.entry.label, ""))[0]

    @staticmethod
    def of(evidence: Evidence, entry: Entry) -> GivenBack | None:
        """That of an entry in one scope, over the searches that it shares with FT, on the tasks that both and zero-shot
        have; None without one."""
        shared = evidence.with_shared_searches([entry.searched, FT.method])
        gain = Contrast(entry, FT, "top1", every_suite).estimate(shared)
        loss = FORGOTTEN.estimate(shared)
        apart = Contrast(entry, ZERO_SHOT, "top1", every_suite).estimate(shared)
        tasks = gain.estimates.keys() & loss.estimates.keys() & apart.estimates.keys()
        if not tasks:
            return None
        gain, loss, apart = gain.on(tasks), loss.on(tasks), apart.on(tasks)
        share = fieller(gain.pooled(), loss.pooled(), apart.pooled())
        gained = gain.part(f"{entry.label} - FT, mean of suites", gain.pooled())
        return GivenBack(entry, gained, loss.part(FORGOTTEN_SIDES, loss.pooled()), share)

    @property
    def is_defined(self) -> bool:
        """Whether anything was forgotten of which a share could be given back."""
        return self.forgotten.estimate.effect > 0

    @property
    def words(self) -> str:
        """The share with its interval: ``35 % (12 to 61 %)``."""
        if not self.is_defined:
            return "nothing was forgotten"
        low, high = f"{100 * self.share.low:.0f}", f"{100 * self.share.high:.0f}"
        bounds = {
            "between": f"{low} to {high} %",
            "outside": f"up to {low} % or from {high} % on, since the forgetting may be 0",
            "any": "any share, since the forgetting may be 0",
            "none": "no interval",
        }
        return f"{100 * self.share.value:.0f} % ({bounds[self.share.kind]})"


def equivalence_of(evidence: Evidence, needs: str, parts: Sequence[Part]) -> float | None:
    """The margin of equivalence, a share of 1, where the intervals of all parts lie within it; None where one does not.

    needs: ``test`` for accuracy in distribution. For ``suites`` there is none where the positive control does not
    surely gain or its evidence is incomplete. Context recognition has none.
    """
    for part in parts:
        if part.side == "around" or not part.is_within(EQUIVALENCE):
            return None
    if needs == "test" or (needs == "suites" and _control_gains(evidence)):
        return EQUIVALENCE
    return None


def _control_gains(evidence: Evidence) -> bool:
    """Whether the positive control surely gains over FT out of distribution, on whole evidence."""
    control = pool(evidence, Contrast(POSITIVE, FT, "top1", every_suite), "positive control")
    return control is not None and control.low > 0 and not (control.flaws or control.unequal)
