"""Style of the figures: colours that colour-blind readers can tell apart, and one marker per method."""

import math
from collections.abc import Iterable
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from carft.config.registry import METHODS
from reports.judge.entry import label
from reports.render.tables.table import Methods as Methods
from reports.render.tables.table import Tables as Tables  # what a figure of one's own is given

#: entry -> colour of Okabe and Ito's palette, marker
STYLES = {
    "zeroshot": ("#595959", "s"),
    "ft": ("#D55E00", "o"),
    "car_ft": ("#0072B2", "^"),
    "wise_ft(ft)": ("#A86F00", "D"),
    "wise_ft(car_ft)": ("#2B83B8", "v"),
    "linear_probe": ("#595959", "P"),
    "lp_ft": ("#009E73", "P"),
    "l2_sp": ("#B0568A", "X"),
    "kd": ("#009E73", "o"),
    "feature_kd": ("#009E73", "s"),
    "flyp": ("#B0568A", "D"),
    "lipsum_ft": ("#B0568A", "p"),
    "car_ft_permuted": ("#000000", "^"),
    "car_ft_random": ("#000000", "<"),
}
#: entries of a legend that stand side by side
LEGEND_COLUMNS = 5
SPARE_STYLES = (("#009E73", "P"), ("#B0568A", "X"), ("#000000", "*"), ("#7A6F00", "h"))


def look(entry: str, methods: Methods = METHODS) -> dict[str, Any]:
    """Colour, marker and label of an entry, as keyword arguments of matplotlib's ``plot``.

    Methods outside ``STYLES`` share the spare colours and markers.
    """
    rank = list(methods).index(entry) if entry in methods else len(entry)
    color, marker = STYLES.get(entry, SPARE_STYLES[rank % len(SPARE_STYLES)])
    return {"color": color, "marker": marker, "label": label(entry, methods)}


def colour(entry: str, methods: Methods = METHODS) -> str:
    """The colour of an entry."""
    return str(look(entry, methods)["color"])


def shown(wanted: Iterable[str], column: pd.Series) -> list[str]:
    """Those of the wanted values that a column has, in their order."""
    there = set(column)
    return [value for value in wanted if value in there]


def outside_legend(figure: Figure, *axes: Axes) -> None:
    """Put one legend of all the axes above a figure of the usual width; it grows where there are many entries."""
    entries: dict[str, Artist] = {}
    for axis in axes:
        of_axis, names = axis.get_legend_handles_labels()
        entries |= dict(zip(names, of_axis, strict=True))
    figure.set_figheight(figure.get_figheight() + 0.2 * (len(entries) // LEGEND_COLUMNS))
    handles, labels = list(entries.values()), list(entries)
    figure.legend(handles, labels, loc="outside upper center", ncols=LEGEND_COLUMNS, fontsize=8)


def label_log_axis(axis: Axis) -> None:
    """Give a logarithmic axis ticks whose labels do not overlap, as plain numbers.

    Decades are divided where there are fewer than two, and an axis of less than 0.7 has linear ticks.
    """
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    if decades < 0.7:
        axis.set_major_locator(MaxNLocator(4))
    elif decades < 1:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    elif decades < 2:
        axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


plt.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "figure.constrained_layout.use": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "svg.hashsalt": "carft",
        "svg.fonttype": "none",
        "text.parse_math": False,  # names of tasks, methods and contexts may hold $
    }
)
