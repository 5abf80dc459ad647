"""Style of the figures: colours that colour-blind readers can tell apart, and one marker per method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from carft.spec.registry import METHODS

#: name -> table
Tables = Mapping[str, pd.DataFrame]
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
#: methods that figures and sentences about contexts compare
COMPARED = ("zeroshot", "ft", "car_ft")
#: interpolations in the figures of all methods; those of other methods are in the tables only
DRAWN_INTERPOLATIONS = ("wise_ft(ft)", "wise_ft(car_ft)")
SPARE_STYLES = (("#009E73", "P"), ("#B0568A", "X"), ("#000000", "*"), ("#7A6F00", "h"))


def colour(entry: str) -> str:
    """The colour of an entry; methods outside ``STYLES`` share the spare colours."""
    return _style(entry)[0]


def marker(entry: str) -> str:
    """The marker of an entry."""
    return _style(entry)[1]


def _style(entry: str) -> tuple[str, str]:
    rank = list(METHODS).index(entry) if entry in METHODS else len(entry)
    return STYLES.get(entry) or SPARE_STYLES[rank % len(SPARE_STYLES)]


def label(entry: str) -> str:
    """An entry's display name: ``wise_ft(ft)`` is "WiSE-FT of FT", ``soup(ft) greedy`` "greedy soup of FT"."""
    method, _, rest = entry.partition("(")
    parent, _, rule = rest.partition(")")
    name = f"{rule} {METHODS[method].label}".strip()
    return f"{name} of {METHODS[parent].label}" if parent else name


def prompt_words(prompt: str) -> str:
    """A prompt as a label: ``a sketch of a {}.`` is "a sketch of a [class]"."""
    return prompt.replace("{}.", "{}").replace("{}", "[class]").strip()


def drawn_entries(entries: Iterable[str]) -> list[str]:
    """Entries once each, in order, without interpolations of other methods than FT and CAR-FT."""
    return [e for e in dict.fromkeys(entries) if "(" not in e or e in DRAWN_INTERPOLATIONS]


def by_method(table: pd.DataFrame, sort: bool = False) -> list[tuple[str, pd.DataFrame]]:
    """Each method with its rows; sort: by name, otherwise in order of appearance."""
    return [(str(method), part) for method, part in table.groupby("method", sort=sort)]


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
    """A figure on disk."""

    name: str
    """Name of its files without ending."""
    title: str
    """Heading on the page."""
    caption: str
    """What it shows, and what it cannot show."""
    png: Path
    svg: Path
    finding: str = ""
    """What it shows on these records, in a sentence: the text alternative of the image."""


@dataclass(frozen=True)
class Drawing:
    """How a figure is made from the tables of one scope."""

    title: str
    """Heading on the page."""
    caption: str
    """What it shows, and what it cannot show."""
    draw: Callable[[Tables], Figure | None]
    """Draws the figure; None where the tables hold too little."""
    tell: Callable[[Tables], str]
    """What it shows on these records, in a sentence."""
    needs: tuple[str, ...]
    """Tables without which it is not drawn."""
