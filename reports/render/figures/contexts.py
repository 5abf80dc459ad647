"""The figure of context recognition."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from reports.render.figures.figure import report_figure
from reports.render.figures.style import Tables, look
from reports.render.words.page_words import prompt_words


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
