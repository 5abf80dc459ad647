"""Figures of context recognition: per context, confusion, calibration, loss."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.figures.style import COMPARED, Tables, colour, label, marker, prompt_words

#: images of a bin of calibration: below the first its mark is open, from the second on marks grow no more
FEW_IMAGES, MANY = 30, 3000
#: contexts below which the label of a bar of colours takes two lines
FEW_CONTEXTS = 8


def recognised(table: pd.DataFrame) -> pd.DataFrame:
    """Hits and images of each method and context of a table of contexts, all sets together; contexts of training first.

    Index: method, context. Columns: hits, images, and ``seen``, whether the context is one of training.
    """
    summed = table.groupby(["method", "context"], sort=False)[["hits", "images"]].sum()
    seen = set(table[table["set"] == "test"]["context"])
    summed["seen"] = summed.index.get_level_values("context").isin(seen)
    return summed.sort_values("seen", ascending=False, kind="stable")


def contexts(tables: Tables) -> Figure | None:
    summed = recognised(tables["contexts"])
    share = (100 * summed["hits"] / summed["images"]).unstack("method", sort=False)[::-1]
    seen = summed.groupby("context")["seen"].first()
    figure, axis = plt.subplots(figsize=(7.4, 0.23 * len(share) + 1.1), layout="constrained")
    rows = np.arange(len(share))
    for method in share.columns:
        axis.plot(share[method], rows, marker(method), color=colour(method), label=label(method), ms=6, alpha=0.85)
    names = [prompt_words(c) + (" (trained on)" if seen[c] else "") for c in share.index]
    axis.set_yticks(rows, names, fontsize=7.5)
    axis.set_xlabel("images whose context is recognised (%)")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def confusion(tables: Tables) -> Figure | None:
    table = tables["confusion"]
    methods = [m for m in COMPARED if m in set(table["method"])]
    contexts = list(dict.fromkeys(table["known"]))
    others = [c for c in dict.fromkeys(table["named"]) if c not in contexts]
    columns = contexts + others
    gap = "\n" if len(contexts) < FEW_CONTEXTS else " "
    longest = max(len(prompt_words(c)) for c in columns)
    width, height = 0.14 * len(columns) + 0.35, max(0.14 * len(contexts) + 1.9, 0.045 * longest + 1.4)
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
        axis.set_xticks(range(len(columns)), [prompt_words(c) for c in columns], rotation=90, fontsize=6)
        axis.grid(False)
    axes[0][0].set_yticks(range(len(contexts)), [prompt_words(c) for c in contexts], fontsize=6)
    axes[0][0].set_ylabel("known context")
    figure.supxlabel("context that p_ctx names", fontsize=9)
    figure.colorbar(axes[0][-1].images[0], ax=axes[0].tolist(), label=f"images of the{gap}known context (%)")
    return figure


def _sized(images: pd.Series) -> np.ndarray:
    """Areas of marks in points squared: the more images, the larger, up to ``MANY``."""
    return 8 + 52 * np.sqrt(np.minimum(images.to_numpy(dtype=float), MANY) / MANY)


def reliability(tables: Tables) -> Figure | None:
    table = tables["reliability"]
    places = [p for p in ("ID", "OOD") if p in set(table["where"])]
    figure, axes = plt.subplots(1, len(places), figsize=(3.7 * len(places), 3.2), squeeze=False, layout="constrained")
    for axis, place in zip(axes[0], places, strict=True):
        axis.plot([0, 1], [0, 1], "--", color="#888888", lw=0.8)
        for method in [m for m in COMPARED if m in set(table["method"])]:
            part = table[(table["method"] == method) & (table["where"] == place)]
            if len(part):
                text = f"{label(method)} (ECE {part['ece'].iloc[0]:.3f})"
                axis.plot(part["confidence"], part["recognised"], color=colour(method), lw=0.8, alpha=0.6)
                faces = [colour(method) if n >= FEW_IMAGES else "none" for n in part["images"]]
                axis.scatter(
                    part["confidence"], part["recognised"], s=_sized(part["images"]), facecolors=faces, label=text,
                    edgecolors=colour(method), marker=marker(method), zorder=3,
                )  # fmt: skip
        axis.set(
            xlabel=f"largest probability of p_ctx, {place}", ylabel="share recognised", xlim=(0, 1), ylim=(0, 1.02)
        )
        axis.legend(fontsize=7, loc="upper left")
    return figure


def lost(tables: Tables) -> Figure | None:
    """Recognition lost of each context by FT and CAR-FT, the largest loss of FT on top."""
    table = tables["lost"]
    wide = table.pivot_table(index="context", columns="method", values="lost", sort=False)
    wide = wide[[m for m in ("ft", "car_ft") if m in wide]]
    if wide.columns.empty:
        return None
    wide = wide.sort_values(wide.columns[0])
    figure, axis = plt.subplots(figsize=(7.4, 0.2 * len(wide) + 1.1), layout="constrained")
    rows = np.arange(len(wide))
    for method in wide.columns:
        name = str(method)
        axis.plot(100 * wide[method], rows, marker(name), color=colour(name), ms=6, label=label(name))
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(rows, [prompt_words(str(c)) for c in wide.index], fontsize=7.5)
    axis.set_xlabel("context recognition lost against the pretrained model (points)")
    axis.legend(loc="lower right")
    return figure
