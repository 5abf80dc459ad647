"""Figures: colour-blind safe, one marker per method, PNG and SVG, each with a caption that says what it cannot show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.audit_figures import AUDIT_DRAWINGS
from reports.figures.figure_data import figure_data
from reports.figures.style import Drawing, Plot, colour, drawn_entries, few, is_crowded, label, marker

__all__ = ["DRAWINGS", "Plot", "colour", "draw_all", "label", "marker"]

#: dots per inch of a PNG
DPI = 150


def draw_all(tables: Mapping[str, pd.DataFrame], scale: str, folder: Path) -> list[Plot]:
    """Draw every figure whose data are there, one per scope; those after the first carry the scope in their name."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = []
    for scope, of_scope, shown in _by_scope(tables, scale):
        for name, drawing in DRAWINGS.items():
            figure = drawing.draw(shown)
            if figure is None:
                continue
            figure.get_layout_engine().set(rect=(0, 0, 0.98, 1))  # type: ignore[union-attr,call-arg]
            figure.text(
                0.998, 0.5, f"scale: {of_scope}", ha="right", va="center", rotation=90, fontsize=7, color="#555555"
            )
            stem = name + (f"-{re.sub('[^a-z0-9]+', '-', scope.lower()).strip('-')}" if scope else "")
            png, svg = folder / f"{stem}.png", folder / f"{stem}.svg"
            figure.savefig(png, dpi=DPI, metadata={"Software": None})
            figure.savefig(svg, metadata={"Date": None})
            figure_data(figure).to_csv(folder / f"{stem}.csv", index=False)
            plt.close(figure)
            title = drawing.title + (f" ({scope})" if scope else "")
            plots.append(Plot(stem, title, drawing.caption, png, svg))
    return plots


def _by_scope(tables: Mapping[str, pd.DataFrame], scale: str) -> Iterator[tuple[str, str, Mapping[str, pd.DataFrame]]]:
    """(scope, its scale, tables of that scope alone); the first scope is called "": it is the one reported first."""
    tasks = tables["tasks"]
    scopes = list(dict.fromkeys(tasks["scope"])) if len(tasks) else []
    for place, scope in enumerate(scopes or [None]):
        shown = {
            name: table[table["scope"] == scope] if scope is not None and "scope" in table else table
            for name, table in tables.items()
        }
        scales = shown["tasks"]["scale"].unique() if scope is not None else [scale]
        yield ("" if place == 0 else str(scope)), str(scales[0]), shown


def _points(values: pd.Series) -> pd.Series:
    return 100 * values


def _differences(tables: Mapping[str, pd.DataFrame]) -> Figure | None:
    table = tables["differences"]
    if table.empty:
        return None
    table = table[table["contrast"] == "CAR-FT - FT"]
    if table.empty:
        return None
    tasks = sorted(table["task"].unique(), reverse=True)
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 0.33 * len(tasks) + 1.3), sharey=True, layout="constrained")
    for axis, where in zip(axes, ("ID test", "mean OOD"), strict=True):
        part = table[table["where"] == where].set_index("task").reindex(tasks)
        effect, low, high = (_points(part[k]).to_numpy() for k in ("effect", "low", "high"))
        rows = np.arange(len(tasks))
        axis.hlines(rows, low, high, color=colour("car_ft"), lw=1.6)
        axis.plot(effect, rows, marker("car_ft"), color=colour("car_ft"))
        axis.axvline(0, color="black", lw=0.8)
        axis.set_xlabel(f"CAR-FT minus FT, {where} (points)")
        axis.set_yticks(rows, [t.split("/")[-1] for t in tasks])
    return figure


def _id_ood(tables: Mapping[str, pd.DataFrame]) -> Figure | None:
    table, curves = tables["tasks"], tables["wise"]
    if table.empty or table["ood/mean"].isna().all() or table["test_top1"].isna().all():
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
        axis.set_title(panel.split("/")[-1], fontsize=8)
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


def _search(tables: Mapping[str, pd.DataFrame]) -> Figure | None:
    trials = tables["trials"]
    if trials.empty:
        return None
    centred = trials.assign(gain=100 * (trials["val/top1"] - trials.groupby("task")["val/top1"].transform("mean")))
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.0), layout="constrained", width_ratios=[1, 1.25])
    for method in centred["method"].unique():
        part = centred[centred["method"] == method]
        axes[0].plot(
            part["lr"], part["gain"], marker(method), color=colour(method), ms=4, alpha=0.6, label=label(method),
            rasterized=is_crowded(part),
        )  # fmt: skip
    axes[0].set(xscale="log", xlabel="learning rate", ylabel="validation top-1,\nminus the task's mean (points)")
    axes[0].legend()
    part = centred[centred["method"] == "car_ft"]
    if len(part) and "kl_weight" in part:
        limit = max(1e-9, float(part["gain"].abs().max()))
        dots = axes[1].scatter(
            part["lr"], part["kl_weight"], c=part["gain"], cmap="cividis", vmin=-limit, vmax=limit, s=26,
            rasterized=is_crowded(part),
        )  # fmt: skip
        won = part[part["won"]]
        axes[1].scatter(
            won["lr"], won["kl_weight"], s=80, facecolors="none", edgecolors="black", lw=0.9, label="winner of its task"
        )
        axes[1].set(xscale="log", yscale="log", xlabel="learning rate", ylabel="KL weight")
        axes[1].legend(loc="upper left", fontsize=7)
        figure.colorbar(dots, ax=axes[1], label="CAR-FT, validation (points)")
    return figure


def _contexts(tables: Mapping[str, pd.DataFrame]) -> Figure | None:
    table = tables["contexts"]
    if table.empty:
        return None
    summed = table.groupby(["method", "context"], sort=False)[["hits", "images"]].sum()
    share = (summed["hits"] / summed["images"]).unstack("method", sort=False) * 100
    seen = set(table[table["set"] == "test"]["context"])
    order = [c for c in share.index if c in seen] + [c for c in share.index if c not in seen]
    share = share.loc[order[::-1]]
    figure, axis = plt.subplots(figsize=(7.4, 0.23 * len(order) + 1.1), layout="constrained")
    rows = np.arange(len(order))
    for method in share.columns:
        axis.plot(share[method], rows, marker(method), color=colour(method), label=label(method), ms=6, alpha=0.85)
    axis.set_yticks(
        rows, [_short_prompt(c) + ("  (trained on)" if c in seen else "") for c in share.index], fontsize=7.5
    )
    axis.set_xlabel("images whose context is recognised (%)")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _short_prompt(prompt: str) -> str:
    return prompt.replace("{}", "...").rstrip(".")


def _training(tables: Mapping[str, pd.DataFrame]) -> Figure | None:
    table = tables["history"]
    if table.empty:
        return None
    wanted = (
        ("train/loss", "training loss", 1),
        ("val/top1", "validation top-1 (%)", 100),
        ("val/context_top1", "validation context recognition (%)", 100),
    )
    figure, axes = plt.subplots(1, 3, figsize=(7.4, 2.5), layout="constrained")
    for axis, (column, title, factor) in zip(axes, wanted, strict=True):
        for method, part in table.groupby("method"):
            if column in part:
                name = str(method)
                values = factor * part[column]
                axis.plot(part["epoch"] + 1, values, color=colour(name), marker=marker(name), ms=4, label=label(name))
        axis.set(xlabel="epoch", ylabel=title)
    axes[0].legend()
    return figure


def _best_of_n(tables: Mapping[str, pd.DataFrame]) -> Figure | None:
    table = tables["best_of_n"]
    if table.empty or table["n"].max() < 2:
        return None
    figure, axis = plt.subplots(figsize=(4.4, 2.7), layout="constrained")
    for method, part in table.groupby("method"):
        name = str(method)
        axis.plot(
            part["n"],
            100 * part["expected_best"],
            color=colour(name),
            marker=few(len(part), marker(name)),
            label=label(name),
        )
    axis.set(xlabel="search trials", ylabel="expected best validation top-1 (%)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    return figure


DRAWINGS: dict[str, Drawing] = {
    "differences": Drawing(
        "CAR-FT against FT, task by task",
        "Each triangle is CAR-FT minus FT on one task, paired by seed and image, with its 95 % interval (seeds and "
        "drawings both vary). An interval that crosses zero decides nothing; the intervals are not corrected for their "
        "number. The figure cannot show whether other hyperparameters would have changed the order.",
        _differences,
    ),
    "id_ood": Drawing(
        "In distribution against out of distribution",
        "Every point is the mean over confirm seeds; up and right is better. The lines are WiSE-FT's curves from the "
        "pretrained (alpha 0) to the fine-tuned model (alpha 1). Points that differ by less than the intervals of the "
        "tables are not different. Axes differ from panel to panel.",
        _id_ood,
    ),
    "contexts": Drawing(
        "Context recognition before and after",
        "Share of test and suite images whose context the model's context head names, per context, all tasks and seeds "
        "together. Loss of recognition reads as FT left of zero-shot. Shares carry no interval here: claims C1 and C2 "
        "do. The known context of a rendering is exact in the icons world; photographs have no such label.",
        _contexts,
    ),
    "search": Drawing(
        "What the search saw",
        "Every search trial of every task, as validation top-1 minus the task's mean over all its trials, so that easy "
        "and hard tasks share one axis. Differences of a few points are within what a validation set of this size can "
        "resolve. With so few trials the figure shows where was looked, not where the optimum is.",
        _search,
    ),
    "training": Drawing(
        "Training curves of the confirm cells",
        "Means over tasks and seeds per epoch. The training loss of CAR-FT includes its KL term, so the two losses are "
        "not on one scale. Validation curves were not used to stop early.",
        _training,
    ),
    "best_of_n": Drawing(
        "What more trials buy",
        "Expected validation top-1 of the best of n trials, drawn without replacement from the trials that were run, "
        "mean over tasks, up to the number that every study finished. It is validation accuracy of the selected trial, "
        "which flatters every method more the more trials it has; it says nothing about test accuracy.",
        _best_of_n,
    ),
    **AUDIT_DRAWINGS,
}
