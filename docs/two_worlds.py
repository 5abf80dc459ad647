"""Draws docs/two-worlds.svg, README's figure, from the published tables: ``python docs/two_worlds.py``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.render.figures.style import STYLES, plt

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "two-worlds.svg"
#: world -> scope of its levels, folder with its tables
WORLDS = {"drawings": ("icons-3-full", "audit"), "photographs": ("photographs", "audit/photographs")}
#: place of a level -> title of its panels
PLACES = {"contexts": "context recognition, %", "mean OOD": "accuracy under shift, %"}
METHODS = {
    "zeroshot": "zero-shot",
    "ft": "FT",
    "car_ft": "CAR-FT",
    "car_ft_random": "random vectors",
    "wise_ft(ft) alpha 0.5": "WiSE-FT of FT",
}
CONCLUSION = "CAR-FT recognises more contexts than FT; WiSE-FT gains accuracy under shift"


def levels(world: str, place: str) -> pd.DataFrame:
    """The levels of a world in %, a row for each method: value, low, high."""
    scope, folder = WORLDS[world]
    table = pd.read_csv(ROOT / folder / "tables" / "levels.csv")
    of_place = table[(table["scope"] == scope) & (table["place"] == place)].set_index("method")
    return 100 * of_place.loc[list(METHODS), ["value", "low", "high"]]


def draw_panel(axes: Axes, world: str, place: str) -> None:
    """Draw the methods of a world from top to bottom, each with its 95 % interval and its value."""
    for height, (method, row) in enumerate(levels(world, place).iterrows()):
        colour, marker = STYLES[str(method).removesuffix(" alpha 0.5")]
        axes.plot([row["low"], row["high"]], [height, height], color=colour, linewidth=2)
        axes.plot(row["value"], height, color=colour, marker=marker)
        axes.annotate(f"{row['value']:.1f}", (row["value"], height), (0, 5), textcoords="offset points", ha="center")
    axes.set_yticks(range(len(METHODS)), list(METHODS.values()))
    axes.set_ylim(len(METHODS) - 0.6, -0.8)
    axes.margins(x=0.1)


def figure() -> Figure:
    """A row for each world, a column for each place."""
    drawn, panels = plt.subplots(len(WORLDS), len(PLACES), figsize=(8, 4.6), sharey=True)
    for row, world in zip(panels, WORLDS, strict=True):
        for axes, place in zip(row, PLACES, strict=True):
            draw_panel(axes, world, place)
        row[0].set_ylabel(world, fontweight="bold")
    for axes, title in zip(panels[-1], PLACES.values(), strict=True):
        axes.set_xlabel(title)
    drawn.suptitle(CONCLUSION, fontweight="bold")
    return drawn


if __name__ == "__main__":
    figure().savefig(TARGET, metadata={"Date": None})
    print(f"wrote {TARGET.relative_to(ROOT)}")
