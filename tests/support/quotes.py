"""Numbers that a text quotes from a report: every link to a cell of a table is compared with the table.

Such a link names a table, a row and columns: ``[-3.0 (-6.1 to 0.0)](report/tables/claims.csv#CLAIM.effect,low,high)``.
Rows are named as in ``report why``; blanks are ``%20``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
from pandas.api.types import is_numeric_dtype

from carft.core.errors import UserError
from reports.render.tables.table import TableCard, points, rows_of, share, table_cards

_LINK = re.compile(
    r"\[(?P<text>[^\[\]]+)\]\(<?(?P<path>[^()#<>]*?)tables/(?P<table>\w+)\.csv#(?P<address>[^()<>]+)>?\)"
)
#: the table that audit/strength/tables.py makes
_STRENGTH = TableCard(
    "matched_strength",
    "Equal strength",
    "",
    lambda sources: pd.DataFrame(),
    ["what", "strength"],
    {
        **dict.fromkeys(("displacement_excess", "id", "ood", "contexts"), share()),
        **dict.fromkeys(("*_difference", "ood_low", "ood_high"), points()),
    },
)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_OTHER = re.compile(r"[^\n]")
_NUMBER = re.compile(r"[-−+]?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Quote:
    """One link. line: its line, from 1; path: the CSV file; address: ROW.COLUMN,COLUMN."""

    source: Path
    line: int
    text: str
    path: Path
    address: str

    @property
    def place(self) -> str:
        """File and line, and what is quoted."""
        return f"{self.source}:{self.line}: '{self.text}'"


def inlined(text: str) -> str:
    """A Markdown text whose reference links ``[text][name]`` are written with their targets, ``[text](target)``."""
    targets = dict(re.findall(r"^\[(\w+)\]: (\S+)$", text, re.MULTILINE))
    return re.sub(r"\]\[(\w+)\]", lambda link: f"]({targets[link[1]]})", text)


def quotes_of(source: Path) -> list[Quote]:
    """The links of a Markdown text to cells of tables, code left out."""
    text = inlined(source.read_text(encoding="utf-8"))
    return [
        Quote(
            source,
            text.count("\n", 0, link.start()) + 1,
            " ".join(link["text"].split()),
            source.parent / unquote(link["path"]) / "tables" / f"{link['table']}.csv",
            unquote(link["address"]),
        )
        for link in _LINK.finditer(_CODE.sub(lambda code: _OTHER.sub(" ", code[0]), text))
    ]


def differences(quote: Quote) -> Iterator[str]:
    """In what a quote is not what its table has; nothing for a quote that holds.

    A number holds when the value of the table rounds to it. Shares and points are quoted in percent and points, as the
    page shows them. A word holds when the text has it.
    """
    try:
        words, numbers = _values(quote)
    except UserError as missing:
        yield missing.message
        return
    yield from (f"{name} is '{word}'" for name, word in words.items() if word.casefold() not in quote.text.casefold())
    written = _NUMBER.findall(quote.text)
    if len(written) != len(numbers):
        yield f"it has {len(written)} numbers for {len(numbers)} columns"
        return
    for number, (name, value) in zip(written, numbers.items(), strict=True):
        if not _rounds_to(value, number):  # nor does a missing value
            yield f"{name} is {value:.6g}"


def _rounds_to(value: float, number: str) -> bool:
    """Whether a value, rounded to the decimals of a written number, is that number."""
    decimals, written = len(number.partition(".")[2]), float(number.replace("−", "-").replace(",", ""))
    return abs(value - written) <= 0.5 * 10**-decimals * (1 + 1e-9)


def _values(quote: Quote) -> tuple[dict[str, str], dict[str, float]]:
    """Column -> the words, and the numbers as they are quoted, of the row. ``UserError`` when there are none."""
    row, columns = quote.address.rpartition(".")[::2]
    card = {**table_cards(), _STRENGTH.name: _STRENGTH}.get(quote.path.stem)
    if card is None or not quote.path.is_file():
        raise UserError(f"there is no table {quote.path}")
    table, wanted = pd.read_csv(quote.path), columns.split(",")
    keys = [name for name in ("scope", *card.keys) if name in table]
    texts = [name for name in keys if not is_numeric_dtype(table[name]) or table[name].isna().all()]
    rows = card.addressed(rows_of(table.assign(**{name: table[name].astype(object).fillna("") for name in texts})))
    if row not in rows:
        raise UserError(f"{quote.path.name} has no row '{row}'")
    if missing := [name for name in wanted if name not in rows[row]]:
        raise UserError(f"{quote.path.name} has no column '{missing[0]}'")
    values = {name: rows[row][name] for name in wanted}
    words = {name: value for name, value in values.items() if isinstance(value, str)}
    is_points = rows[row].get("unit", "points") == "points"
    scales = {name: 100 if is_points and card.column(name).format != "general" else 1 for name in wanted}
    return words, {name: scales[name] * float(value) for name, value in values.items() if name not in words}
