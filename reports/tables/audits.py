"""The audit's tables by name, each with its words: a table is a function of evidence and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from reports.analysis import context as awareness
from reports.analysis import null_checks as nulls
from reports.analysis import robustness
from reports.analysis import selection as fairness
from reports.claims import readings
from reports.claims.verdicts import Verdict
from reports.evidence.evidence import Evidence
from reports.tables import basic as tables
from reports.tables import uncertainty

Make = Callable[[Evidence, Sequence[Verdict]], pd.DataFrame]


@dataclass(frozen=True)
class AuditTable:
    """One table. keys: columns that name a row. shares, points: columns that hold shares of 1 and how to show them."""

    title: str
    note: str
    make: Make
    keys: tuple[str, ...]
    shares: tuple[str, ...] = ()
    points: tuple[str, ...] = ()


def _evidence(function: Callable[[Evidence], pd.DataFrame]) -> Make:
    return lambda evidence, _: function(evidence)


AUDIT_TABLES: dict[str, AuditTable] = {
    "nulls": AuditTable(
        "Null checks",
        "What must hold before any comparison means something, run on the records of this folder.",
        _evidence(nulls.null_table),
        ("check",),
    ),
    "uncertainty": AuditTable(
        "Where the uncertainty comes from",
        "Standard errors by source, in points. Groups and seeds make the intervals; the draw of hyperparameters is "
        "estimated on validation and is in no interval; of several searches, it is in the term of seeds.",
        _evidence(uncertainty.uncertainty_table),
        ("scope", "contrast", "where", "task"),
        points=("effect",),
        shares=("se_*", "half_width*"),
    ),
    "selection": AuditTable(
        "Validation against oracle selection",
        "CAR-FT minus FT with winners chosen on validation and, where search cells were unsealed for it, on test. A "
        "number selected on test is an upper bound for both sides, never a result.",
        _evidence(fairness.selection_table),
        ("scope", "where", "selected_on"),
        points=("effect", "low", "high", "gap"),
    ),
    "one_trial": AuditTable(
        "Had the baseline had fewer trials",
        "Validation top-1 of a method's winner minus FT's expected best of n trials, mean over tasks, in points.",
        lambda evidence, _: fairness.one_trial_table(tables.trial_table(evidence)),
        ("scope", "method", "ft_trials"),
        points=("gain", "inflation"),
    ),
    "readings": AuditTable(
        "Readings",
        "CAR-FT minus FT under every reading of what the paper leaves open that was run.",
        _evidence(readings.specification_table),
        ("scope", "reading", "where"),
        points=("effect", "low", "high"),
    ),
    "reading_shares": AuditTable(
        "In how many readings each claim holds",
        "Contradicted is after Holm over readings; undecided is neither.",
        _evidence(readings.reading_share_table),
        ("scope", "claim"),
        shares=("share",),
    ),
    "confusion": AuditTable(
        "Context confusion",
        "Known against named contexts, summed over tasks and seeds.",
        _evidence(awareness.confusion_table),
        ("scope", "method", "where", "known", "named"),
        shares=("share",),
    ),
    "reliability": AuditTable(
        "Calibration of p_ctx",
        "15 bins of equal width; ece is that of the method and place.",
        _evidence(awareness.reliability_table),
        ("scope", "method", "where", "bin"),
        shares=("confidence", "recognised", "ece"),
    ),
    "lost": AuditTable(
        "Which contexts are lost first",
        "Recognition before and after, and the alpha of WiSE-FT's line at which half of the loss is there.",
        _evidence(awareness.lost_table),
        ("scope", "method", "context"),
        shares=("pretrained", "tuned"),
        points=("lost",),
    ),
    "kl": AuditTable(
        "The divergence over training",
        "Means over confirm cells, in nats; progress 0 is the first step.",
        _evidence(awareness.kl_table),
        ("scope", "method", "progress"),
    ),
    "robustness": AuditTable(
        "Robustness",
        "Effective robustness (distance from the baseline line), worst shift, worst class, calibration error "
        "(15 bins of equal width), in %; n as stated.",
        _evidence(robustness.robustness_table),
        ("scope", "task", "method"),
        shares=("id", "ood", "expected_ood", "worst_shift", "worst_class", "worst_class_ood", "ece_*"),
        points=("effective",),
    ),
    "baseline": AuditTable(
        "The baseline of effective robustness",
        "Untrained models, and the line through them on logit axes.",
        _evidence(robustness.baseline_table),
        ("scope", "task", "model", "pretrained"),
        shares=("id", "ood"),
    ),
    "problems": AuditTable(
        "What could not be used",
        "Torn, failed, missing, of other numerics or data, or not the largest study of its question.",
        _evidence(tables.problem_table),
        ("what", "where"),
    ),
}


def audit_tables(evidence: Evidence, verdicts: Sequence[Verdict]) -> dict[str, pd.DataFrame]:
    """All of them, made. ``problems`` comes last: reading the others finds problems."""
    return {name: table.make(evidence, verdicts) for name, table in AUDIT_TABLES.items()}
