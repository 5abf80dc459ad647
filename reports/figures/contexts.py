"""Figures of context recognition: per context, and which contexts are taken for which."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from reports.evidence.evidence import label
from reports.figures.figure import Drawing, report_figure
from reports.figures.style import COMPARED, Tables, listing, look, prompt_words

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
def contexts(tables: Tables) -> Drawing | None:
    table = tables["confusion"]
    seen = set(table[table["where"] == "ID"]["known"])
    share = 100 * _recognised(table, ["known", "method"]).unstack("method", sort=False)
    share = share.loc[sorted(share.index, key=lambda context: context not in seen)][::-1]  # trained ones on top
    figure, axis = plt.subplots(figsize=(7.4, 0.23 * len(share) + 1.1))
    rows = np.arange(len(share))
    for method in share.columns:
        axis.plot(share[method], rows, ls="", ms=6, alpha=0.85, **look(method, tables.methods))
    chance = 100 * table["chance"].mean()
    axis.axvline(chance, color="#595959", lw=0.8, ls=":", label=f"chance {chance:.1f}")
    names = [prompt_words(c) + (" (trained on)" if c in seen else "") for c in share.index]
    axis.set_yticks(rows, names, fontsize=7.5)
    axis.set_xlabel("images whose context is recognised (%)")
    figure.legend(loc="outside upper center", ncols=4)
    shares = listing(_recognised(table, ["method"]), tables.methods)
    return figure, f"Images whose context is recognised (chance {chance:.1f}%): {shares}."


def _recognised(table: pd.DataFrame, keys: list[str]) -> pd.Series:
    """The share of images whose context is recognised, by these columns."""
    hits = table["images"].where(table["known"] == table["named"], 0)
    sums = table.assign(hits=hits).groupby(keys, sort=False)[["hits", "images"]].sum()
    return sums["hits"] / sums["images"]


@report_figure(
    title="Which contexts are taken for which",
    caption="Rows are known contexts, columns what the model's context head names, in % of the row; all tasks, seeds "
    "and sealed sets together. A bright diagonal is recognition. The shares carry no interval.",
    section="contexts",
    topic="confusion",
    needs=("confusion",),
)
def confusion(tables: Tables) -> Drawing | None:
    table = tables["confusion"]
    methods = [m for m in COMPARED if m in set(table["method"])]
    contexts = list(dict.fromkeys(table["known"]))
    others = [c for c in dict.fromkeys(table["named"]) if c not in contexts]
    columns = contexts + others
    gap = "\n" if len(contexts) < FEW_CONTEXTS else " "
    longest = max(len(prompt_words(c)) for c in columns)
    width, height = 0.14 * len(columns) + 0.35, max(0.14 * len(contexts) + 1.9, 0.045 * longest + 1.4)
    figure, axes = plt.subplots(
        1, len(methods), figsize=(max(7.4, width * len(methods) + 2.4), height), sharey=True,
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
    return figure, _confused_words(table)


def confusion_sentences(table: pd.DataFrame) -> list[str]:
    """What happens to contexts that are not recognised, a sentence for each scope; none where no context is known."""
    several = table["scope"].nunique() > 1
    return [
        (f"{scope}: " if several else "") + _confused_words(part) for scope, part in table.groupby("scope", sort=False)
    ]


def _confused_words(table: pd.DataFrame) -> str:
    """The wrong context that each method names most often."""
    wrong = table[(table["known"] != table["named"]) & table["method"].isin(COMPARED) & (table["images"] > 0)]
    parts = []
    for method, part in wrong.groupby("method", sort=False):
        named = part.groupby("named")["images"].sum()
        share, most = named.max() / named.sum(), prompt_words(str(named.idxmax()))
        parts.append(f"{label(str(method))} calls {100 * share:.0f} % of them “{most}”")
    return f"Of the images whose context is not recognised: {'; '.join(parts)}." if parts else "Every context is named."
