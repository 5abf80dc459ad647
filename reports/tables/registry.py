"""The tables of a report, name -> card.

To add a table, write its function and add a card to ``TABLES``. The page, the CSV files, `report why` and
`report verify` read the cards only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from carft.core.errors import unknown
from reports.analysis.context import confusion_table, context_table, kl_table, lost_table, reliability_table
from reports.analysis.disagreements import context_image_table, disagreement_table, gallery_table
from reports.analysis.factors import factor_table
from reports.analysis.levels import level_table
from reports.analysis.null_checks import null_table
from reports.analysis.robustness import baseline_table, robustness_table
from reports.analysis.selection import one_trial_table, selection_table
from reports.claims.readings import reading_share_table, specification_table
from reports.evidence.caveats import said_of
from reports.evidence.references import imagenet_references
from reports.tables.accuracy import CURVE_METRICS, curve_table, task_table
from reports.tables.card import (
    COPIED,
    INTERVAL_FORMULAS,
    LEVEL_FORMULAS,
    LEVEL_INTERVAL,
    MEAN,
    PAIRED,
    Formula,
    TableCard,
)
from reports.tables.comparisons import comparison_table
from reports.tables.confirmed import confirmed_table
from reports.tables.differences import difference_table, verdict_table
from reports.tables.folder import cell_table, problem_table
from reports.tables.paper_scale import paper_scale_table
from reports.tables.row_cells import (
    cells_in_history,
    cells_of_both,
    cells_of_method,
    cells_of_part,
    cells_on_curve,
    cells_on_line,
    trials_of_method,
)
from reports.tables.rows import rows_of
from reports.tables.sources import Sources
from reports.tables.training import best_of_n_table, history_table
from reports.tables.uncertainty import uncertainty_table


@dataclass
class Tables(Sources):
    """The tables of a report. Each is made once, when it is first asked for."""

    _made: dict[str, pd.DataFrame] = field(default_factory=dict)

    def table(self, name: str) -> pd.DataFrame:
        """A table of the registry, with a column ``caution`` where cells have caveats."""
        if name == "problems":  # reading the evidence for the other tables finds problems
            for other in (known for known in TABLES if known != name):
                self.table(other)
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


def table_card(name: str) -> TableCard:
    """The card of a table; ``UserError`` with near misses for an unknown name."""
    if name not in TABLES:
        raise unknown("table", name, TABLES)
    return TABLES[name]


def _claims(sources: Sources) -> pd.DataFrame:
    """One row per verdict."""
    # scripts get null for what does not exist, tables an empty cell
    return pd.DataFrame([{**v.as_dict(), "floor": v.floor, "cells": " ".join(v.cells)} for v in sources.verdicts])


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
        lambda sources: verdict_table(sources.verdicts),
        ("claim", "part"),
        points=("effect", "low*", "high*", "margin", "smallest_visible"),
        formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
        cells=cells_of_part,
        on_page=False,
    ),
    "levels": TableCard(
        "What each method reaches",
        "Means in % over the tasks that zero-shot, FT and CAR-FT all have, with 95 % intervals. The intervals of two "
        "methods do not tell whether they differ; the paired differences do.",
        lambda sources: level_table(sources.evidence),
        ("place", "method"),
        shares=("value", "low", "high", "chance"),
        formulas={
            "value": Formula(
                "Unweighted mean over tasks of the mean over confirm seeds of the metric: context recognition (macro "
                "over contexts, mean over the ID test set and all suites), top-1 on the ID test set, or mean top-1 "
                "over the suites."
            ),
            "chance": Formula("Mean over tasks of 1 over the number of known contexts; empty for accuracy."),
            **LEVEL_FORMULAS,
        },
    ),
    "tasks": TableCard(
        "Task by task",
        "Top-1 in %, means over confirm seeds, with the 95 % interval of the ID test accuracy. The columns beside the "
        "ID test have no interval here; the paired differences do. WiSE-FT's alpha was chosen on validation. Where a "
        "task's card names mean per class as the usual metric, that accuracy and its interval stand beside top-1.",
        lambda sources: task_table(sources.evidence),
        ("task", "method"),
        shares=(
            *("test_top1", "low", "high", "val_top1", "test_mean_per_class", "ood/*", "*context_top1"),
            *("test_card_metric", "card_low", "card_high", "context_chance"),
        ),
        hidden=("cells", "scale", "val_top1", "test_mean_per_class"),
        headings={
            "test_top1": "ID test",
            "ood/mean": "mean OOD",
            "context_top1": "context ID",
            "ood_context_top1": "context OOD",
            "context_chance": "context by chance",
            "card_metric": "usual metric",
            "test_card_metric": "ID test in it",
            "card_low": "its low",
            "card_high": "its high",
        },
        formulas={
            "test_top1": Formula(
                f"{MEAN} test/top1 (share of images whose largest logit is the label's).", "test/top1"
            ),
            "val_top1": Formula(f"{MEAN} val/top1.", "val/top1"),
            "test_mean_per_class": Formula(f"{MEAN} test/mean_per_class.", "test/mean_per_class"),
            "test_card_metric": Formula(f"{MEAN} test/top1 or test/mean_per_class, as the task's card says."),
            "card_metric": Formula("The field's usual metric of the task, from its card."),
            "card_low": Formula(LEVEL_INTERVAL),
            "card_high": Formula(LEVEL_INTERVAL),
            "ood/mean": Formula(f"{MEAN} ood/mean/top1, itself the mean over the suites.", "ood/mean/top1"),
            "ood_context_top1": Formula(f"{MEAN} ood/context_top1, the mean over suites.", "ood/context_top1"),
            "context_top1": Formula(f"{MEAN} test/context_top1 (macro over contexts).", "test/context_top1"),
            "context_chance": Formula("1 over the number of known contexts of the task."),
            "ood/*": Formula(f"{MEAN} top-1 on the suite.", "ood/*/top1"),
            **LEVEL_FORMULAS,
        },
    ),
    "differences": TableCard(
        "Paired differences",
        "In points, with the winners that the two sides were run with. “smallest visible” is the smallest true "
        "difference that would have shown in 80 % of repetitions.",
        lambda sources: difference_table(sources.evidence),
        ("contrast", "where", "task"),
        points=("effect", "low", "high"),
        shares=("smallest_visible",),
        headings={"first_hyperparameters": "first", "second_hyperparameters": "second"},
        formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
    ),
    "comparisons": TableCard(
        "Every method against plain fine-tuning",
        "Each trained method minus FT, and CAR-FT minus each other method: means over tasks, paired, in points. "
        "“flaws” says what is missing, or differs besides the method; such a difference decides nothing.",
        lambda sources: comparison_table(sources.evidence),
        ("contrast", "where"),
        points=("effect", "low", "high"),
        shares=("smallest_visible",),
        formulas={"effect": PAIRED, **INTERVAL_FORMULAS},
    ),
    "wise": TableCard(
        "WiSE-FT curves",
        "Means over seeds in %, from the pretrained (alpha 0) to the fine-tuned model (alpha 1).",
        lambda sources: curve_table(sources.evidence),
        ("task", "parent", "alpha"),
        shares=("*top1",),
        formulas={name: Formula(f"{MEAN} {name}.", name) for name in CURVE_METRICS},
        cells=cells_on_curve,
    ),
    "trials": TableCard(
        "Search trials",
        "Every finished trial of every search, with validation numbers only.",
        lambda sources: sources.trials,
        ("task", "method", "search", "trial"),
        shares=("val/top1",),
        hidden=(),
        formulas={name: Formula(f"The cell's {name}.", name) for name in ("val/top1", "val/loss")},
    ),
    "best_of_n": TableCard(
        "Best of n",
        "Expected validation top-1 in % of the best of n trials, mean over tasks.",
        lambda sources: best_of_n_table(sources.trials),
        ("method", "n"),
        shares=("expected_best",),
        formulas={
            "expected_best": Formula(
                "Mean over tasks of the expected maximum of val/top1 of n trials drawn without replacement: "
                "sum over ranks r of C(r, n - 1) x value(r) / C(trials, n)."
            )
        },
        cells=trials_of_method,
    ),
    "contexts": TableCard(
        "Context recognition",
        "Images whose context is recognised, per known context and set, all tasks and seeds together.",
        lambda sources: context_table(sources.evidence),
        ("method", "context", "set"),
        shares=("share",),
        formulas={"share": Formula("hits / images, summed over tasks and confirm seeds.")},
        cells=cells_of_method,
    ),
    "history": TableCard(
        "Training curves",
        "Means over tasks and confirm seeds per epoch.",
        lambda sources: history_table(sources.evidence),
        ("method", "epoch"),
        formulas={"*": Formula("Mean over the cells of the mean over the epoch's steps (history.parquet).")},
        cells=cells_in_history,
        on_page=False,
    ),
    "confirmed": TableCard(
        "Confirm cells",
        "Every confirm cell of trained methods with its hyperparameters and what it reaches, in %.",
        lambda sources: confirmed_table(sources.evidence),
        ("scope", "task", "method", "search", "seed"),
        shares=("*top1", "ood_mean"),
        formulas={
            "context_top1": Formula("Mean over the held-out sets of SET/context_top1 (macro over contexts)."),
            "val_top1": Formula("The cell's val/top1.", "val/top1"),
            "test_top1": Formula("The cell's test/top1.", "test/top1"),
            "ood_mean": Formula("The cell's ood/mean/top1.", "ood/mean/top1"),
            "*": COPIED,
        },
        on_page=False,
    ),
    "unsealings": TableCard(
        "Unsealed cells",
        "Cells whose test set or suites were opened, how often, and by which command.",
        lambda sources: sources.unsealings.table(),
        ("cell",),
        hidden=(),
        formulas={"*": COPIED},
        on_page=False,
    ),
    "cells": TableCard(
        "Cells",
        "Every cell with the command that makes it again.",
        lambda sources: cell_table(sources.evidence),
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
        cells=lambda sources, row: (),
    ),
    "nulls": TableCard(
        "Null checks",
        "What must hold before any comparison means something, run on the records of this folder.",
        lambda sources: null_table(sources.checks),
        ("check",),
    ),
    "uncertainty": TableCard(
        "Where the uncertainty comes from",
        "Standard errors by source, in points. Groups and seeds make the intervals; the draw of hyperparameters is "
        "estimated on validation and is in no interval; of several searches, it is in the term of seeds.",
        lambda sources: uncertainty_table(sources.evidence),
        ("scope", "contrast", "where", "task"),
        points=("effect",),
        shares=("se_*", "half_width*"),
    ),
    "paper_scale": TableCard(
        "What the paper's scale would need",
        "An extrapolation: how many replicates (searches where the records have several, else seeds) show the effect "
        "that others report, or 2 points, on the paper's sets, if trainings there vary as those of the miniature do. "
        "sd: standard deviation of CAR-FT minus FT over replicates, and over images, in points.",
        lambda sources: paper_scale_table(sources.evidence),
        ("claim", "set"),
        points=("effect", "margin"),
        shares=("sd_*", "visible_*", "power_*"),
        hidden=("scope", "scale"),
        headings={name: name.replace("_", " ") for name in ("sd_replicate", "sd_image")},
        cells=cells_of_both,
    ),
    "selection": TableCard(
        "Validation against oracle selection",
        "CAR-FT minus FT with winners chosen on validation and, where search cells were unsealed for it, on test. A "
        "number selected on test is an upper bound for both sides, never a result.",
        lambda sources: selection_table(sources.evidence),
        ("scope", "where", "selected_on"),
        points=("effect", "low", "high", "gap"),
    ),
    "one_trial": TableCard(
        "Had the baseline had fewer trials",
        "Validation top-1 of a method's winner minus FT's expected best of n trials, mean over tasks, in points.",
        lambda sources: one_trial_table(sources.trials),
        ("scope", "method", "ft_trials"),
        points=("gain", "inflation"),
        cells=trials_of_method,
    ),
    "readings": TableCard(
        "Readings",
        "CAR-FT minus FT under every reading of what the paper leaves open that was run.",
        lambda sources: specification_table(sources.evidence),
        ("scope", "reading", "where"),
        points=("effect", "low", "high"),
    ),
    "reading_shares": TableCard(
        "In how many readings each claim holds",
        "Contradicted is after Holm over readings; undecided is neither.",
        lambda sources: reading_share_table(sources.evidence),
        ("scope", "claim"),
        shares=("share",),
    ),
    "reading_factors": TableCard(
        "Which open choice moves the difference",
        "Share of the variance over readings of CAR-FT minus FT that a linear model of the choices loses without one "
        "of them; low and high hold 95 % of the shares when seeds and images are drawn again, by_chance 95 % of those "
        "when the readings are put in random order. Shares need not sum to 100 %.",
        lambda sources: factor_table(sources.evidence),
        ("scope", "where", "factor"),
        shares=("share", "low", "high", "by_chance"),
    ),
    "confusion": TableCard(
        "Context confusion",
        "Known against named contexts, summed over tasks and seeds.",
        lambda sources: confusion_table(sources.evidence),
        ("scope", "method", "where", "known", "named"),
        shares=("share",),
        cells=cells_of_method,
    ),
    "reliability": TableCard(
        "Calibration of p_ctx",
        "15 bins of equal width; ece is that of the method and place.",
        lambda sources: reliability_table(sources.evidence),
        ("scope", "method", "where", "bin"),
        shares=("confidence", "recognised", "ece"),
        cells=cells_of_method,
    ),
    "lost": TableCard(
        "Which contexts are lost first",
        "Recognition before and after, and the alpha of WiSE-FT's line at which half of the loss is there.",
        lambda sources: lost_table(sources.evidence),
        ("scope", "method", "context"),
        shares=("pretrained", "tuned"),
        points=("lost",),
        cells=cells_on_line,
    ),
    "disagreements": TableCard(
        "Images on which methods disagree",
        "Images that every seed of one method gets right and every seed of the other gets wrong, both ways; “images” "
        "are all of the set whose class or context is known.",
        lambda sources: disagreement_table(sources.evidence),
        ("scope", "task", "set", "question", "first", "second"),
    ),
    "gallery": TableCard(
        "Images of the gallery",
        "A choice of those images for the gallery: questions, directions, tasks and sets in turn.",
        lambda sources: gallery_table(sources.evidence),
        ("scope", "task", "set", "image"),
        on_page=False,
    ),
    "context_images": TableCard(
        "Images of the contexts",
        "One held-out image of each known context.",
        lambda sources: context_image_table(sources.evidence),
        ("context",),
        on_page=False,
    ),
    "kl": TableCard(
        "The divergence over training",
        "Means over confirm cells, in nats; progress 0 is the first step.",
        lambda sources: kl_table(sources.evidence),
        ("scope", "method", "progress"),
        cells=cells_in_history,
    ),
    "robustness": TableCard(
        "Robustness",
        "Effective robustness (distance from the baseline line), worst shift, worst class, calibration error "
        "(15 bins of equal width), in %; n as stated.",
        lambda sources: robustness_table(sources.evidence),
        ("scope", "task", "method"),
        shares=("id", "ood", "expected_ood", "worst_shift", "worst_class", "worst_class_ood", "ece_*"),
        points=("effective",),
    ),
    "baseline": TableCard(
        "The baseline of effective robustness",
        "Untrained models, and the line through them on logit axes.",
        lambda sources: baseline_table(sources.evidence),
        ("scope", "task", "model", "pretrained"),
        shares=("id", "ood"),
        hidden=("cell",),
    ),
    "problems": TableCard(
        "What could not be used",
        "Torn, failed, missing, of other numerics or data, or not the largest study of its question.",
        lambda sources: problem_table(sources.evidence),
        ("what", "where"),
    ),
}
