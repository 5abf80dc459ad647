"""The tables of a report: one card each, name -> card. To add a table, write its function and add a card to ``TABLES``.

A card says how a table is made, what names its rows, how its numbers are shown, and what a number of it rests on. The
page, the CSV files, `report why` and `report verify` all work from the cards alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from carft.core.errors import unknown
from reports.analysis.null_checks import NullCheck, null_checks
from reports.claims.verdicts import Verdict, verdicts
from reports.evidence.caveats import caveats, said_of
from reports.evidence.evidence import TABLE_ENTRIES, Entry, Evidence
from reports.evidence.references import imagenet_references
from reports.evidence.sealed_access import SealedAccess
from reports.tables import basic as make
from reports.tables.audits import AUDIT_TABLES, AuditTable
from reports.tables.rows import rows_of

Row = Mapping[str, Any]
Format = Literal["share", "points", "general"]


@dataclass
class Sources:
    """What tables are made from: evidence, verdicts, and the tables themselves, each made once."""

    evidence: Evidence
    _made: dict[str, pd.DataFrame] = field(default_factory=dict)

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
    def unsealings(self) -> SealedAccess:
        return SealedAccess.of(self.evidence)

    @cached_property
    def caveats(self) -> Mapping[str, tuple[str, ...]]:
        """Cell -> what a reader must know of it."""
        return caveats(self.evidence.records.values(), self.unsealings)

    def table(self, name: str) -> pd.DataFrame:
        """A table of the registry, with rows marked whose cells call for a caution."""
        if name not in self._made:
            card = table_card(name)
            self._made[name] = self._marked(card, card.make(self))
        return self._made[name]

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables, in the registry's order."""
        return {name: self.table(name) for name in TABLES}

    def _marked(self, card: TableCard, table: pd.DataFrame) -> pd.DataFrame:
        if not self.caveats or table.empty:
            return table
        marks = [said_of(card.cells(self, row), self.caveats) for row in rows_of(table)]
        return table.assign(caution=marks) if any(marks) else table


def _named_cells(sources: Sources, row: Row) -> Sequence[str]:
    return str(row.get("cells", row.get("cell", ""))).split()


@dataclass(frozen=True)
class Formula:
    """How a number is computed, in words; ``metric`` names the metric of the cells whose mean it is, if it is one."""

    words: str
    metric: str | None = None


@dataclass(frozen=True)
class TableCard:
    """One table.

    keys: the columns that name a row, for addresses such as ``tasks.icons/transport/car_ft.test_top1``.
    shares, points: columns that hold shares of 1, shown in % or as signed points; patterns as of fnmatch.
    hidden: columns of the CSV that the page leaves out. formulas: column pattern -> formula.
    rests_on: the cells behind a row; by default those of its column ``cells`` or ``cell``.
    """

    title: str
    note: str
    make: Callable[[Sources], pd.DataFrame]
    keys: tuple[str, ...]
    shares: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ("cells",)
    headings: Mapping[str, str] = field(default_factory=dict)
    formulas: Mapping[str, Formula] = field(default_factory=dict)
    rests_on: Callable[[Sources, Row], Sequence[str]] = _named_cells
    on_page: bool = True

    def cells(self, sources: Sources, row: Row) -> Sequence[str]:
        """Ids of the cells that a row rests on."""
        return self.rests_on(sources, row)

    def format(self, column: str) -> Format:
        """How a column is shown."""
        for patterns, kind in ((self.shares, "share"), (self.points, "points")):
            if any(fnmatchcase(column, pattern) for pattern in patterns):
                return kind  # type: ignore[return-value]
        return "general"

    def formula(self, column: str) -> Formula | None:
        """The formula of a column, if it has one of its own."""
        found = next((f for pattern, f in self.formulas.items() if fnmatchcase(column, pattern)), None)
        if found is None or found.metric is None or "*" not in found.metric:
            return found
        return Formula(found.words, found.metric.replace("*", column.split("/")[-1]))

    def key(self, row: Row) -> str:
        """What names a row: its key columns, joined by a slash; first the scope, where the table has several."""
        names = [k for k in dict.fromkeys(("scope", *self.keys)) if k in row]
        return "/".join(str(row[k]) for k in names if not (k == "scope" and row[k] == ""))

    def short_key(self, row: Row) -> str:
        """The same without the scope: enough where no other scope has such a row."""
        return "/".join(str(row[k]) for k in self.keys if k in row and k != "scope")


def table_card(name: str) -> TableCard:
    """The card of a table; ``UserError`` with near misses for an unknown name."""
    if name not in TABLES:
        raise unknown("table", name, TABLES)
    return TABLES[name]


def _claims(sources: Sources) -> pd.DataFrame:
    # scripts get null for what does not exist, tables an empty cell
    rows = [{**v.as_dict(), "floor": v.floor, "cells": " ".join(v.cells)} for v in sources.verdicts]
    return pd.DataFrame(rows)


def _parts_cells(sources: Sources, row: Row) -> Sequence[str]:
    mine = [v for v in sources.verdicts if (v.claim, v.scope) == (row["claim"], row["scope"])]
    return next((part.cells for v in mine for part in v.parts if part.name == row["part"]), ())


def _view(sources: Sources, row: Row) -> Evidence:
    """The part of the evidence that a row is of: a table never pools over two scopes."""
    return next(view for view in sources.evidence.views() if view.name == row["scope"])


def _of_method(sources: Sources, row: Row) -> list[str]:
    """Confirm cells of the method of a row, on every task of its scope."""
    entry, view = next(e for e in TABLE_ENTRIES if e.label == row["method"]), _view(sources, row)
    return [cell for task in view.tasks for cell in view.cells(task, entry)]


def _trials_of_method(sources: Sources, row: Row) -> list[str]:
    trials = sources.table("trials")
    mine = (trials["method"] == row["method"]) & (trials["scope"] == row["scope"])
    return trials.loc[mine, "cell"].tolist()


def _on_curve(sources: Sources, row: Row) -> Sequence[str]:
    return _view(sources, row).cells(row["task"], Entry("wise_ft", row["parent"], row["alpha"]))


def _in_history(sources: Sources, row: Row) -> Sequence[str]:
    studies = [s for s in _view(sources, row).studies if s.method == row["method"]]
    return [cell for study in studies for cell in study.confirm if cell in sources.evidence.records]


def _audit_card(name: str, table: AuditTable) -> TableCard:
    """The card of a table of the audit, which says in its note how it is computed."""

    def made(sources: Sources) -> pd.DataFrame:
        if name == "problems":  # reading the others finds problems
            for other in TABLES:
                if other != name:
                    sources.table(other)
        return table.make(sources.evidence, sources.verdicts)

    rests_on = _trials_of_method if name == "one_trial" else _named_cells
    return TableCard(
        table.title,
        table.note,
        made,
        table.keys,
        table.shares,
        table.points,
        formulas={"*": Formula(table.note)},
        rests_on=rests_on,
    )


MEAN = "Mean over the cells of their"
INTERVAL = (
    "Effect -/+ q x SE. SE^2 = variance over seeds of the metric / seeds (of several searches: over the means of the "
    "searches / searches) + sum over strata of groups x variance over "
    "groups of the seed-averaged contributions, their interaction counted once; q = mean of the terms' t quantiles at "
    "97.5 %, weighted by their variances (docs/statistics.md)."
)
INTERVAL_FORMULAS = {
    "low": Formula(INTERVAL),
    "high": Formula(INTERVAL),
    "smallest_visible": Formula("(q(97.5 %) + q(80 %)) x SE, with q and SE as in the interval."),
    "floor": Formula("The source with the largest share of the variance: groups, seeds or tasks."),
}
PAIRED = Formula(
    "Mean over seeds of first minus second, paired by seed and image: sum over groups of the difference of their "
    "contributions. A pooled part is the unweighted mean over its tasks."
)

TABLES: dict[str, TableCard] = {
    "claims": TableCard(
        "Claims",
        "One row per claim, as on the first screen. Numbers are those of the part that decides it, in points.",
        _claims,
        ("claim",),
        points=("effect", "low", "high", "smallest_visible"),
        formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
        on_page=False,
    ),
    "verdicts": TableCard(
        "Parts of the verdicts",
        "One row per part of a claim, deciding or beside it, in points.",
        lambda sources: make.verdict_table(sources.verdicts),
        ("claim", "part"),
        points=("effect", "low*", "high*", "margin", "smallest_visible"),
        formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
        rests_on=_parts_cells,
        on_page=False,
    ),
    "tasks": TableCard(
        "Task by task",
        "Top-1 in %, means over confirm seeds, with the 95 % interval of the ID test accuracy. The columns beside the "
        "ID test have no interval here; the paired differences do. WiSE-FT's alpha was chosen on validation.",
        lambda sources: make.task_table(sources.evidence),
        ("task", "method"),
        shares=("test_top1", "low", "high", "val_top1", "test_mean_per_class", "ood/*", "*context_top1"),
        hidden=("cells", "scale", "val_top1", "test_mean_per_class"),
        headings={
            "test_top1": "ID test",
            "ood/mean": "mean OOD",
            "context_top1": "context ID",
            "ood_context_top1": "context OOD",
        },
        formulas={
            "test_top1": Formula(
                f"{MEAN} test/top1 (share of images whose largest logit is the label's).", "test/top1"
            ),
            "val_top1": Formula(f"{MEAN} val/top1.", "val/top1"),
            "test_mean_per_class": Formula(f"{MEAN} test/mean_per_class.", "test/mean_per_class"),
            "ood/mean": Formula(f"{MEAN} ood/mean/top1, itself the mean over the suites.", "ood/mean/top1"),
            "ood_context_top1": Formula(f"{MEAN} ood/context_top1, the mean over suites.", "ood/context_top1"),
            "context_top1": Formula(f"{MEAN} test/context_top1 (macro over contexts).", "test/context_top1"),
            "ood/*": Formula(f"{MEAN} top-1 on the suite.", "ood/*/top1"),
            **INTERVAL_FORMULAS,
        },
    ),
    "differences": TableCard(
        "Paired differences",
        "In points, with the winners that the two sides were run with. “smallest visible” is the smallest true "
        "difference that would have shown in 80 % of repetitions.",
        lambda sources: make.difference_table(sources.evidence),
        ("contrast", "where", "task"),
        points=("effect", "low", "high"),
        shares=("smallest_visible",),
        headings={"first_hyperparameters": "first", "second_hyperparameters": "second"},
        formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
    ),
    "wise": TableCard(
        "WiSE-FT curves",
        "Means over seeds in %, from the pretrained (alpha 0) to the fine-tuned model (alpha 1).",
        lambda sources: make.curve_table(sources.evidence),
        ("task", "parent", "alpha"),
        shares=("*top1",),
        formulas={name: Formula(f"{MEAN} {name}.", name) for name in make.CURVE_METRICS},
        rests_on=_on_curve,
    ),
    "trials": TableCard(
        "Search trials",
        "Every finished trial of every search, with validation numbers only.",
        lambda sources: make.trial_table(sources.evidence),
        ("task", "method", "search", "trial"),
        shares=("val/top1",),
        hidden=(),
        formulas={name: Formula(f"The cell's {name}.", name) for name in ("val/top1", "val/loss")},
    ),
    "best_of_n": TableCard(
        "Best of n",
        "Expected validation top-1 in % of the best of n trials, mean over tasks.",
        lambda sources: make.best_of_n_table(sources.table("trials")),
        ("method", "n"),
        shares=("expected_best",),
        formulas={
            "expected_best": Formula(
                "Mean over tasks of the expected maximum of val/top1 of n trials drawn without replacement: "
                "sum over ranks r of C(r, n - 1) x value(r) / C(trials, n)."
            )
        },
        rests_on=_trials_of_method,
    ),
    "contexts": TableCard(
        "Context recognition",
        "Images whose context is recognised, per known context and set, all tasks and seeds together.",
        lambda sources: make.context_table(sources.evidence),
        ("method", "context", "set"),
        shares=("share",),
        formulas={"share": Formula("hits / images, summed over tasks and confirm seeds.")},
        rests_on=_of_method,
    ),
    "history": TableCard(
        "Training curves",
        "Means over tasks and confirm seeds per epoch.",
        lambda sources: make.history_table(sources.evidence),
        ("method", "epoch"),
        formulas={"*": Formula("Mean over the cells of the mean over the epoch's steps (history.parquet).")},
        rests_on=_in_history,
        on_page=False,
    ),
    "unsealings": TableCard(
        "Unsealed cells",
        "Cells whose test set or suites were opened, how often, and by which command.",
        lambda sources: sources.unsealings.table(),
        ("cell",),
        hidden=(),
        on_page=False,
    ),
    "cells": TableCard(
        "Cells",
        "Every cell with the command that makes it again.",
        lambda sources: make.cell_table(sources.evidence),
        ("cell",),
        shares=("val_top1",),
        formulas={"val_top1": Formula("The cell's val/top1.", "val/top1")},
        on_page=False,
    ),
    "references": TableCard(
        "What others report at paper scale",
        "Top-1 in %, CLIP ViT-B/16 fine-tuned on ImageNet. Not measured here and not comparable with any number above: "
        "other model, other data, and pipelines of others. Of the paper itself only the abstract was at hand.",
        lambda sources: imagenet_references(),
        ("method", "source"),
        formulas={
            "*": Formula("Copied from its source (reports/evidence/reference_numbers.csv); nothing was computed.")
        },
        rests_on=lambda sources, row: (),
    ),
}
TABLES |= {name: _audit_card(name, table) for name, table in AUDIT_TABLES.items()}
