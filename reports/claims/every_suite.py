"""Claims on every shift: the parts, and the gaps that others report, with which they are compared at paper scale."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from carft.spec.registry import METHODS
from reports.analysis.contrasts import Contrast, Part, every_suite, pool, sampled, suite_set
from reports.claims.claim import Claim, Verdict
from reports.claims.rules import decide, not_run, supporting
from reports.evidence.evidence import CAR_FT, Entry, Evidence


@dataclass(frozen=True)
class EverySuite(Claim):
    """CAR-FT minus a rival on each suite of a scope, mean over tasks."""

    rival: Entry = field(kw_only=True)
    missing: str = field(kw_only=True)
    """What to run where a side is absent."""

    def decide(self, evidence: Evidence) -> Verdict:
        if left_out := evidence.left_out_suites():
            verdict = not_run(self, evidence, f"{self.missing} on {', '.join(left_out)}, which --suites left out")
            asked = ",".join((*evidence.suite_names(), *left_out))
            return replace(verdict, command=f"{verdict.command} --suites {asked}")
        sides = f"CAR-FT - {METHODS[self.rival.method].label}"
        suites = {f"ood/{suite}": self._part(evidence, suite) for suite in evidence.suite_names()}
        every, mean = Contrast(CAR_FT, self.rival, "top1", every_suite), f"{sides}, mean of suites"
        beside = supporting(pool(evidence, every, mean, deciding=False), sampled(evidence, every, mean))
        verdict = decide(self, evidence, [*suites.values(), *beside], self.missing)
        measured = {name: part for name, part in suites.items() if part is not None}
        four = [r.set for r in self.references if r.set in measured]
        if 1 < len(four) < len(suites):  # the table's mean leaves out the shift that it has no number for
            of_four = Contrast(CAR_FT, self.rival, "top1", lambda *_: four)
            mean_of_four = pool(evidence, of_four, f"{sides}, mean of {len(four)}")
            measured |= {"ood/mean": mean_of_four} if mean_of_four else {}
        return replace(verdict, finding=verdict.finding + self.against_references(evidence, measured))

    def gains(self, evidence: Evidence) -> list[Part]:
        return supporting(*(self._part(evidence, suite) for suite in evidence.suite_names()))

    def _part(self, evidence: Evidence, suite: str) -> Part | None:
        name = f"CAR-FT - {METHODS[self.rival.method].label}, {suite}"
        contrast = Contrast(CAR_FT, self.rival, "top1", suite_set(suite))
        return pool(evidence, contrast, name, reported=self.reported(evidence, f"ood/{suite}"))
