"""Figures of the audit: readings, selection, contexts, calibration, robustness."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.style import Drawing, colour, drawn_entries, few, label, marker

Tables = Mapping[str, pd.DataFrame]
SHOWN = ("zeroshot", "ft", "car_ft")
NOT_FACTORS = {
    "scope", "scale", "reading", "where", "effect", "low", "high", "n_tasks", "n_seeds", "n_groups", "selected_on",
    "C3", "C4", "C5", "cells",
}  # fmt: skip


def _absent(tables: Tables, name: str) -> bool:
    return name not in tables or tables[name].empty


def _specification(tables: Tables) -> Figure | None:
    """Effects on the mean of the suites sorted, the ID effect of the same reading below, then the choices as dots."""
    if _absent(tables, "readings"):
        return None
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
    rows = np.arange(len(curve))
    default = curve["reading"] == "default"
    above.vlines(rows, 100 * curve["low"], 100 * curve["high"], color=colour("car_ft"), lw=1.2, alpha=0.7)
    above.plot(rows, 100 * curve["effect"], marker("car_ft"), color=colour("car_ft"), ms=5, label=where)
    if default.any():
        above.plot(
            rows[default], 100 * curve["effect"][default], "o", ms=11, mfc="none", mec="black", label="default reading"
        )
    if where != "ID test":
        on_test = table[table["where"] == "ID test"].set_index("reading")["effect"].reindex(curve["reading"])
        above.plot(rows, 100 * on_test.to_numpy(), "_", color=colour("ft"), ms=8, mew=2, label="ID test")
    above.axhline(0, color="black", lw=0.8)
    above.set_ylabel("CAR-FT minus FT (points)")
    figure.legend(*above.get_legend_handles_labels(), ncols=3, fontsize=8, loc="outside upper center")
    for place, (factor, value) in enumerate(choices):
        chosen = (curve[factor] == value).to_numpy()
        below.plot(rows[chosen], np.full(chosen.sum(), place), "o", color="black", ms=3.5)
        below.plot(rows[~chosen], np.full((~chosen).sum(), place), ".", color="#cccccc", ms=2)
    below.set_yticks(range(len(choices)), [f"{f.replace('_', ' ')}: {v}" for f, v in choices], fontsize=7)
    below.invert_yaxis()
    below.set_xticks([])
    below.set_xlabel(f"{len(curve)} readings, sorted by their effect")
    below.grid(False)
    return figure


def _by_kind(value: object) -> tuple[bool, float, str]:
    """Numbers by size, then words by letter."""
    number = value if isinstance(value, int | float) else None
    return (number is None, float(number or 0), str(value))


def _one_trial(tables: Tables) -> Figure | None:
    if _absent(tables, "one_trial") or tables["one_trial"]["ft_trials"].max() < 2:
        return None
    figure, axis = plt.subplots(figsize=(4.6, 2.8), layout="constrained")
    for method, part in tables["one_trial"].groupby("method", sort=False):
        name = str(method)
        mark = few(len(part), marker(name))
        axis.plot(part["ft_trials"], 100 * part["gain"], color=colour(name), marker=mark, label=label(name))
    axis.axhline(0, color="black", lw=0.8)
    axis.set(xlabel="search trials given to FT", ylabel="method minus FT,\nvalidation top-1 (points)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=8)
    return figure


def _confusion(tables: Tables) -> Figure | None:
    if _absent(tables, "confusion"):
        return None
    table = tables["confusion"]
    methods = [m for m in SHOWN if m in set(table["method"])]
    contexts = list(dict.fromkeys(table["known"]))
    others = [c for c in dict.fromkeys(table["named"]) if c not in contexts]
    columns = contexts + others
    width, height = 0.14 * len(columns) + 0.35, 0.14 * len(contexts) + 1.9
    figure, axes = plt.subplots(
        1, len(methods), figsize=(max(7.4, width * len(methods) + 2.4), height), sharey=True, layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for axis, method in zip(axes[0], methods, strict=True):
        part = table[table["method"] == method].groupby(["known", "named"])["images"].sum().unstack(fill_value=0)
        shares = part.reindex(index=contexts, columns=columns, fill_value=0).to_numpy(dtype=float)
        shares = 100 * shares / np.maximum(shares.sum(1, keepdims=True), 1)
        axis.imshow(shares, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        axis.set_title(label(method), fontsize=9)
        axis.set_xticks(range(len(columns)), [_short(c) for c in columns], rotation=90, fontsize=6)
        axis.grid(False)
    axes[0][0].set_yticks(range(len(contexts)), [_short(c) for c in contexts], fontsize=6)
    axes[0][0].set_ylabel("known context")
    figure.supxlabel("context that p_ctx names", fontsize=9)
    figure.colorbar(axes[0][-1].images[0], ax=axes[0].tolist(), label="images of the known context (%)")
    return figure


def _short(prompt: str) -> str:
    words = prompt.replace("{}", "…").replace("… .", "…").rstrip(".").strip()
    return words if len(words) <= 30 else words[:29] + "…"


def _reliability(tables: Tables) -> Figure | None:
    if _absent(tables, "reliability"):
        return None
    table = tables["reliability"]
    places = [p for p in ("ID", "OOD") if p in set(table["where"])]
    figure, axes = plt.subplots(1, len(places), figsize=(3.7 * len(places), 3.2), squeeze=False, layout="constrained")
    for axis, place in zip(axes[0], places, strict=True):
        axis.plot([0, 1], [0, 1], "--", color="#888888", lw=0.8)
        for method in [m for m in SHOWN if m in set(table["method"])]:
            part = table[(table["method"] == method) & (table["where"] == place)]
            if len(part):
                words = f"{label(method)} (ECE {part['ece'].iloc[0]:.3f})"
                axis.plot(
                    part["confidence"], part["recognised"], color=colour(method), marker=marker(method), ms=4, lw=1,
                    label=words,
                )  # fmt: skip
        axis.set(
            xlabel=f"largest probability of p_ctx, {place}", ylabel="share recognised", xlim=(0, 1), ylim=(0, 1.02)
        )
        axis.legend(fontsize=7, loc="upper left")
    return figure


def _kl(tables: Tables) -> Figure | None:
    if _absent(tables, "kl"):
        return None
    figure, axis = plt.subplots(figsize=(4.6, 2.8), layout="constrained")
    for method, part in tables["kl"].groupby("method", sort=False):
        name = str(method)
        axis.plot(100 * part["progress"], part["kl"], color=colour(name), marker=marker(name), ms=4, label=label(name))
    axis.set(xlabel="training steps done (%)", ylabel="KL to the pretrained model,\ntraining batches (nats)")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    return figure


def _lost(tables: Tables) -> Figure | None:
    """What was lost of each context, FT and CAR-FT side by side, most lost by FT first."""
    if _absent(tables, "lost"):
        return None
    table = tables["lost"]
    wide = table.pivot_table(index="context", columns="method", values="lost", sort=False)
    wide = wide[[m for m in ("ft", "car_ft") if m in wide]]
    wide = wide.sort_values(wide.columns[0])
    figure, axis = plt.subplots(figsize=(7.4, 0.2 * len(wide) + 1.1), layout="constrained")
    rows = np.arange(len(wide))
    for method in wide.columns:
        name = str(method)
        axis.plot(100 * wide[method], rows, marker(name), color=colour(name), ms=6, label=label(name))
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(rows, [_short(str(c)) for c in wide.index], fontsize=7.5)
    axis.set_xlabel("context recognition lost against the pretrained model (points)")
    axis.legend(loc="lower right")
    return figure


def _effective(tables: Tables) -> Figure | None:
    if _absent(tables, "robustness") or _absent(tables, "baseline"):
        return None
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


def _sources(tables: Tables) -> Figure | None:
    """Standard errors by source of CAR-FT minus FT, task by task."""
    if _absent(tables, "uncertainty"):
        return None
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


AUDIT_DRAWINGS: dict[str, Drawing] = {
    "readings": Drawing(
        "Specification curve: every reading of what the paper leaves open",
        "Each column is one reading. Above: CAR-FT minus FT with its 95 % interval, out of distribution (triangles), "
        "and the ID effect of the same reading (bars). Below: what was chosen; a black dot marks the value. Intervals "
        "are not corrected for the number of readings. The figure cannot show readings that were not run; sorting by "
        "effect makes any noise look like a trend.",
        _specification,
    ),
    "one_trial": Drawing(
        "What a reader would have seen had the baseline been tuned less",
        "Validation top-1 of each method after its whole search, minus FT's expected best of n trials, mean over "
        "tasks. The last point compares equal budgets; all others flatter the method. Validation only: it cannot show "
        "what the test sets would have said.",
        _one_trial,
    ),
    "confusion": Drawing(
        "Which contexts are taken for which",
        "Rows are known contexts, columns what the model's context head names, in % of the row; all tasks, seeds and "
        "sealed sets together. A bright diagonal is recognition. The shares carry no interval.",
        _confusion,
    ),
    "reliability": Drawing(
        "Calibration of p_ctx",
        "Share of images whose context is recognised against the probability p_ctx gives its first choice, in 15 bins "
        "of equal width; on the dashed line the two agree. ECE is the mean distance from it, weighted by images. Bins "
        "with few images move a lot; renderings of one drawing are not independent.",
        _reliability,
    ),
    "kl": Drawing(
        "The divergence over training",
        "Mean over the confirm cells of every method with a KL term; the first point is the first step, before any "
        "update. It is measured on augmented training batches and says nothing about recognition on test images.",
        _kl,
    ),
    "lost": Drawing(
        "Which contexts are lost",
        "Recognition of the pretrained model minus that of the tuned one, per known context, all tasks, seeds and "
        "sealed sets together. Left of the line is gain. The shares carry no interval, and contexts differ in "
        "how many images they have (tables/lost.csv).",
        _lost,
    ),
    "effective": Drawing(
        "Effective robustness",
        "Each mark is one method on one task, mean over seeds. The line is what an untrained model's ID accuracy lets "
        "expect out of distribution, fitted on logit axes through the zero-shot models of the scope; the height above "
        "it is effective robustness. A line through few models of one family is a weak baseline: it cannot tell "
        "robustness from the choice of tasks.",
        _effective,
    ),
    "uncertainty": Drawing(
        "Where the uncertainty comes from",
        "Standard error of the ID difference by source. The first two make the intervals of this report. The draw of "
        "hyperparameters (search) is in none of them: it is estimated on validation accuracy, from few trials, as the "
        "spread of the best of as many trials drawn again.",
        _sources,
    ),
}
