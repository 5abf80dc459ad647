"""Accuracies: levels, task by task, along the curves of WiSE-FT, cell by cell; and recognition of contexts."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd

from carft.core.metrics import Outcomes
from reports.judge.accuracies import measured
from reports.judge.entry import Entry
from reports.judge.evidence import FIXED, VALIDATION
from reports.judge.findings import ScopeFindings
from reports.judge.levels import chance_of_contexts
from reports.render.tables.table import (
    LEVEL_INTERVAL,
    Column,
    TableRow,
    means_of,
    numbers_of,
    scope_table,
    share,
)

CHANCE = "1 over the number of known contexts of the task."


@scope_table(
    "What each method reaches",
    "Means in % over the tasks that zero-shot, FT and CAR-FT all have, with 95 % intervals; also CAR-FT with random "
    "vectors and WiSE-FT of FT at a fixed alpha where these tasks have them. Whether two methods differ, only the "
    "paired differences tell.",
    ["scope", "place", "method"],
    columns={
        "value": share(
            formula="Unweighted mean over tasks of the mean over confirm seeds of the metric: context recognition "
            "(macro over contexts, mean over the ID test set and all suites), top-1 on the ID test set, or mean top-1 "
            "over the suites."
        ),
        "low": share(formula=LEVEL_INTERVAL),
        "high": share(formula=LEVEL_INTERVAL),
        "chance": share(formula="Mean over tasks of 1 over the number of known contexts; empty for accuracy."),
    },
)
def levels(found: ScopeFindings) -> Iterator[TableRow]:
    """One row per scope, place and method: the mean over the tasks that all compared methods with a level have.

    value, low, high and chance are shares of 1; low and high are NaN with one seed, and within [0, 1] otherwise.
    chance: what guessing would reach of contexts; NaN for accuracies.
    """
    for one in found.levels:
        low, high = one.mean.level_interval()
        yield {
            "place": one.place,
            "method": one.entry.label,
            "value": one.mean.effect,
            "low": low,
            "high": high,
            "n_tasks": len(one.tasks),
            **numbers_of(one.mean, "n_seeds", "n_groups"),
            "cells": " ".join(one.cells),
            "chance": one.chance,
        }


#: columns of the table of tasks that are means over cells; ``of_set`` is that of a suite or their mean
of_set = share(metric="{}/top1")
MEANS = {
    "val_top1": share(metric="val/top1", on_page=False),
    "context_top1": share("context ID", metric="test/context_top1"),
    "ood_context_top1": share("context OOD", metric="ood/context_top1"),
}


@scope_table(
    "Task by task",
    "Top-1 in %, means over confirm seeds, with a 95 % interval for the ID test alone. WiSE-FT's alpha was chosen on "
    "validation. Where a task's usual metric is mean per class, it stands beside top-1, with its interval.",
    ["task", "method"],
    columns={
        "scale": Column(on_page=False),
        "test_top1": share(
            "ID test",
            "Mean over the cells of test/top1 (share of images whose largest logit is the label's).",
            "test/top1",
        ),
        "low": share(formula=LEVEL_INTERVAL),
        "high": share(formula=LEVEL_INTERVAL),
        "ood/mean": share("mean OOD", metric="{}/top1"),
        "ood/*": of_set,
        **MEANS,
        "card_metric": Column(heading="usual metric", formula="The field's usual metric of the task, from its card."),
        "test_card_metric": share(
            "ID test in it", "Mean over the cells of test/top1 or test/mean_per_class, as the task's card says."
        ),
        "card_low": share("its low", LEVEL_INTERVAL),
        "card_high": share("its high", LEVEL_INTERVAL),
        "context_chance": share("context by chance", CHANCE),
    },
)
def tasks(found: ScopeFindings) -> Iterator[TableRow]:
    """One row per task and entry: n, test_top1 with its interval, every suite, mean OOD and context recognition.

    Values are shares of 1, means over confirm seeds; low and high bound test_top1 at 95 %. test_card_metric is the
    accuracy in the metric that the task's card names (card_metric), with its interval.
    """
    view = found.view
    for one in found.accuracies:
        is_untrained = view.methods[one.entry.method].kind == "untrained"
        low, high = one.top1.level_interval()
        card_low, card_high = one.of_card.level_interval()
        of_sets = dict.fromkeys((*view.suites(one.task), "ood/mean"), of_set)
        yield {
            "task": one.task,
            "method": one.entry.label,
            "selected_on": FIXED if is_untrained else VALIDATION,
            **numbers_of(one.top1, "n_seeds", "n_groups"),
            "test_top1": one.top1.effect,
            "low": low,
            "high": high,
            **means_of(view, one.cells, {**of_sets, **MEANS}),
            "cells": " ".join(one.cells),
            "card_metric": view.card(one.task).metric,
            "test_card_metric": one.of_card.effect,
            "card_low": card_low,
            "card_high": card_high,
            "context_chance": chance_of_contexts(view, [one.task]),
        }


CURVE_METRICS = ("val/top1", "test/top1", "ood/mean/top1", "test/context_top1", "ood/context_top1")
CURVES = dict.fromkeys(CURVE_METRICS, share(metric="{}"))


@scope_table(
    "WiSE-FT curves",
    "Means over seeds in %, from the pretrained (alpha 0) to the fine-tuned model (alpha 1).",
    ["task", "parent", "alpha"],
    columns={**CURVES, "context_chance": share(formula=CHANCE)},
)
def wise(found: ScopeFindings) -> Iterator[TableRow]:
    """WiSE-FT curves: per task, parent and alpha, the means over seeds of val, ID and OOD top-1."""
    view = found.view
    for task, parent, alpha in product(view.tasks, view.trained_methods, view.folder.alphas):
        cells = view.cells(task, Entry("wise_ft", parent, alpha))
        if cells:
            yield {
                "task": task,
                "parent": parent,
                "alpha": alpha,
                "n_seeds": len(cells),
                **means_of(view, cells, CURVES),
                "context_chance": chance_of_contexts(view, [task]),
                "cells": " ".join(cells),
            }


@scope_table(
    "Confirm cells",
    "Those of trained methods, with hyperparameters and what they reach, in %.",
    ["scope", "task", "method", "search", "seed"],
    columns={
        "val_top1": share(metric="val/top1"),
        "test_top1": share(metric="test/top1"),
        "ood_mean": share(metric="ood/mean/top1"),
        "context_top1": share(formula="Mean over the held-out sets of SET/context_top1 (macro over contexts)."),
        "context_chance": share(formula=CHANCE),
    },
    on_page=False,
)
def confirmed(found: ScopeFindings) -> Iterator[TableRow]:
    """Hyperparameters and shares of 1 of every finished confirm cell.

    context_top1: context recognition, the mean over all held-out sets, each a mean over its contexts.
    """
    view = found.view
    for study, cell in view.confirm_cells():
        if not view.folder.evaluated(cell):
            continue
        record, metrics = view.records[cell], view.metrics(cell)
        recognised = [metrics.get(f"{name}/context_top1", math.nan) for name in view.set_names(study.task)]
        yield {
            "task": study.task,
            "method": study.method,
            "search": study.search,
            "seed": record.cell.seed,
            "val_top1": record.metrics["val/top1"],
            "test_top1": metrics.get("test/top1"),
            "ood_mean": metrics.get("ood/mean/top1"),
            "context_top1": pd.Series(recognised, dtype=float).mean(),
            "context_chance": chance_of_contexts(view, [study.task]),
            "selected_on": VALIDATION,
            "cell": cell,
            **record.cell.hyperparameters,
        }


@scope_table(
    "Context confusion",
    "Known against named contexts, summed over tasks and seeds.",
    ["scope", "method", "where", "known", "named"],
    columns={"share": share(), "chance": share()},
    unwritten=("cells",),
)
def confusion(found: ScopeFindings) -> Iterator[TableRow]:
    """Known against named context per entry, ID and OOD apart: images, and their share of the known context.

    Summed over tasks and seeds; a row of the confusion matrix sums to 1 over ``named``. Interpolations are left out.
    chance: what guessing would recognise of the contexts of the scope, a share of 1.
    """
    view = found.view
    counts, whole = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    used = defaultdict[str, list[str]](list)
    for task, entry, cells in measured(view):
        contexts = view.card(task).contexts
        if entry.parent is not None or not contexts:
            continue
        used[entry.label] += cells
        for cell, name in product(cells, view.set_names(task)):
            where = "ID" if name == "test" else "OOD"
            for code, named_code, images in _confused(view.outcome(cell, name), len(contexts)):
                row = (entry.label, where, contexts[code])
                counts[*row, contexts[named_code]] += images
                whole[row] += images
    chance = chance_of_contexts(view, [task for task in view.tasks if view.card(task).contexts]) if counts else math.nan
    for (method, where, known, named), images in counts.items():
        numbers = {"images": images, "share": images / whole[method, where, known], "chance": chance}
        named_row = {"method": method, "where": where, "known": known, "named": named}
        yield {**named_row, **numbers, "cells": " ".join(used[method])}


def _confused(outcome: Outcomes, contexts: int) -> Iterator[tuple[int, int, int]]:
    """Yield each known context, a context that was named for it, and the number of such images."""
    codes = np.stack([outcome.contexts, outcome.predicted_contexts]).astype(np.int64)
    known, named = codes[:, ((codes >= 0) & (codes < contexts)).all(axis=0)]
    pairs, images = np.unique(known * contexts + named, return_counts=True)
    yield from zip((pairs // contexts).tolist(), (pairs % contexts).tolist(), images.tolist(), strict=True)
