"""Figures of the search and of training."""

from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from carft.config.registry import hyperparameter_words
from reports.render.figures.figure import report_figure
from reports.render.figures.style import Methods, Tables, look, outside_legend

#: marks above which they are rasterized
CROWDED = 500
#: points below the best trial of a task that its axis reaches down to
REACH = 20.0


@report_figure(
    title="What the search saw",
    caption="A row for each task: on the left the best validation top-1 so far by trial, a line for each search; then "
    "every trial against each hyperparameter that was searched. A ring marks a winner, a cross a trial that was "
    f"pruned, at the accuracy of its last epoch. Trials more than {REACH:g} points below the best of their task lie on "
    "the lower edge. Differences of a few points are within what a validation set of this "
    "size can resolve. With few trials the figure shows where was looked, not where the optimum is.",
    section="tuning",
    topic="search",
    needs=("trials",),
)
def search(tables: Tables) -> Figure | None:
    """History of the searches and slices along their hyperparameters, a row of panels for each task."""
    trials = tables["trials"]
    searched = _searched(trials, tables.methods)
    if not searched:
        return None
    stopped = tables.get("pruned", pd.DataFrame()).reindex(columns=trials.columns)
    tasks = sorted(trials["task"].unique())
    size = (max(7.4, 1.7 * (1 + len(searched))), 0.7 + 1.35 * len(tasks))
    figure, axes = plt.subplots(len(tasks), 1 + len(searched), figsize=size, sharex="col", sharey="row", squeeze=False)
    for task, row in zip(tasks, axes, strict=True):
        of_task, stopped_here = trials[trials["task"] == task], stopped[stopped["task"] == task]
        lowest = of_task["val/top1"].max() - REACH / 100
        for method, part in _clipped(of_task, lowest).groupby("method", sort=False):
            style = look(str(method), tables.methods)
            here = _clipped(stopped_here[stopped_here["method"] == method], lowest)
            _history(row[0], part, here, style)
            for name, axis in zip(searched, row[1:], strict=True):
                _slice(axis, name, part, here, style)
        row[0].set_ylabel(fill(task.split("/")[-1], 16), fontsize=8)
    for name, axis in zip(["trial", *searched], axes[-1], strict=True):
        axis.set_xlabel(hyperparameter_words(name))
    figure.supylabel("validation top-1 (%)", fontsize=9)
    outside_legend(figure, *axes.flat)
    return figure


def _clipped(trials: pd.DataFrame, lowest: float) -> pd.DataFrame:
    """Trials whose accuracy is the lowest that is drawn where it is below."""
    return trials.assign(**{"val/top1": trials["val/top1"].astype(float).clip(lower=lowest)})


def _searched(trials: pd.DataFrame, methods: Methods) -> list[str]:
    """The hyperparameters that some method searched, each once, in the order of the methods."""
    names: dict[str, None] = {}
    for method in trials["method"].unique():
        if method in methods:
            names |= dict.fromkeys(methods[method].space)
    return [name for name in names if name in trials and trials[name].notna().any()]


def _history(axis: plt.Axes, trials: pd.DataFrame, pruned: pd.DataFrame, style: dict[str, Any]) -> None:
    """The best validation accuracy so far by trial, a line for each search."""
    for _, of_search in trials.groupby("search"):
        ordered = of_search.sort_values("trial")
        axis.step(ordered["trial"] + 1, 100 * ordered["val/top1"].cummax(), where="post", color=style["color"], lw=1)
    axis.plot(pruned["trial"] + 1, 100 * pruned["val/top1"], "x", color=style["color"], ms=4)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _slice(axis: plt.Axes, name: str, trials: pd.DataFrame, pruned: pd.DataFrame, style: dict[str, Any]) -> None:
    """The validation accuracy of every trial against one hyperparameter."""
    axis.set_xscale("log")
    if trials[name].isna().all():
        return
    is_crowded = len(trials) > CROWDED
    axis.plot(trials[name], 100 * trials["val/top1"], ls="", ms=3.5, alpha=0.6, rasterized=is_crowded, **style)
    won = trials[trials["won"].astype(bool)]
    axis.plot(won[name], 100 * won["val/top1"], "o", ms=7, mfc="none", mec=style["color"], mew=1)
    axis.plot(pruned[name], 100 * pruned["val/top1"], "x", color=style["color"], ms=4)


@report_figure(
    title="Training curves of the confirm cells",
    caption="Means over tasks and seeds per epoch. The training loss of CAR-FT includes its KL term, so the two "
    "losses are not on one scale. Validation curves were not used to stop early.",
    section="tuning",
    topic="training",
    needs=("history",),
)
def training(tables: Tables) -> Figure | None:
    table = tables["history"]
    wanted = (
        ("train/loss", "training loss", 1),
        ("val/top1", "validation top-1 (%)", 100),
        ("val/context_top1", "validation context\nrecognition (%)", 100),
    )
    figure, axes = plt.subplots(1, 3, figsize=(7.4, 2.9))
    for axis, (column, title, factor) in zip(axes, wanted, strict=True):
        if column in table:
            for name, part in table.groupby("method"):
                axis.plot(part["epoch"] + 1, factor * part[column], ms=4, **look(str(name), tables.methods))
        axis.set(xlabel="epoch", ylabel=title)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[2].axhline(100 * table["context_chance"].mean(), color="#595959", lw=0.8, ls=":", label="chance")
    axes[2].legend(handles=axes[2].lines[-1:])
    outside_legend(figure, axes[0])
    return figure
