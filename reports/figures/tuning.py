"""Figures of the search and of training."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.figure import report_figure
from reports.figures.style import Tables, look, outside_legend

#: marks above which they are rasterized
CROWDED = 500


@report_figure(
    title="What the search saw",
    caption="Every search trial with a learning rate, as validation top-1 minus the mean over all trials of the "
    "task, so that easy and hard tasks share one axis; on the right its mean over tasks. Differences of a few points "
    "are within what a validation set of this size can resolve. With so few trials the figure shows where was looked, "
    "not where the optimum is.",
    section="tuning",
    topic="search",
    needs=("trials",),
)
def search(tables: Tables) -> Figure | None:
    trials = tables["trials"]
    if "lr" not in trials:
        return None
    tuned = trials[trials["lr"].notna()]
    centred = tuned.assign(gain=100 * (tuned["val/top1"] - tuned.groupby("task")["val/top1"].transform("mean")))
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.2), width_ratios=[1, 1.25])
    for method in centred["method"].unique():
        part = centred[centred["method"] == method]
        style = look(method, tables.methods)
        axes[0].plot(part["lr"], part["gain"], ls="", ms=4, alpha=0.6, rasterized=len(part) > CROWDED, **style)
    axes[0].set(xscale="log", xlabel="learning rate", ylabel="validation top-1,\nminus the task's mean (points)")
    outside_legend(figure, axes[0])
    part = centred[centred["method"] == "car_ft"]
    if len(part) and "kl_weight" in part:
        settings = part.groupby(["lr", "kl_weight"], as_index=False)[["gain", "won"]].agg(
            {"gain": "mean", "won": "sum"}
        )
        limit = max(1e-9, float(settings["gain"].abs().max()))
        dots = axes[1].scatter(
            settings["lr"], settings["kl_weight"], c=settings["gain"], cmap="cividis", vmin=-limit, vmax=limit, s=26,
            rasterized=len(settings) > CROWDED,
        )  # fmt: skip
        won = settings[settings["won"].astype(bool)]
        ring = {"s": 80, "facecolors": "none", "edgecolors": "black", "lw": 0.9, "label": "winner of a task"}
        axes[1].scatter(won["lr"], won["kl_weight"], **ring)
        axes[1].set(xscale="log", yscale="log", xlabel="learning rate", ylabel="KL weight")
        axes[1].legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, fontsize=7)
        figure.colorbar(dots, ax=axes[1], label="CAR-FT, validation (points)")
    return figure


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
