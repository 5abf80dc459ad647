"""A results folder as the stages of a report see it."""

import pandas as pd

from carft.store.records import Store
from reports.judge.evidence import Evidence
from reports.judge.findings import Findings, judge
from reports.judge.views import evidence_of
from reports.read.folder import read_folder
from reports.render.tables.table import table_card


def evidence_in(store: Store) -> Evidence:
    """Its evidence."""
    return evidence_of(read_folder(store))


def judged_of(store: Store) -> Findings:
    """What is decided on it."""
    return judge(read_folder(store))


def table_of(findings: Findings, name: str) -> pd.DataFrame:
    """A table of its report."""
    return table_card(name).frame(findings)
