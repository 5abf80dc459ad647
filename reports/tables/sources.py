"""What the tables of a report are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from reports.analysis.null_checks import NullCheck, null_checks
from reports.claims.answer import PageAnswer
from reports.claims.verdicts import Verdict, verdicts
from reports.evidence.caveats import caveats, said_of
from reports.evidence.evidence import Evidence
from reports.evidence.sealed_access import SealedAccess
from reports.tables.training import trial_table


@dataclass
class Sources:
    """What tables are made from. Every part is computed once, when it is first asked for."""

    evidence: Evidence
    """The records of the results folder."""

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The verdicts, each with the cautions of its cells: page, tables, terminal and JSON all show these."""
        found = verdicts(self.evidence, self.checks)
        return [replace(verdict, caution=said_of(verdict.cells, self.caveats)) for verdict in found]

    @cached_property
    def checks(self) -> list[NullCheck]:
        """The null checks."""
        return null_checks(self.evidence)

    @cached_property
    def answer(self) -> PageAnswer:
        """The sentences at the top of the page, and how far to trust them."""
        return PageAnswer.of(self.evidence, self.verdicts, self.checks)

    @cached_property
    def unsealings(self) -> SealedAccess:
        """Which cells were evaluated on sealed sets."""
        return SealedAccess.of(self.evidence)

    @cached_property
    def caveats(self) -> Mapping[str, tuple[str, ...]]:
        """Cell -> its caveats."""
        return caveats(self.evidence, self.unsealings)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The finished trials of every search."""
        return trial_table(self.evidence)
