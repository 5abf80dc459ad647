"""Style of the figures: colours that colour-blind readers can tell apart, and one marker per method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from carft.config.registry import METHODS, MethodCard
from reports.evidence.evidence import label
from reports.tables.table import Tables as Tables  # what a figure of one's own is given

#: methods by name
Methods = Mapping[str, MethodCard]
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


def colour(entry: str, methods: Methods = METHODS) -> str:
    """The colour of an entry; methods outside ``STYLES`` share the spare colours."""
    return _style(entry, methods)[0]


def marker(entry: str, methods: Methods = METHODS) -> str:
    """The marker of an entry."""
    return _style(entry, methods)[1]


def _style(entry: str, methods: Methods) -> tuple[str, str]:
    rank = list(methods).index(entry) if entry in methods else len(entry)
    return STYLES.get(entry) or SPARE_STYLES[rank % len(SPARE_STYLES)]


def look(entry: str, methods: Methods) -> dict[str, Any]:
    """Colour, marker and label of an entry, as keyword arguments of matplotlib's ``plot``."""
    return {"color": colour(entry, methods), "marker": marker(entry, methods), "label": label(entry, methods)}


def prompt_words(prompt: str) -> str:
    """A prompt as a label: ``a sketch of a {}.`` is "a sketch of a [class]"."""
    return prompt.replace("{}.", "{}").replace("{}", "[class]").strip()


def drawn_entries(entries: Iterable[str]) -> list[str]:
    """Entries once each, in order, without interpolations of other methods than FT and CAR-FT."""
    return [e for e in dict.fromkeys(entries) if "(" not in e or e in DRAWN_INTERPOLATIONS]


def listing(values: Mapping[str, float], form: str, methods: Methods = METHODS) -> str:
    """``Zero-shot 55.3 %, FT 50.6 %`` of method -> value: compared methods first, missing numbers left out."""
    order = [*(m for m in COMPARED if m in values), *(m for m in values if m not in COMPARED)]
    return ", ".join(f"{label(m, methods)} {form.format(values[m])}" for m in order if pd.notna(values[m]))


def method_means(table: pd.DataFrame, column: str, methods: Sequence[str] = COMPARED) -> dict[str, float]:
    """Method -> mean of a column over its rows; of all methods where none is named."""
    part = table[table["method"].isin(methods)] if methods else table
    return {str(m): float(v) for m, v in part.groupby("method", sort=False)[column].mean().items()}


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
    }
)
