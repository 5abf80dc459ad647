"""Figure of the experiment at equal strength."""

from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd

from reports.figures.figure import Drawing, report_figure
from reports.figures.style import Tables
from reports.words.figures_words import strength_words

#: arm -> colour, marker, style of its line; arms of other recipes take the spare looks
LOOKS = {
    "contexts": ("#0072B2", "^", "-"),
    "contexts at entropy": ("#0072B2", "v", "--"),
    "rotated": ("#D55E00", "s", "-"),
    "rotated at entropy": ("#D55E00", "D", "--"),
    "random": ("#000000", "<", "-"),
}
SPARE_LOOKS = (
    ("#009E73", "P", "-"),
    ("#B0568A", "X", "-"),
    ("#7A6F00", "h", "-"),
    ("#5B4FB0", "p", "-"),
    ("#8C510A", ">", "-"),
    ("#595959", "*", "-"),
    ("#B2182B", "d", "-"),
    ("#01665E", "8", "-"),
)
#: arms in a row of the legend
IN_A_ROW = 5


@report_figure(
    title="Gain over FT at equal strength",
    caption="Each arm of the experiment at equal strength, minus fine-tuning (0), over how far the term lets the "
    "features move: the further to the left, the stronger the term. Out of distribution with 95 % intervals (seeds "
    "and test images); contexts are those of the suites. Arms are compared at one place of the horizontal axis.",
    section="opening",
    topic="equal strength",
    needs=("matched_strength",),
)
def equal_strength(tables: Tables) -> Drawing | None:
    """The differences of every arm to fine-tuning, over the displacement that it reaches."""
    table = tables["matched_strength"]
    arms = table[table["temperature"].map(lambda value: value != "") & table["displacement"].notna()]
    if arms.empty:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.4))
    spare = cycle(SPARE_LOOKS)
    for name, part in arms.groupby("what", sort=False):
        color, marker, line = LOOKS[str(name)] if name in LOOKS else next(spare)
        style = {"color": color, "marker": marker, "ls": line, "ms": 5, "label": str(name)}
        numbers = part[["displacement", "ood_difference", "ood_low", "ood_high", "contexts_difference"]].astype(float)
        moved, gain = numbers["displacement"], 100 * numbers["ood_difference"]
        axes[0].vlines(moved, 100 * numbers["ood_low"], 100 * numbers["ood_high"], color=color, lw=1, alpha=0.6)
        axes[0].plot(moved, gain, **style)
        axes[1].plot(moved, 100 * numbers["contexts_difference"], **style)
    for axis, title in zip(axes, ("out of distribution", "context recognition"), strict=True):
        axis.axhline(0, color="#595959", lw=0.8, ls=":")
        axis.set(xlabel="displacement of the features", ylabel=f"{title}, minus FT (points)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), IN_A_ROW), fontsize=8)
    return figure, strength_words(pd.DataFrame(arms))
