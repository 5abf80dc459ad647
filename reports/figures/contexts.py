"""Figures of context recognition: per context, and which contexts are taken for which."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from reports.evidence.evidence import COMPARED, label
from reports.figures.figure import report_figure
from reports.figures.style import Tables, look, shown
from reports.words.figures_words import prompt_words

#: contexts below which the label of a bar of colours takes two lines
FEW_CONTEXTS = 8


@report_figure(
    title="Context recognition before and after",
    caption="Share of test and suite images whose context the model's context head names, per context, all tasks and "
    "seeds together. Loss of recognition reads as FT left of zero-shot. Shares carry no interval here: the claims on "
    "recognition do. The known context of a rendering is exact in the icons world; photographs have no such label.",
    section="contexts",
    topic="before and after",
    needs=("confusion",),
)
def contexts(tables: Tables) -> Figure | None:
    table = tables["confusion"]
    seen = set(table[table["where"] == "ID"]["known"])
    hits = table["images"].where(table["known"] == table["named"], 0)
    sums = table.assign(hits=hits).groupby(["known", "method"], sort=False)[["hits", "images"]].sum()
    share = 100 * (sums["hits"] / sums["images"]).unstack("method", sort=False)
    shown = sorted(share.index, key=lambda context: context not in seen)[::-1]  # trained ones on top
    share = share.loc[shown]
    figure, axis = plt.subplots(figsize=(7.4, 0.23 * len(share) + 1.1))
    rows = np.arange(len(share))
    for method in share.columns:
        axis.plot(share[method], rows, ls="", ms=6, alpha=0.85, **look(method, tables.methods))
    chance = table["chance"].mean()
    axis.axvline(100 * chance, color="#595959", lw=0.8, ls=":", label=f"chance {100 * chance:.1f}")
    names = []
    for context in shown:
        names.append(f"{prompt_words(context)} (trained on)" if context in seen else prompt_words(context))
    axis.set_yticks(rows, names, fontsize=7.5)
    axis.set_xlabel("images whose context is recognised (%)")
    figure.legend(loc="outside upper center", ncols=4)
    return figure


@report_figure(
    title="Which contexts are taken for which",
    caption="Rows are known contexts, columns what the model's context head names, in % of the row; all tasks, seeds "
    "and sealed sets together. A bright diagonal is recognition. The shares carry no interval.",
    section="contexts",
    topic="confusion",
    needs=("confusion",),
)
def confusion(tables: Tables) -> Figure | None:
    table = tables["confusion"]
    methods = shown((entry.label for entry in COMPARED), table["method"])
    if not methods:
        return None
    contexts = list(dict.fromkeys(table["known"]))
    columns = list(dict.fromkeys([*contexts, *table["named"]]))
    gap = "\n" if len(contexts) < FEW_CONTEXTS else " "
    words = [prompt_words(context) for context in columns]
    longest = max(map(len, words))
    width = max(7.4, (0.14 * len(columns) + 0.35) * len(methods) + 2.4)
    height = max(0.14 * len(contexts) + 1.9, 0.045 * longest + 1.4)
    figure, axes = plt.subplots(1, len(methods), figsize=(width, height), sharey=True, squeeze=False)
    for axis, method in zip(axes[0], methods, strict=True):
        part = table[table["method"] == method].groupby(["known", "named"])["images"].sum().unstack(fill_value=0)
        shares = part.reindex(index=contexts, columns=columns, fill_value=0).to_numpy(dtype=float)
        shares = 100 * shares / np.maximum(shares.sum(1, keepdims=True), 1)
        axis.imshow(shares, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        axis.set_title(label(method), fontsize=9)
        axis.set_xticks(range(len(columns)), words, rotation=90, fontsize=6)
        axis.grid(False)
    axes[0][0].set_yticks(range(len(contexts)), words[: len(contexts)], fontsize=6)
    axes[0][0].set_ylabel("known context")
    figure.supxlabel("context that p_ctx names", fontsize=9)
    figure.colorbar(axes[0][-1].images[0], ax=axes[0].tolist(), label=f"images of the{gap}known context (%)")
    return figure
