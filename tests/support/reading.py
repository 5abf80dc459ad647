"""A results folder as the stages of a report see it."""

import pandas as pd

from carft.store.records import Store
from reports.judge.evidence import Evidence
from reports.judge.judged import Judged, judge
from reports.judge.views import evidence_of
from reports.read.results import read_results
from reports.render.tables.table import table_card


def evidence_in(store: Store) -> Evidence:
    """Its evidence."""
    return evidence_of(read_results(store))


def judged_of(store: Store) -> Judged:
    """What is decided on it."""
    return judge(read_results(store))


def table_of(judged: Judged, name: str) -> pd.DataFrame:
    """A table of its report."""
    return table_card(name).frame(judged)
