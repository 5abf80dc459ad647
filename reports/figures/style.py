"""How figures look and what they are: colour-blind safe, one marker per method, words with every figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from carft.spec.registry import METHODS

#: Okabe and Ito's palette, and a marker beside every colour
STYLES = {
    "zeroshot": ("#595959", "s"),
    "ft": ("#D55E00", "o"),
    "car_ft": ("#0072B2", "^"),
    "wise_ft(ft)": ("#E69F00", "D"),
    "wise_ft(car_ft)": ("#56B4E9", "v"),
    "linear_probe": ("#595959", "P"),
    "lp_ft": ("#009E73", "P"),
    "l2_sp": ("#CC79A7", "X"),
    "kd": ("#009E73", "o"),
    "feature_kd": ("#009E73", "s"),
    "flyp": ("#CC79A7", "D"),
    "lipsum_ft": ("#CC79A7", "p"),
    "car_ft_permuted": ("#000000", "^"),
    "car_ft_random": ("#000000", "<"),
}
#: entries that a figure of all methods shows: interpolations of other methods are in the tables only
DRAWN_INTERPOLATIONS = ("wise_ft(ft)", "wise_ft(car_ft)")
SPARE_STYLES = (("#009E73", "P"), ("#CC79A7", "X"), ("#000000", "*"), ("#F0E442", "h"))


def colour(entry: str) -> str:
    """The colour of an entry; methods that are not named above share the spare ones by registry order."""
    return _style(entry)[0]


def marker(entry: str) -> str:
    """The marker of an entry."""
    return _style(entry)[1]


def _style(entry: str) -> tuple[str, str]:
    rank = list(METHODS).index(entry) if entry in METHODS else len(entry)
    return STYLES.get(entry) or SPARE_STYLES[rank % len(SPARE_STYLES)]


def label(entry: str) -> str:
    """An entry's name for people: ``wise_ft(ft)`` is "WiSE-FT of FT", ``soup(ft) greedy`` "greedy soup of FT"."""
    method, _, rest = entry.partition("(")
    parent, _, rule = rest.partition(")")
    name = f"{rule} {METHODS[method].label}".strip()
    return f"{name} of {METHODS[parent].label}" if parent else name


def drawn_entries(entries: Iterable[str]) -> list[str]:
    """Entries once each, in order, without interpolations of other methods than FT and CAR-FT."""
    return [e for e in dict.fromkeys(entries) if "(" not in e or e in DRAWN_INTERPOLATIONS]


CROWDED = 500  # marks of a figure that are too many to be vectors
FEW = 20  # points of a curve that get a marker each


def is_crowded(marks: Sized) -> bool:
    """Whether marks should be one picture instead of so many vectors."""
    return len(marks) > CROWDED


def few(count: int, mark: str) -> str:
    """The marker of a curve with so many points: none when they would run together."""
    return mark if count <= FEW else ""


plt.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "svg.hashsalt": "carft",
        "svg.fonttype": "none",
    }
)


@dataclass(frozen=True)
class Plot:
    """A figure on disk with what to say about it."""

    name: str
    title: str
    caption: str
    png: Path
    svg: Path


@dataclass(frozen=True)
class Drawing:
    """How a figure is made from tables, and its words."""

    title: str
    caption: str
    draw: Callable[[Mapping[str, pd.DataFrame]], Figure | None]
