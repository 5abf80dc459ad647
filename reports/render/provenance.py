"""The cells of a folder, and where every number of the page comes from, as blocks of JSON for its script."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from carft.config.cell import PROTOCOL, display_form
from carft.store.records import Provenance
from reports.analysis.contrasts import Part
from reports.claims.claim import Verdict
from reports.evidence.evidence import label
from reports.render.formatting import FormattedTable, amount
from reports.tables.table import Sources, rows_of, table_cards
from reports.words.verdict import computed_words, reason_words, variance_words

CELL_COLUMNS = (
    *(("cell", False), ("task", False), ("method", False), ("hyperparameters", False), ("seed", True)),
    *(("role", False), ("val", True), ("ID test", True), ("mean OOD", True), ("caution", False)),
)
#: numbers of a verdict or one of its parts: column -> heading
NUMBERS = {"effect": "points", "low": "low", "high": "high", "smallest_visible": "visible from"}


def cell_block(sources: Sources) -> dict[str, Any]:
    """The JSON block of all cells: columns and rows of their list, and the details of each."""
    evidence, seal = sources.evidence, sources.unsealings
    rows, details = [], []
    for row in rows_of(sources.table("cells")):
        record = evidence.records[row["cell"]]
        metrics = evidence.metrics(record.id) if record.id in seal.openings else record.metrics
        made_of = {evidence.records[p].cell.method for p in record.cell.parents if p in evidence.records}
        method = label(f"{row['method']}({made_of.pop()})" if len(made_of) == 1 else row["method"], evidence.methods)
        what = (row["cell"], row["task"], method, row["hyperparameters"], str(row["seed"]), seal.roles[record.id])
        shown_metrics = [amount(metrics.get(name), sign=False) for name in ("val/top1", "test/top1", "ood/mean/top1")]
        rows.append((*what, *shown_metrics, row.get("caution", "")))
        details.append(
            {
                "command": row["command"],
                "setting": _setting(record.cell.as_dict()),
                "maker": made_by(record.made_with),
                "metrics": {name: round(v, 4) if math.isfinite(v) else None for name, v in metrics.items()},
                "parents": record.cell.parents,
            }
        )
    return {"columns": CELL_COLUMNS, "rows": rows, "details": details}


def _setting(spec: Mapping[str, Any]) -> str:
    """The rest of a cell's specification in one line."""
    inner = {**spec["training"], **spec["reading"]}
    training = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in inner.items())
    model, weights = display_form(spec["model"], spec["pretrained"])
    return f"{model}, weights '{weights}', data {spec['data_version']}, {spec['precision']}; {training}" + "".join(
        f", {name.replace('_', ' ')} {spec[name]}" for name in PROTOCOL if name in spec
    )


def made_by(made: Provenance) -> str:
    """Versions and machine of a record in one line."""
    wanted = ("torch", "open_clip_torch", "ray")
    packages = ", ".join(f"{name} {version}" for name, version in made.packages.items() if name in wanted)
    cpu = " with ".join(made.cpu.values())  # earlier versions did not record it
    where = f"{made.execution.device}, {made.execution.workers} worker(s)" + (f" on {cpu}" if cpu else "")
    return (
        f"carft {made.carft} (NUMERICS {made.numerics}), Python {made.python}, {packages}; "
        f"{where}; data attested: {made.digests.get('attested', 'unknown')}"
    )


def provenance(sources: Sources, tables: Sequence[FormattedTable], cells: Mapping[str, Any]) -> dict[str, Any]:
    """What the page opens of a row. tables: those that it shows. cells: the block of all cells.

    Each table has, of every row in order, its address as in ``report why``, and the place of its list of cells in
    ``sets``. A list of cells holds the first place and then the steps from each to the next; cells without a record are
    left out. ``columns`` has of each column the place of its formula and the metric of the cells whose mean it is;
    None for a key. The verdicts and their parts have their numbers and workings too.
    """
    cell_places = {row[0]: k for k, row in enumerate(cells["rows"])}
    measured = {name for detail in cells["details"] for name in detail["metrics"]}
    formulas: dict[str, int] = {}
    sets: dict[tuple[int, ...], int] = {}
    described = {}
    columns_of = {table.name: table.names for table in tables if table.rows}
    for name, columns in {**columns_of, "claims": [*NUMBERS], "verdicts": [*NUMBERS]}.items():
        card, rows = table_cards()[name], rows_of(sources.table(name))
        of_columns, of_rows = [], []
        for column in columns:
            place, metric = formulas.setdefault(card.formula(column), len(formulas)), card.metric(column)
            of_columns.append(None if column in card.keys else (place, metric if metric in measured else None))
        for row in rows:
            places = [cell_places[cell] for cell in card.cells(sources, row) if cell in cell_places]
            steps = np.diff(places, prepend=0).tolist()
            of_rows.append(sets.setdefault(tuple(steps), len(sets)))
        keys = card.short_keys(rows)
        described[name] = {"title": card.title, "keys": keys, "columns": of_columns, "cells": of_rows}
    verdicts = sources.verdicts
    rules = [(v, v.shown, [("rule", v.asked.rule), ("verdict", reason_words(v))]) for v in verdicts]
    described["claims"] |= _numbers(rules)
    described["verdicts"] |= _numbers([(v, part, []) for v in verdicts for part in v.parts])
    return {"formulas": list(formulas), "sets": list(sets), "tables": described}


def _numbers(rows: Sequence[tuple[Verdict, Part | None, list[tuple[str, str]]]]) -> dict[str, Any]:
    """The numbers of verdicts or of their parts, and how they were computed; none without a part.

    rows: (verdict, part, what stands before how its numbers were computed).
    """
    values = []
    for verdict, part, of_row in rows:
        shown = (part.estimate.effect, part.low, part.high) if part else ()
        values.append([amount(value, verdict.number.unit) for value in shown])
        if part:
            values[-1].append(amount(part.estimate.smallest_visible(), verdict.number.unit, sign=False))
            of_row += [("part", part.name), ("computed", computed_words(part))]
            of_row += [("variance in points squared", variance_words(part))]
    return {"headings": list(NUMBERS.values()), "values": values, "facts": [of_row for *_, of_row in rows]}
