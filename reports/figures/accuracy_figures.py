"""Figures of accuracies: paired differences, ID against OOD, readings, robustness, uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.figures.style import Tables, colour, drawn_entries, label, marker

NOT_FACTORS = {
    "scope", "scale", "reading", "where", "effect", "low", "high", "n_tasks", "n_seeds", "n_groups", "selected_on",
    "C3", "C4", "C5", "cells",
}  # fmt: skip


#: place of the table of levels -> title of its panel
PANELS = {"contexts": "context recognition", "ID test": "in distribution", "mean OOD": "out of distribution"}
#: points that a panel is wide at least, so that a small difference does not look like a large one
NARROWEST = 10.0
#: characters of a line of a task's name
LINE = 28


def levels(tables: Tables) -> Figure | None:
    """Zero-shot, FT and CAR-FT as dots with intervals: context recognition, ID and OOD, all on one scale."""
    table = tables["levels"]
    panels = [place for place in PANELS if (table["place"] == place).any()]
    if not panels:
        return None
    methods = list(dict.fromkeys(table["method"]))[::-1]
    bounds = {
        place: 100 * table.loc[table["place"] == place, ["value", "low", "high"]].to_numpy(float) for place in panels
    }
    ends = {place: (float(np.nanmin(found)), float(np.nanmax(found))) for place, found in bounds.items()}
    width = max(NARROWEST, 1.3 * max(high - low for low, high in ends.values()))
    figure, axes = plt.subplots(1, len(panels), figsize=(5.4, 1.75), sharey=True, squeeze=False, layout="constrained")
    for axis, place in zip(axes.flat, panels, strict=True):
        _level_panel(axis, table[table["place"] == place], methods)
        middle = sum(ends[place]) / 2
        chance = 100 * table.loc[table["place"] == place, "chance"].iloc[0]
        if not np.isnan(chance):
            axis.axvline(chance, color="#595959", lw=0.8, ls=":")
            axis.set_xlabel(f"chance {chance:.1f}", fontsize=8)
        axis.set(title=PANELS[place], xlim=(middle - width / 2, middle + width / 2), ylim=(-0.6, len(methods) - 0.3))
        axis.set_yticks(range(len(methods)), [label(method) for method in methods])
    figure.supxlabel("% (top-1, or share of contexts recognised)", fontsize=8)
    return figure


def _level_panel(axis: plt.Axes, part: pd.DataFrame, methods: Sequence[str]) -> None:
    for method, numbers in zip(part["method"], part[["value", "low", "high"]].to_numpy(float), strict=True):
        (value, low, high), height = 100 * numbers, methods.index(method)
        axis.hlines(height, low, high, color=colour(method), lw=2)
        axis.plot(value, height, marker(method), color=colour(method), ms=7)
        axis.annotate(f"{value:.1f}", (value, height), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    axis.title.set_fontsize(9)


def differences(tables: Tables) -> Figure | None:
    table = tables["differences"]
    table = table[table["contrast"] == "CAR-FT - FT"]
    if table.empty:
        return None
    tasks = sorted(table["task"].unique(), reverse=True)
    gap = "\n" if max(len(t.split("/")[-1]) for t in tasks) > LINE / 2 else " "
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 0.33 * len(tasks) + 1.3), sharey=True, layout="constrained")
    for axis, where in zip(axes, ("ID test", "mean OOD"), strict=True):
        part = table[table["where"] == where].set_index("task").reindex(tasks)
        effect, low, high = (100 * part[k].to_numpy() for k in ("effect", "low", "high"))
        rows = np.arange(len(tasks))
        axis.hlines(rows, low, high, color=colour("car_ft"), lw=1.6)
        axis.plot(effect, rows, marker("car_ft"), color=colour("car_ft"))
        axis.axvline(0, color="black", lw=0.8)
        axis.set_xlabel(f"CAR-FT minus FT,{gap}{where} (points)")
        axis.set_yticks(rows, [fill(t.split("/")[-1], LINE) for t in tasks])
    return figure


def id_ood(tables: Tables) -> Figure | None:
    table, curves = tables["tasks"], tables["wise"]
    if table["ood/mean"].isna().all() or table["test_top1"].isna().all():
        return None
    tasks = sorted(table["task"].unique())
    columns = min(5, len(tasks) + 1)
    rows = -(-(len(tasks) + 1) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.0 * columns + 0.4, 2.0 * rows + 0.6), squeeze=False, layout="constrained"
    )
    panels = ["mean of tasks", *tasks]
    for axis, panel in zip(axes.flat, panels, strict=False):
        here = table if panel == "mean of tasks" else table[table["task"] == panel]
        curve = curves if panel == "mean of tasks" or curves.empty else curves[curves["task"] == panel]
        _id_ood_panel(axis, here, curve)
        axis.set_title(fill(panel.split("/")[-1], LINE), fontsize=8)
        axis.tick_params(labelsize=7)
    for axis in list(axes.flat)[len(panels) :]:
        axis.axis("off")
    figure.supxlabel("top-1 on the ID test set (%)", fontsize=9)
    figure.supylabel("mean top-1 over the suites (%)", fontsize=9)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, fontsize=8)
    return figure


def _id_ood_panel(axis: plt.Axes, table: pd.DataFrame, curve: pd.DataFrame) -> None:
    if not curve.empty:
        for parent, part in curve.groupby("parent"):
            line = part.groupby("alpha")[["test/top1", "ood/mean/top1"]].mean()
            axis.plot(
                100 * line["test/top1"], 100 * line["ood/mean/top1"], "-", color=colour(str(parent)), lw=1, alpha=0.6
            )
    for method in drawn_entries(table["method"]):
        row = table[table["method"] == method]
        if len(row):
            point = 100 * row["test_top1"].mean(), 100 * row["ood/mean"].mean()
            axis.plot(*point, marker(method), color=colour(method), ms=5, label=label(method))


def specification(tables: Tables) -> Figure:
    """Effects on the mean of the suites, sorted, with the ID effect of the same reading; below, the choices as dots."""
    table = tables["readings"]
    where = "mean OOD" if (table["where"] == "mean OOD").any() else "ID test"
    curve = table[table["where"] == where].sort_values("effect", kind="stable").reset_index(drop=True)
    choices = [
        (factor, value)
        for factor in [c for c in curve.columns if c not in NOT_FACTORS and curve[c].nunique(dropna=False) > 1]
        for value in sorted(curve[factor].dropna().unique(), key=_by_kind)
    ]
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(7.4, 2.8 + 0.19 * len(choices)), sharex=True, layout="constrained",
        height_ratios=[2.4, max(1.0, 0.19 * len(choices))],
    )  # fmt: skip
    on_test = table[table["where"] == "ID test"].set_index("reading")["effect"].reindex(curve["reading"])
    _draw_effects(above, curve, where, None if where == "ID test" else on_test)
    figure.legend(*above.get_legend_handles_labels(), ncols=3, fontsize=8, loc="outside upper center")
    _draw_choices(below, curve, choices)
    return figure


def _draw_effects(axis: plt.Axes, curve: pd.DataFrame, where: str, on_test: pd.Series | None) -> None:
    rows = np.arange(len(curve))
    default = curve["reading"] == "default"
    axis.vlines(rows, 100 * curve["low"], 100 * curve["high"], color=colour("car_ft"), lw=1.2, alpha=0.7)
    axis.plot(rows, 100 * curve["effect"], marker("car_ft"), color=colour("car_ft"), ms=5, label=where)
    if default.any():
        axis.plot(
            rows[default], 100 * curve["effect"][default], "o", ms=11, mfc="none", mec="black", label="default reading"
        )
    if on_test is not None:
        axis.plot(rows, 100 * on_test.to_numpy(), "_", color=colour("ft"), ms=8, mew=2, label="ID test")
    axis.axhline(0, color="black", lw=0.8)
    axis.set_ylabel("CAR-FT minus FT (points)")


def _draw_choices(axis: plt.Axes, curve: pd.DataFrame, choices: Sequence[tuple[str, Any]]) -> None:
    rows = np.arange(len(curve))
    for place, (factor, value) in enumerate(choices):
        chosen = (curve[factor] == value).to_numpy()
        axis.plot(rows[chosen], np.full(chosen.sum(), place), "o", color="black", ms=3.5)
        axis.plot(rows[~chosen], np.full((~chosen).sum(), place), ".", color="#cccccc", ms=2)
    axis.set_yticks(range(len(choices)), [f"{f.replace('_', ' ')}: {v}" for f, v in choices], fontsize=7)
    axis.invert_yaxis()
    axis.set_xticks([])
    axis.set_xlabel(f"{len(curve)} readings, sorted by their effect")
    axis.grid(False)


def _by_kind(value: object) -> tuple[bool, float, str]:
    """Sort key: numbers by size, then strings by letter."""
    number = value if isinstance(value, int | float) else None
    return (number is None, float(number or 0), str(value))


def effective_robustness(tables: Tables) -> Figure | None:
    table, points = tables["robustness"], tables["baseline"]
    if table["effective"].isna().all():
        return None
    figure, axis = plt.subplots(figsize=(5.2, 4.0), layout="constrained")
    line = points.iloc[0]
    low = max(0.02, min(table["id"].min(), points["id"].min()) - 0.04)
    high = min(0.99, max(table["id"].max(), points["id"].max()) + 0.02)
    x = np.linspace(low, high, 60)
    y = 1 / (1 + np.exp(-(line["intercept"] + line["slope"] * np.log(x / (1 - x)))))
    axis.plot(x, y, "-", color="#888888", lw=1, label=f"baseline, {int(line['points'])} points, {line['how']}")
    for method in drawn_entries(table["method"]):
        part = table[table["method"] == method]
        axis.plot(part["id"], part["ood"], marker(method), color=colour(method), ms=5, alpha=0.85, label=label(method))
    for scaled in (axis.set_xscale, axis.set_yscale):
        scaled("logit", one_half="0.5")
    ticks = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    for side, values in ((axis.xaxis, x), (axis.yaxis, [*y, *table["ood"].dropna()])):
        near = [t for t in ticks if min(values) - 0.03 <= t <= max(values) + 0.03]
        side.set_major_locator(plt.FixedLocator(near))
        side.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{100 * value:.0f}"))
        side.set_minor_locator(plt.NullLocator())
    axis.set(xlabel="top-1 on the ID test set (%, logit axis)", ylabel="mean top-1 over the suites (%, logit axis)")
    axis.legend(fontsize=7)
    return figure


def uncertainty(tables: Tables) -> Figure | None:
    """Standard errors by source of CAR-FT minus FT, task by task."""
    table = tables["uncertainty"]
    table = table[(table["contrast"] == "CAR-FT - FT") & (table["where"] == "ID test")]
    if table.empty:
        return None
    table = table.iloc[::-1]
    figure, axis = plt.subplots(figsize=(6.2, 0.3 * len(table) + 1.2), layout="constrained")
    rows = np.arange(len(table))
    kinds = (
        ("se_groups", "groups", "#0072B2"),
        ("se_seeds", "seeds", "#E69F00"),
        ("se_hyperparameters", "search", "#999999"),
    )
    for place, (column, name, shade) in enumerate(kinds):
        axis.barh(rows + 0.27 * (1 - place), 100 * table[column], height=0.25, color=shade, label=name)
    axis.set_yticks(rows, [str(t).split("/")[-1] for t in table["task"]], fontsize=8)
    axis.set_xlabel("standard error of CAR-FT minus FT, ID test (points)")
    axis.legend(fontsize=8)
    return figure
