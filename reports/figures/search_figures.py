"""Figures of the search and of training."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.style import Tables, by_method, colour, label, marker

#: marks above which they are rasterized, and points of a curve above which its markers would overlap
CROWDED, FEW = 500, 20


def search(tables: Tables) -> Figure | None:
    trials = tables["trials"]
    centred = trials.assign(gain=100 * (trials["val/top1"] - trials.groupby("task")["val/top1"].transform("mean")))
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.0), layout="constrained", width_ratios=[1, 1.25])
    for method in centred["method"].unique():
        part = centred[centred["method"] == method]
        axes[0].plot(
            part["lr"], part["gain"], marker(method), color=colour(method), ms=4, alpha=0.6, label=label(method),
            rasterized=len(part) > CROWDED,
        )  # fmt: skip
    axes[0].set(xscale="log", xlabel="learning rate", ylabel="validation top-1,\nminus the task's mean (points)")
    axes[0].legend()
    part = centred[centred["method"] == "car_ft"]
    if len(part) and "kl_weight" in part:
        limit = max(1e-9, float(part["gain"].abs().max()))
        dots = axes[1].scatter(
            part["lr"], part["kl_weight"], c=part["gain"], cmap="cividis", vmin=-limit, vmax=limit, s=26,
            rasterized=len(part) > CROWDED,
        )  # fmt: skip
        won = part[part["won"]]
        axes[1].scatter(
            won["lr"], won["kl_weight"], s=80, facecolors="none", edgecolors="black", lw=0.9, label="winner of its task"
        )
        axes[1].set(xscale="log", yscale="log", xlabel="learning rate", ylabel="KL weight")
        axes[1].legend(loc="upper left", fontsize=7)
        figure.colorbar(dots, ax=axes[1], label="CAR-FT, validation (points)")
    return figure


def best_of_n(tables: Tables) -> Figure | None:
    table = tables["best_of_n"]
    if table["n"].max() < 2:
        return None
    figure, axis = plt.subplots(figsize=(4.4, 2.7), layout="constrained")
    _draw_by_trials(axis, by_method(table, sort=True), "n", "expected_best")
    axis.set(xlabel="search trials", ylabel="expected best validation top-1 (%)")
    axis.legend()
    return figure


def one_trial(tables: Tables) -> Figure | None:
    if tables["one_trial"]["ft_trials"].max() < 2:
        return None
    figure, axis = plt.subplots(figsize=(4.6, 2.8), layout="constrained")
    _draw_by_trials(axis, by_method(tables["one_trial"]), "ft_trials", "gain")
    axis.axhline(0, color="black", lw=0.8)
    axis.set(xlabel="search trials given to FT", ylabel="method minus FT,\nvalidation top-1 (points)")
    axis.legend(fontsize=8)
    return figure


def _draw_by_trials(axis: plt.Axes, methods: Sequence[tuple[str, pd.DataFrame]], trials: str, share: str) -> None:
    """A curve of each method: a share in percent over numbers of trials."""
    for method, part in methods:
        mark = marker(method) if len(part) <= FEW else ""
        axis.plot(part[trials], 100 * part[share], color=colour(method), marker=mark, label=label(method))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def training(tables: Tables) -> Figure | None:
    table = tables["history"]
    wanted = (
        ("train/loss", "training loss", 1),
        ("val/top1", "validation top-1 (%)", 100),
        ("val/context_top1", "validation context recognition (%)", 100),
    )
    figure, axes = plt.subplots(1, 3, figsize=(7.4, 2.5), layout="constrained")
    for axis, (column, title, factor) in zip(axes, wanted, strict=True):
        for name, part in by_method(table, sort=True) if column in table else ():
            values = factor * part[column]
            axis.plot(part["epoch"] + 1, values, color=colour(name), marker=marker(name), ms=4, label=label(name))
        axis.set(xlabel="epoch", ylabel=title)
    axes[0].legend()
    return figure


def divergence(tables: Tables) -> Figure | None:
    figure, axis = plt.subplots(figsize=(4.6, 2.8), layout="constrained")
    for name, part in by_method(tables["kl"]):
        axis.plot(100 * part["progress"], part["kl"], color=colour(name), marker=marker(name), ms=4, label=label(name))
    axis.set(xlabel="training steps done (%)", ylabel="KL to the pretrained model,\ntraining batches (nats)")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    return figure
