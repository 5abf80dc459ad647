"""Differences at equal settings against the KL weight."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from reports.analysis.equal_settings import MEASURES
from reports.figures.figure import ReportFigure
from reports.figures.style import Tables

#: what is drawn of each contrast, where it has two KL weights or more at one learning rate
CONTRASTS = ("CAR-FT - FT", "CAR-FT - CAR-FT, random")
#: (colour, marker) of the learning rates, from the smallest; repeated where there are more
STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#B0568A", "D"), ("#595959", "v"))


class EqualSettings(ReportFigure):
    name = "equal_settings"
    title = "All else equal: differences against the KL weight"
    caption = (
        "Pairs of cells that differ in the method alone, a line for each learning rate. Bands are 95 % t intervals "
        "over tasks (of one task, over its searches or seeds), corrected by Bonferroni for all points of a panel "
        "together. The settings were given and not tuned: this is about mechanism and decides no claim."
    )
    section = "accuracy"
    topic = "equal settings"
    needs = ("equal_settings",)

    def draw(self, tables: Tables) -> Figure | None:
        lines = drawn_lines(tables["equal_settings"])
        contrasts = [name for name in CONTRASTS if (lines["contrast"] == name).any()]
        if not contrasts:
            return None
        size = (7.4, 0.6 + 2.2 * len(contrasts))
        figure, axes = plt.subplots(len(contrasts), len(MEASURES), figsize=size, sharex=True, squeeze=False)
        styles = dict(zip(sorted(lines["lr"].unique()), STYLES * len(lines), strict=False))
        for name, row in zip(contrasts, axes, strict=True):
            for where, axis in zip(MEASURES, row, strict=True):
                panel = lines[(lines["contrast"] == name) & (lines["where"] == where)].sort_values("kl_weight")
                for lr, part in panel.groupby("lr"):
                    color, mark = styles[lr]
                    low, effect, high = (
                        100 * part[column].clip(-1, 1) for column in ("band_low", "effect", "band_high")
                    )
                    axis.fill_between(part["kl_weight"], low, high, color=color, alpha=0.15, lw=0)
                    axis.plot(part["kl_weight"], effect, color=color, marker=mark, ms=4, label=f"{lr:.2g}")
                axis.axhline(0, color="black", lw=0.8)
                axis.set_xscale("log")
                if name == contrasts[0]:
                    axis.set_title(where, fontsize=9)
                if name == contrasts[-1]:
                    axis.set_xlabel("KL weight")
            row[0].set_ylabel(f"{name}\n(points)".replace(" - CAR-FT,", "\n- CAR-FT,"))
        axes[0, 0].legend(title="learning rate", fontsize=7, title_fontsize=7)
        return figure

    def finding(self, tables: Tables) -> str:
        lines = drawn_lines(tables["equal_settings"])
        sentences = []
        for name in CONTRASTS:
            for where in MEASURES:
                part = lines[(lines["contrast"] == name) & (lines["where"] == where)]
                if len(part):
                    apart = ((part["band_low"] > 0) | (part["band_high"] < 0)).sum()
                    ends = f"{100 * part['effect'].min():+.1f} to {100 * part['effect'].max():+.1f}"
                    sentences.append(f"{name}, {where}: {ends} points, {apart} of {len(part)} bands exclude 0.")
        return " ".join(sentences)


def drawn_lines(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of learning rates that have two KL weights or more, under the usual recipe."""
    rows = table[table["contrast"].isin(CONTRASTS) & (table["recipe"] == "")]
    weights = rows.groupby(["contrast", "where", "lr"])["kl_weight"].transform("nunique")
    return rows[weights > 1]
