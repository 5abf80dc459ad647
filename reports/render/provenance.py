"""The cells of a folder, and where every number of the page comes from, as blocks of JSON for its script."""

import math
from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any

import numpy as np
import pandas as pd

from reports.judge.claims.claim import Verdict
from reports.judge.entry import label
from reports.judge.evidence import Evidence
from reports.judge.part import Part
from reports.render.formatting import FormattedTable, amount
from reports.render.tables.table import Tables, cells_of, rows_of, table_cards
from reports.render.words.page_words import maker_words, setting_line
from reports.render.words.verdict_words import computed_words, reason_words, variance_words

CELL_COLUMNS = (
    *(("cell", False), ("task", False), ("method", False), ("hyperparameters", False), ("seed", True)),
    *(("role", False), ("val", True), ("ID test", True), ("mean OOD", True), ("caution", False)),
)
#: metrics that the list of cells shows
LEVELS = ("val/top1", "test/top1", "ood/mean/top1")
#: facts on a row: (what, words)
Facts = list[tuple[str, str]]
#: numbers of a verdict or one of its parts: column -> heading
NUMBERS = {"effect": "points", "low": "low", "high": "high", "smallest_visible": "visible from"}


def cell_block(evidence: Evidence, cells: pd.DataFrame) -> dict[str, Any]:
    """The JSON block of all cells: columns and rows of their list, and the details of each. cells: their table."""
    rows, details = [], []
    for row in rows_of(cells):
        record, metrics = evidence.records[row["cell"]], evidence.metrics(row["cell"])
        method = f"{row['method']}({row['parent']})" if row["parent"] else row["method"]
        settings = " ".join(f"{name}={value:.4g}" for name, value in record.cell.hyperparameters.items())
        facts = (row["cell"], row["task"], label(method, evidence.methods), settings, str(row["seed"]), row["role"])
        levels = [amount(metrics.get(name), sign=False) for name in LEVELS]
        rows.append((*facts, *levels, row.get("caution", "")))
        details.append(
            {
                "command": row["command"],
                "setting": intern(setting_line(record.cell)),  # one text for all cells that have the same
                "maker": intern(maker_words(record.made_with)),
                "metrics": {name: _rounded(value) for name, value in metrics.items()},
                "parents": record.cell.parents,
            }
        )
    return {"columns": CELL_COLUMNS, "rows": rows, "details": details}


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def provenance(
    verdicts: Sequence[Verdict], made: Tables, tables: Sequence[FormattedTable], cells: Mapping[str, Any]
) -> dict[str, Any]:
    """What the page opens of a row. tables: those of ``made`` that it shows. cells: the block of all cells.

    Each table has, of every row in order, its address as in ``report why``, and the place of its list of cells in
    ``sets``. A list of cells holds the first place and then the steps from each to the next; cells without a record are
    left out. ``columns`` has of each column the place of its formula and the metric of the cells whose mean it is;
    None for a key. The verdicts and their parts have their numbers and workings too.
    """
    cell_places = {row[0]: place for place, row in enumerate(cells["rows"])}
    measured: set[str] = set()
    for detail in cells["details"]:
        measured.update(detail["metrics"])
    shown: dict[str, Sequence[str]] = {table.name: table.names for table in tables if table.rows}
    formulas: dict[str, int] = {}
    sets: dict[tuple[int, ...], int] = {}
    described = {}
    for name, names in (shown | dict.fromkeys(("claims", "verdicts"), tuple(NUMBERS))).items():
        card, rows = table_cards()[name], rows_of(made[name])
        columns: list[tuple[int, str | None] | None] = []
        for column in names:
            if column in card.keys:
                columns.append(None)
                continue
            metric = card.metric(column)
            columns.append((_place(formulas, card.formula(column)), metric if metric in measured else None))
        of_rows = [_place(sets, _steps(cells_of(row), cell_places)) for row in rows]
        described[name] = {"title": card.title, "keys": card.short_keys(rows), "columns": columns, "cells": of_rows}
    described["claims"] |= _workings([_of_verdict(verdict) for verdict in verdicts])
    parts = []
    for verdict in verdicts:
        parts += [_of_part(verdict, part) for part in verdict.parts]
    described["verdicts"] |= _workings(parts)
    return {"formulas": list(formulas), "sets": list(sets), "tables": described}


def _place(known: dict[Any, int], thing: Any) -> int:
    """The place of a thing in a list that holds each once."""
    return known.setdefault(thing, len(known))


def _steps(cells: Sequence[str], places: Mapping[str, int]) -> tuple[int, ...]:
    """The place of the first cell and the steps to the others. places: cell with a record -> its place."""
    return tuple(np.diff([places[cell] for cell in cells if cell in places], prepend=0).tolist())


def _of_verdict(verdict: Verdict) -> tuple[list[str], Facts]:
    """Numbers and facts of a verdict, those of the part that it shows among them."""
    facts: Facts = [("rule", verdict.asked.rule), ("verdict", reason_words(verdict))]
    if verdict.shown is None:
        return [], facts
    numbers, of_part = _of_part(verdict, verdict.shown)
    return numbers, facts + of_part


def _of_part(verdict: Verdict, part: Part) -> tuple[list[str], Facts]:
    """Numbers and facts of a part of a verdict."""
    unit = verdict.number.unit
    numbers = [amount(value, unit) for value in (part.estimate.effect, part.low, part.high)]
    visible = amount(part.estimate.smallest_visible(), unit, sign=False)
    computed, variance = ("computed", computed_words(part)), ("variance in points squared", variance_words(part))
    return [*numbers, visible], [("part", part.name), computed, variance]


def _workings(rows: Sequence[tuple[list[str], Facts]]) -> dict[str, Any]:
    """Numbers of verdicts or parts, and how they were computed."""
    values, facts = zip(*rows, strict=True) if rows else ((), ())
    return {"headings": list(NUMBERS.values()), "values": values, "facts": facts}
