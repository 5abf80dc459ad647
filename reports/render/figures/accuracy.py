"""Figures of accuracies: levels, paired differences, ID against OOD, readings, equal settings."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from reports.judge.claims.readings import DEFAULTS
from reports.judge.entry import Entry
from reports.judge.equal_settings import MEASURES
from reports.render.figures.figure import report_figure
from reports.render.figures.style import Methods, Tables, colour, look, shown

#: place of the table of levels -> title of its panel
PANELS = {"contexts": "context recognition", "ID test": "in distribution", "mean OOD": "out of distribution"}
#: points that a panel is wide at least, so that a small difference does not look like a large one
NARROWEST = 10.0
#: characters of a line of a task's name
LINE = 28
#: interpolations that are drawn; those of other methods are in the tables only
DRAWN_INTERPOLATIONS = ("wise_ft(ft)", "wise_ft(car_ft)")
#: the contrast of the figures of differences
CONTRAST = "CAR-FT - FT"
#: what is drawn of each contrast, where it has two KL weights or more at one learning rate
CONTRASTS = ("CAR-FT - FT", "CAR-FT, random - FT", "CAR-FT - CAR-FT, random")
#: points up to which its axes are linear, and their ticks
LINEAR_POINTS, POINT_TICKS = 3.0, (-100, -30, -10, -3, 0, 3, 10, 30, 100)
#: (colour, marker) of the learning rates, from the smallest; repeated where there are more
LR_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#B0568A", "D"), ("#595959", "v"))


def _answer_on_a_phone(tables: Tables) -> Figure:
    """The levels with one panel below another."""
    return _levels(tables, stacked=True)


@report_figure(
    title="What came out",
    caption="Means over tasks with 95 % intervals (seeds, test images and, where there are several, searches). Both "
    "panels of accuracy have one scale of points, context recognition has its own. Two intervals that overlap do not "
    "show that the methods are equal: the paired difference below a panel is narrower.",
    section="opening",
    topic="levels",
    needs=("levels",),
    draw_narrow=_answer_on_a_phone,
)
def answer(tables: Tables) -> Figure | None:
    """Zero-shot, FT, CAR-FT, its control and WiSE-FT as dots with intervals: context recognition, ID and OOD."""
    return _levels(tables, stacked=False)


def _levels(tables: Tables, stacked: bool) -> Figure:
    """A panel for each place of the table of levels. stacked: one below another, else side by side."""
    table = tables["levels"]
    methods = list(dict.fromkeys(table["method"]))[::-1]
    looks, labels = [], []
    for method in methods:
        looks.append(look(replace(Entry.parse(method), alpha=None).label))
        labels.append(looks[-1]["label"])
    places = shown(PANELS, table["place"])
    percent = table[["value", "low", "high"]].mul(100).groupby(table["place"])
    least, most = percent.min().min(axis=1), percent.max().max(axis=1)
    spans = most - least
    is_accuracy = spans.index != "contexts"
    spans[is_accuracy] = spans[is_accuracy].max()
    rows, columns, size = 1, len(places), (5.4, 0.55 + 0.4 * len(methods))
    if stacked:
        rows, columns, size = len(places), 1, (3.7, len(places) * (0.65 + 0.33 * len(methods)))
    figure, axes = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False)
    for axis, place in zip(axes.flat, places, strict=True):
        part = table[table["place"] == place]
        numbers = 100 * part[["value", "low", "high"]].to_numpy(float)
        for method, (value, low, high) in zip(part["method"], numbers, strict=True):
            height = methods.index(method)
            axis.hlines(height, low, high, color=looks[height]["color"], lw=2)
            axis.plot(value, height, ls="", ms=7, **looks[height])
            beside = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 8}
            axis.annotate(f"{value:.1f}", (value, height), **beside)
        chance = 100 * part["chance"].iloc[0]
        below = [_paired(tables, place)]
        if not np.isnan(chance):
            axis.axvline(chance, color="#595959", lw=0.8, ls=":")
            below.append(f"chance {chance:.1f}")
        axis.set_xlabel("\n".join(filter(None, below)), fontsize=8)
        middle, width = (least[place] + most[place]) / 2, max(NARROWEST, 1.4 * spans[place])
        axis.set(xlim=(middle - width / 2, middle + width / 2), ylim=(-0.6, len(methods) - 0.3))
        axis.set_title(PANELS[place], fontsize=9)
        axis.set_yticks(range(len(methods)), labels)
    figure.supxlabel("% (top-1, or share of contexts recognised)", fontsize=8)
    return figure


def _paired(tables: Tables, place: str) -> str:
    """CAR-FT minus FT in points with its interval, as the sentences beside the figure tell it; empty without any."""
    rows = tables.get("comparisons", pd.DataFrame(columns=["contrast", "where"]))
    rows = rows[(rows["contrast"] == CONTRAST) & (rows["where"] == place)]
    if rows.empty:
        return ""
    effect, low, high = 100 * rows[["effect", "low", "high"]].iloc[0]
    return f"CAR-FT minus FT:\n{effect:+.1f} ({low:+.1f} to {high:+.1f})"


@report_figure(
    title="CAR-FT against FT, task by task",
    caption="Each triangle is CAR-FT minus FT on one task, paired by seed and image, with its 95 % interval (seeds "
    "and drawings vary, and searches where there are several). An interval that crosses zero decides nothing; the "
    "intervals are not corrected for their number. The figure cannot show whether other hyperparameters would have "
    "changed the order.",
    section="accuracy",
    topic="differences",
    needs=("differences",),
)
def differences(tables: Tables) -> Figure | None:
    table = tables["differences"].query("contrast == @CONTRAST")
    if table.empty:
        return None
    tasks = sorted(table["task"].unique(), reverse=True)
    names, longest = [], 0
    for task in tasks:
        names.append(fill(_short(task), LINE))
        longest = max(longest, len(_short(task)))
    gap = "\n" if longest > LINE / 2 else " "
    panels = shown(("ID test", "mean OOD"), table["where"])
    if not panels:
        return None
    size = (7.4, 0.33 * len(tasks) + 1.3)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, where in zip(axes.flat, panels, strict=True):
        part = table[table["where"] == where].set_index("task").reindex(tasks)
        effect, low, high = 100 * part[["effect", "low", "high"]].to_numpy(float).T
        rows = np.arange(len(tasks))
        axis.hlines(rows, low, high, color=colour("car_ft"), lw=1.6)
        axis.plot(effect, rows, ls="", **look("car_ft"))
        axis.axvline(0, color="black", lw=0.8)
        axis.set_xlabel(f"CAR-FT minus FT,{gap}{where} (points)")
        axis.set_yticks(rows, names)
    return figure


def _short(task: str) -> str:
    """The name of a task without its family."""
    return task.split("/")[-1]


@report_figure(
    title="In distribution against out of distribution",
    caption="Every point is the mean over confirm seeds; up and right is better. The lines are WiSE-FT's curves from "
    "the pretrained (alpha 0) to the fine-tuned model (alpha 1). Points that differ by less than the intervals of "
    "the tables are not different. A method that is named with its seeds has fewer than others, from fewer searches: "
    "compare it in the tables. Axes differ from panel to panel.",
    section="accuracy",
    topic="in and out of distribution",
    needs=("tasks",),
)
def id_ood(tables: Tables) -> Figure | None:
    table, curves = tables["tasks"], tables["wise"]
    if table["ood/mean"].isna().all() or table["test_top1"].isna().all():
        return None
    tasks = sorted(table["task"].unique())
    columns = min(5, len(tasks) + 1)
    rows = -(-(len(tasks) + 1) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.0 * columns + 0.4, 2.0 * rows + 0.6), squeeze=False)
    panels = ["mean of tasks", *tasks]
    for axis, panel in zip(axes.flat, panels, strict=False):
        here, curve = table, curves
        if panel != "mean of tasks":
            here, curve = table[table["task"] == panel], curves[curves["task"] == panel]
        _id_ood_panel(axis, here, curve, tables.methods)
        axis.set_title(fill(_short(panel), LINE), fontsize=8)
        axis.tick_params(labelsize=7)
    for axis in list(axes.flat)[len(panels) :]:
        axis.axis("off")
    figure.supxlabel("top-1 on the ID test set (%)", fontsize=9)
    figure.supylabel("mean top-1 over the suites (%)", fontsize=9)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, fontsize=8)
    return figure


def _id_ood_panel(axis: plt.Axes, table: pd.DataFrame, curve: pd.DataFrame, methods: Methods) -> None:
    for parent, part in curve.groupby("parent"):
        line = 100 * part.groupby("alpha")[["test/top1", "ood/mean/top1"]].mean()
        axis.plot(*line.to_numpy().T, "-", color=colour(str(parent), methods), lw=1, alpha=0.6)
    for method, rows in table.groupby("method", sort=False):
        if "(" in str(method) and method not in DRAWN_INTERPOLATIONS:
            continue
        style, seeds = look(str(method), methods), rows["n_seeds"].max()
        if 1 < seeds < table["n_seeds"].max():
            style["label"] += f", {seeds} seeds"
        axis.plot(100 * rows["test_top1"].mean(), 100 * rows["ood/mean"].mean(), ls="", ms=5, **style)


@report_figure(
    title="Specification curve: every reading of what the paper leaves open",
    caption="Each column is one reading. Above: CAR-FT minus FT with its 95 % interval, out of distribution "
    "(triangles), and the ID effect of the same reading (bars). Below: what was chosen; a black dot marks the value. "
    "Intervals are not corrected for the number of readings. The figure cannot show readings that were not run; "
    "sorting by effect makes any noise look like a trend.",
    section="accuracy",
    topic="readings",
    needs=("readings",),
)
def readings(tables: Tables) -> Figure | None:
    """Effects on the mean of the suites, sorted, with the ID effect of each reading; below, the choices as dots."""
    table = tables["readings"]
    where = "mean OOD" if (table["where"] == "mean OOD").any() else "ID test"
    curve = table[table["where"] == where].sort_values("effect", kind="stable").reset_index(drop=True)
    choices = _choices(curve)
    size, ratios = (7.4, 2.8 + 0.19 * len(choices)), [2.4, max(1.0, 0.19 * len(choices))]
    figure, (above, below) = plt.subplots(2, 1, figsize=size, sharex=True, height_ratios=ratios)
    rows, default = np.arange(len(curve)), curve["reading"] == "default"
    above.vlines(rows, 100 * curve["low"], 100 * curve["high"], color=colour("car_ft"), lw=1.2, alpha=0.7)
    above.plot(rows, 100 * curve["effect"], ls="", ms=5, **look("car_ft") | {"label": where})
    if default.any():
        ring = {"ms": 11, "mfc": "none", "mec": "black", "label": "default reading"}
        above.plot(rows[default], 100 * curve["effect"][default], "o", **ring)
    if where != "ID test":
        on_test = table[table["where"] == "ID test"].set_index("reading")["effect"].reindex(curve["reading"])
        above.plot(rows, 100 * on_test.to_numpy(), "_", color=colour("ft"), ms=8, mew=2, label="ID test")
    above.axhline(0, color="black", lw=0.8)
    above.set_ylabel("CAR-FT minus FT (points)")
    figure.legend(*above.get_legend_handles_labels(), ncols=3, fontsize=8, loc="outside upper center")
    names = []
    for place, (factor, value) in enumerate(choices):
        names.append(f"{factor.replace('_', ' ')}: {value}")
        chosen = (curve[factor] == value).to_numpy()
        below.plot(rows[chosen], np.full(chosen.sum(), place), "o", color="black", ms=3.5)
        below.plot(rows[~chosen], np.full((~chosen).sum(), place), ".", color="#cccccc", ms=2)
    below.set_yticks(range(len(choices)), names, fontsize=7)
    below.invert_yaxis()
    below.set_xticks([])
    below.set_xlabel(f"{len(curve)} readings, sorted by their effect")
    below.grid(False)
    return figure


def _choices(curve: pd.DataFrame) -> list[tuple[str, Any]]:
    """(factor, value) of every choice that some readings make and others do not; numbers before texts."""
    choices: list[tuple[str, Any]] = []
    for factor in curve.columns:
        if factor in DEFAULTS and curve[factor].nunique(dropna=False) > 1:
            values = sorted(curve[factor].dropna().unique(), key=lambda value: (isinstance(value, str), value))
            choices += product([factor], values)
    return choices


@report_figure(
    title="All else equal: differences against the KL weight",
    caption="Pairs of cells that differ in the method alone, a line for each learning rate. Bands are 95 % t "
    "intervals over tasks (of one task, over its searches or seeds), corrected by Bonferroni for all points of a "
    f"panel together. Axes are linear up to {LINEAR_POINTS:g} points, and logarithmic beyond. The settings were given "
    "and not tuned: this is about mechanism and decides no claim.",
    section="accuracy",
    topic="equal settings",
    needs=("equal_settings",),
)
def equal_settings(tables: Tables) -> Figure | None:
    lines = _drawn_lines(tables["equal_settings"])
    contrasts = shown(CONTRASTS, lines["contrast"])
    if not contrasts:
        return None
    size = (7.4, 0.6 + 2.2 * len(contrasts))
    figure, axes = plt.subplots(len(contrasts), len(MEASURES), figsize=size, sharex=True, squeeze=False)
    styles = dict(zip(sorted(lines["lr"].unique()), LR_STYLES * len(lines), strict=False))
    for name, row in zip(contrasts, axes, strict=True):
        for where, axis in zip(MEASURES, row, strict=True):
            panel = lines[(lines["contrast"] == name) & (lines["where"] == where)].sort_values("kl_weight")
            _equal_settings_panel(axis, panel, styles)
            if name == contrasts[0]:
                axis.set_title(where, fontsize=9)
            if name == contrasts[-1]:
                axis.set_xlabel("KL weight")
        row[0].set_ylabel(f"{name}\n(points)".replace(" - CAR-FT,", "\n- CAR-FT,"))
    axes[0, 0].legend(title="learning rate", fontsize=7, title_fontsize=7)
    return figure


def _equal_settings_panel(axis: plt.Axes, panel: pd.DataFrame, styles: Mapping[Any, tuple[str, str]]) -> None:
    """A line with a band for each learning rate. styles: learning rate -> (colour, marker)."""
    for lr, part in panel.groupby("lr"):
        color, mark = styles[lr]
        low, effect, high = 100 * part[["band_low", "effect", "band_high"]].clip(-1, 1).to_numpy().T
        axis.fill_between(part["kl_weight"], low, high, color=color, alpha=0.15, lw=0)
        axis.plot(part["kl_weight"], effect, color=color, marker=mark, ms=4, label=f"{lr:.2g}")
    axis.axhline(0, color="black", lw=0.8)
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=LINEAR_POINTS, linscale=1.5)
    bottom, top = axis.get_ylim()
    ticks = {}
    for tick in POINT_TICKS:
        if bottom <= tick <= top:
            ticks[tick] = f"{tick:+d}" if tick else "0"
    axis.set_yticks(list(ticks), list(ticks.values()))
    axis.yaxis.set_minor_locator(NullLocator())


def _drawn_lines(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of learning rates that have two KL weights or more, under the usual recipe."""
    rows = table[table["contrast"].isin(CONTRASTS) & (table["recipe"] == "")]
    weights = rows.groupby(["contrast", "where", "lr"])["kl_weight"].transform("nunique")
    return rows[weights > 1]
