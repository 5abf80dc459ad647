"""The cells of a folder, and where every number of the page comes from, as blocks of JSON for its script."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from carft.config.cell import PROTOCOL
from carft.config.weights import display_form
from reports.analysis.contrasts import Part
from reports.claims.claim import Verdict
from reports.claims.notes import computed_words, variance_words
from reports.evidence.evidence import label
from reports.render.formatting import FormattedTable, amount, points, shown_part
from reports.tables.table import COPIED, Formula, Sources, rows_of, table_cards

CELL_COLUMNS = (
    *(("cell", False), ("task", False), ("method", False), ("hyperparameters", False), ("seed", True)),
    *(("role", False), ("val", True), ("ID test", True), ("mean OOD", True), ("caution", False)),
)
#: numbers of a verdict or one of its parts: column -> heading
NUMBERS = {"effect": "points", "low": "low", "high": "high", "smallest_visible": "visible from"}


def cell_block(sources: Sources) -> dict[str, Any]:
    """The JSON block of all cells: rows of the table and their details. Repeated values are stored once."""
    evidence, seal = sources.evidence, sources.unsealings
    settings: dict[str, int] = {}
    makers: dict[str, int] = {}
    names: dict[str, int] = {}
    rows, details = [], []
    for row in rows_of(sources.table("cells")):
        record = evidence.records[row["cell"]]
        metrics = evidence.metrics(record.id) if record.id in seal.openings else record.metrics
        made_of = {evidence.records[p].cell.method for p in record.cell.parents if p in evidence.records}
        method = label(f"{row['method']}({made_of.pop()})" if len(made_of) == 1 else row["method"], evidence.methods)
        what = (row["cell"], row["task"], method, row["hyperparameters"], str(row["seed"]), seal.roles[record.id])
        shown_metrics = [points(metrics.get(name), sign=False) for name in ("val/top1", "test/top1", "ood/mean/top1")]
        rows.append((*what, *shown_metrics, row.get("caution", "")))
        values = [[place_of(n, names), round(v, 4) if math.isfinite(v) else None] for n, v in metrics.items()]
        setting = place_of(_setting(record.cell.as_dict()), settings)
        details.append(
            (row["command"], setting, place_of(made_by(record.provenance), makers), values, record.cell.parents)
        )
    block = {"settings": list(settings), "makers": list(makers), "metrics": list(names)}
    return {"columns": CELL_COLUMNS, "rows": rows, "details": details, **block}


def place_of(value: Any, places: dict[Any, int]) -> int:
    """The place of a value among distinct ones; a new one is the last."""
    return places.setdefault(value, len(places))


def _setting(spec: Mapping[str, Any]) -> str:
    """The rest of a cell's specification in one line."""
    inner = {**spec["training"], **spec["reading"]}
    training = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in inner.items())
    model, weights = display_form(spec["model"], spec["pretrained"])
    return f"{model}, weights '{weights}', data {spec['data_version']}, {spec['precision']}; {training}" + "".join(
        f", {name.replace('_', ' ')} {spec[name]}" for name in PROTOCOL if name in spec
    )


def made_by(provenance: Mapping[str, Any]) -> str:
    """Versions and machine of a record in one line."""
    wanted = ("torch", "open_clip_torch", "ray")
    packages = ", ".join(f"{k} {v}" for k, v in provenance["packages"].items() if k in wanted)
    execution, attested = provenance["execution"], provenance["digests"].get("attested", "unknown")
    cpu = " with ".join(provenance.get("cpu", {}).values())  # earlier versions did not record it
    where = f"{execution['device']}, {execution['workers']} worker(s)" + (f" on {cpu}" if cpu else "")
    return (
        f"carft {provenance['carft']} (NUMERICS {provenance['numerics']}), Python {provenance['python']}, {packages}; "
        f"{where}; data attested: {attested}"
    )


def provenance(sources: Sources, tables: Sequence[FormattedTable], cells: Mapping[str, Any]) -> dict[str, Any]:
    """What the page opens of a row. tables: those that it shows. cells: the block of all cells.

    Each table has, of every row in order, its address as in ``report why``, and the place of its list of cells in
    ``sets``. A list of cells holds the first place and then the steps from each to the next; cells without a record are
    left out. ``columns`` has of each column the places of its formula and of the metric of the cells whose mean it is;
    None for a key. The verdicts and their parts have their numbers and workings too.
    """
    cell_places = {row[0]: k for k, row in enumerate(cells["rows"])}
    metrics = {name: k for k, name in enumerate(cells["metrics"])}
    formulas: dict[str, int] = {}
    sets: dict[tuple[int, ...], int] = {}

    def formula(of: Formula) -> tuple[int, int | None]:
        return place_of(of.words, formulas), metrics.get(of.metric or "")

    def rows(name: str, cells_of_rows: Iterable[Iterable[str]]) -> dict[str, Any]:
        card, places = table_cards()[name], []
        for names in cells_of_rows:
            used = [cell_places[cell] for cell in names if cell in cell_places]
            places.append(place_of(tuple(b - a for a, b in zip([0, *used], used, strict=False)), sets))
        return {"title": card.title, "keys": card.short_keys(rows_of(sources.table(name))), "cells": places}

    found = {}
    for shown in (table for table in tables if table.rows):
        card = table_cards()[shown.name]
        columns = [None if name in card.keys else formula(card.formula(name) or COPIED) for name in shown.names]
        of_rows = (card.cells(sources, row) for row in rows_of(sources.table(shown.name)))
        found[shown.name] = {"columns": columns, **rows(shown.name, of_rows)}
    verdicts = [(verdict, shown_part(verdict)) for verdict in sources.verdicts]
    parts = [(verdict, part) for verdict in sources.verdicts for part in verdict.parts]
    rules = [[("rule", verdict.asked.rule), ("verdict", verdict.reason)] for verdict, _ in verdicts]
    for name, pairs, facts, used in (
        ("claims", verdicts, rules, [verdict.cells for verdict, _ in verdicts]),
        ("verdicts", parts, [[] for _ in parts], [part.cells for _, part in parts]),
    ):
        found[name] = {
            "headings": list(NUMBERS.values()),
            "columns": [formula(table_cards()[name].formulas[column]) for column in NUMBERS],
            "values": [_values(verdict, part) for verdict, part in pairs],
            "facts": [[*of_row, *_workings(part)] for of_row, (_, part) in zip(facts, pairs, strict=True)],
            **rows(name, used),
        }
    return {"formulas": list(formulas), "sets": list(sets), "tables": found}


def _values(verdict: Verdict, part: Part | None) -> list[str]:
    """The numbers of ``NUMBERS`` as the page shows them; none without a part."""
    if part is None:
        return []
    shown = [amount(value, verdict.unit) for value in (part.estimate.effect, part.low, part.high)]
    return [*shown, amount(part.estimate.smallest_visible(), verdict.unit).lstrip("+")]


def _workings(part: Part | None) -> list[tuple[str, str]]:
    if part is None:
        return []
    variance = ("variance in points squared", variance_words(part))
    return [("part", part.name), ("computed", computed_words(part)), variance]
