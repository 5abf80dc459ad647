"""Formatting of verdicts, tables and intervals for templates; text as HTML, Markdown and LaTeX take it; packed JSON."""

import base64
import gzip
import html
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from sys import intern
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from reports.judge.claims.claim import ICONS, Verdict, VerdictNumber
from reports.judge.entry import Entry, label
from reports.judge.evidence import ORACLE
from reports.judge.part import Part
from reports.render.tables.table import Methods, TableCard
from reports.render.words.page_words import on_record_words
from reports.render.words.verdict_words import shown_word

#: rows above which the page pages a table from a JSON block, so that it opens fast
LONGEST = 300
#: text of a missing number
NOTHING = "–"

#: half widths of the axes of intervals, in points
STEPS = (1, 2, 5, 10, 20, 50, 100)
#: quartile distances above the upper quartile up to which the whisker of a box plot reaches
WHISKER = 1.5
#: a hyphen that is the sign of a number
SIGN = re.compile(r"(?<![\w.-])-(?=\d)")


@dataclass(frozen=True)
class Mark:
    """How page and terminal show a verdict."""

    icon: str
    words: str
    kind: str
    """The class of its style."""


def mark_of(verdict: Verdict) -> Mark:
    """The mark of a verdict; one of its own for a claim that the numbers of others decide, without any run."""
    if verdict.basis != "records":
        return Mark("○", on_record_words(verdict), "on-record")
    return Mark(ICONS[verdict.verdict], shown_word(verdict), verdict.verdict.replace(" ", "-"))


def interval(verdict: Verdict) -> str:
    """The 95 % interval of a verdict; empty without one."""
    low, high, unit = verdict.number.low, verdict.number.high, verdict.number.unit
    if low is None or high is None or not math.isfinite(low):
        return ""
    return f"{amount(low, unit)} to {amount(high, unit)}"


def amount(value: float | None, unit: str = "points", sign: bool = True) -> str:
    """A share of 1 in points with one decimal, or a correlation with two; a dash for none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    form = "+" if sign else ""
    if unit == "points":
        return f"{100 * value:{form}.1f}"
    return f"{value:{form}.2f}"


@dataclass(frozen=True)
class FormattedTable:
    """A table with formatted values."""

    name: str
    title: str
    note: str
    names: Sequence[str]
    """Columns of the data frame that are shown."""
    columns: Sequence[tuple[str, bool]]
    """(heading, whether the column is numeric)."""
    rows: Sequence[Sequence[str]]

    @property
    def is_long(self) -> bool:
        """Whether the page pages the table from a JSON block."""
        return len(self.rows) > LONGEST


def formatted(card: TableCard, table: pd.DataFrame, methods: Methods) -> FormattedTable:
    """A table without hidden and constant columns, numbers formatted by its card."""
    hidden = set[str]()
    metrics = [name for name in ("card_metric", "metric") if name in table]
    if metrics and (table[metrics] == "top1").all(axis=None):  # they repeat the columns in top-1
        hidden |= {*metrics, "test_card_metric", "card_low", "card_high"}
    names, columns, texts = [], [], []
    for name, values in table.items():
        column = str(name)
        if column in hidden or _is_constant(column, values) or not card.column(column).on_page:
            continue
        is_numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        names.append(column)
        columns.append((_heading(card, column), is_numeric))
        texts.append([intern(_text(card, column, value, methods)) for value in values])  # most are alike
    rows = list(zip(*texts, strict=True))
    return FormattedTable(card.name, card.title, card.note, names, columns, rows)


def _is_constant(column: str, values: pd.Series) -> bool:
    """Whether a column repeats what the page says above the tables: one scope, scale or search, or validation."""
    if column in ("scope", "scale", "search"):
        return values.nunique() <= 1
    return column == "selected_on" and not (values == ORACLE).any()


def _heading(card: TableCard, column: str) -> str:
    return card.column(column).heading or column.removeprefix("ood/").removeprefix("n_").replace("_", " ")


def _text(card: TableCard, column: str, value: Any, methods: Methods) -> str:
    if value is None:
        return NOTHING
    if column in ("method", "parent", "first", "second") and isinstance(value, str):
        return label(value, methods) if Entry.parse(value).method in methods else str(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    kind = card.column(column).format
    if kind == "general" and math.isfinite(value):
        return f"{value:.4g}"
    return amount(value, sign=kind == "points")


def bar(low: float | None, high: float | None, span: float, **points: float | None) -> dict[str, float]:
    """Ends of an interval and points on it by name, as x in % of the width of an axis; empty without an interval.

    Zero is at 50. What goes beyond the axis stands at its end.
    """
    if low is None or high is None or not math.isfinite(low + high):
        return {}
    places = {}
    for name, value in {"low": low, "high": high, **points}.items():
        if value is not None:
            places[name] = round(50 + 50 * max(-1.0, min(1.0, value / span)), 2)
    return places


def axis(of: Iterable[Part | VerdictNumber]) -> float:
    """Half the width of an axis around 0, a share of 1: the least round one that holds every interval but outliers.

    An interval reaches as far as its end that is farther from 0. Outliers are those beyond the whisker of a box plot of
    these reaches; they are cut at the end of the axis.
    """
    reaches = [0.0]
    for one in of:
        if one.low is not None and one.high is not None and math.isfinite(one.low + one.high):
            reaches.append(100 * max(-one.low, one.high))
    reached = np.array(reaches[1:] or reaches)
    lower, upper = np.quantile(reached, [0.25, 0.75])
    wanted = reached[reached <= upper + WHISKER * (upper - lower)].max()
    return next((step for step in STEPS if step >= wanted), STEPS[-1]) / 100


def kind_of(verdict: Verdict) -> str:
    """What a verdict's interval is of: contexts and accuracies have an axis each."""
    return "contexts" if verdict.number.metric == "context" else "accuracy"


def minus(text: str) -> str:
    """Words whose negative numbers have the minus sign that printers use."""
    return SIGN.sub("−", text)


def markdown(value: Any) -> Any:
    """A value as Markdown shows it: on one line, and never as markup, a table's bar or HTML."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    escaped = re.sub(r"([\\`*\[\]|])", r"\\\1", html.escape(value, quote=False))
    return " ".join(escaped.split())


TEX = str.maketrans(
    {
        **{c: f"\\{c}" for c in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "–": "--",
        "−": "$-$",
        "“": "``",
        "”": "''",
    }
)


def latex(value: Any) -> Any:
    """A value as LaTeX prints it: every special character escaped, on one line; minus signs set as such."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return " ".join(minus(value).translate(TEX).split())


def packed_json(content: Any) -> str:
    """``packed:`` and the base64 of the gzipped JSON of anything; a browser reads no NaN, so none is written."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return "packed:" + base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
