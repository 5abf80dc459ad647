"""`report why`: from a number to its formula, from there to the cells, from there to the commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from carft.config.cell import Cell
from carft.config.resolve import command
from carft.core.errors import UserError, unknown
from carft.store.records import Store
from reports.analysis.contrasts import Part
from reports.build import sources_of
from reports.claims.notes import computed_words, variance_rows
from reports.claims.own import claims_text, read_claims
from reports.claims.rules import ledger
from reports.evidence.results import report_catalog
from reports.render.formatting import amount, points, shown_part
from reports.tables.table import COPIED, INTERVAL, Sources, rows_of, table_card, table_cards

Rows = list[dict[str, Any]]
#: metrics shown of the cells behind a claim
BEHIND_CLAIMS = ("val/top1", "test/top1", "test/context_top1", "ood/mean/top1", "ood/context_top1")
#: the folder in which a command makes a cell again: a fresh one, or nothing would be run
AGAIN = "again"


@dataclass(frozen=True)
class Chain:
    """Where a number comes from. facts: words and values; tables: what it is computed from; cells: with commands."""

    address: str
    facts: Sequence[tuple[str, str]]
    tables: Mapping[str, Rows] = field(default_factory=dict)
    cells: Rows = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "facts": dict(self.facts)}


def explain(store: Store, address: str, claims: str = "") -> Chain:
    """The chain of a claim (``CLAIM``, or ``CLAIM@SCOPE``) or of a number (``TABLE.ROW.COLUMN``).

    claims: a file of claims of one's own, or a shipped ledger, which are asked too.
    ``UserError`` with near misses for a name that is not there.
    """
    name, dot, rest = address.partition(".")
    claim, _, scope = address.partition("@")
    own = read_claims(claims_text(claims), claims, report_catalog(store).methods)
    ids = [*ledger(), *(one.id for one in own)]
    if claim in ids:
        return _claim(sources_of(store, own), claim, scope)
    if not dot:
        raise unknown("claim or table", name, [*ids, *(f"{table}.ROW.COLUMN" for table in table_cards())])
    card = table_card(name)
    sources = sources_of(store, own)
    row, column = _found(sources, name, rest)
    formula = card.formula(column) or COPIED
    cells = list(card.cells(sources, row))
    facts = [
        ("table", f"{card.title} (tables/{name}.csv)"),
        ("row", ", ".join(f"{k} {row[k]}" for k in card.keys if k in row)),
        ("value", _value_words(row[column])),
        ("formula", formula.words),
    ]
    if row.get("caution"):
        facts.append(("caution", str(row["caution"])))
    rows: Rows = []
    if formula.metric is not None:
        measured = {c: m[formula.metric] for c in cells if formula.metric in (m := sources.evidence.metrics(c))}
        rows = [{"cell": c, "seed": sources.evidence.seed(c), formula.metric: value} for c, value in measured.items()]
        facts.append(("computed", _mean_words(list(measured.values()), formula.metric)))
    return Chain(address, facts, {"Cells": rows} if rows else {}, _commands(sources, cells))


def _value_words(value: Any) -> str:
    """A value of a table, unrounded; a dash where the table has none."""
    if isinstance(value, str):
        return value or "empty"
    return "-" if pd.isna(value) else repr(value)


def _mean_words(values: Sequence[float], metric: str) -> str:
    """How a mean over cells comes about; a task without test set or suites has no such metric."""
    if not values:
        return f"nothing: no cell behind it has {metric}"
    return f"({' + '.join(f'{v:.6g}' for v in values)}) / {len(values)} = {sum(values) / len(values):.6g}"


def _found(sources: Sources, name: str, rest: str) -> tuple[dict[str, Any], str]:
    """The row and column of an address."""
    card, table = table_cards()[name], sources.table(name)
    if table.empty:
        raise UserError(f"The table '{name}' is empty in this folder.")
    rows = card.addressed(rows_of(table))
    row, _, column = rest.rpartition(".")
    if rest in rows:
        raise UserError(f"'{name}.{rest}' is a row; which column?", f"It has: {', '.join(table.columns)}.")
    if row not in rows:
        raise unknown(f"row of table '{name}' ({'/'.join(card.keys)})", row or rest, rows)
    if column not in table:
        raise unknown(f"column of table '{name}'", column, table.columns)
    return rows[row], column


def _claim(sources: Sources, name: str, scope: str) -> Chain:
    by_scope = {v.scope: v for v in sources.verdicts if v.claim == name}
    if scope and scope not in by_scope:
        raise unknown(f"scope of {name}", scope, by_scope)
    verdict = by_scope[scope or next(iter(by_scope))]
    facts = [
        ("claim", verdict.asked.statement),
        ("rule", verdict.asked.rule),
        ("source", verdict.asked.source),
        ("verdict", f"{verdict.shown_word} (scale {verdict.scale}): {verdict.reason}"),
    ]
    if len(by_scope) > 1:
        others = [f"{name}@{other}" for other in by_scope if by_scope[other] is not verdict]
        facts.append(("also asked of", ", ".join(others)))
    details = (
        ("caution", verdict.caution),
        ("power", verdict.power),
        ("tuning luck", verdict.tuning),
        ("run", verdict.command),
    )
    facts += [(what, text) for what, text in details if text]
    shown, commands = shown_part(verdict), _commands(sources, verdict.cells)
    if shown is None:
        if verdict.effect is not None:
            facts.append(("number", f"{verdict.headline}: {amount(verdict.effect, verdict.unit)} {verdict.unit}"))
        return Chain(name, facts, {}, commands)
    facts += [
        ("number", f"{shown.name}: {amount(shown.estimate.effect, verdict.unit)} {verdict.unit}"),
        ("formula", f"effect: {table_cards()['verdicts'].formulas['effect'].words}"),
        ("interval", INTERVAL),
        ("computed", computed_words(shown)),
        ("a number of a part", f"verdicts.{verdict.scope}/{name}/{shown.name}.effect"),
    ]
    tables = {
        "Parts, in points": [_part_row(part) for part in verdict.parts],
        f"Variance of {shown.name}, in points squared": variance_rows(shown),
        f"Cells of {shown.name}": _cell_rows(sources, shown.cells),
    }
    return Chain(name, facts, tables, commands)


def _part_row(part: Part) -> dict[str, Any]:
    return {
        "part": part.name,
        "deciding": "yes" if part.deciding else "beside",
        "metric": part.metric,
        "effect": points(part.estimate.effect),
        "low": points(part.low),
        "high": points(part.high),
        "margin": points(part.margin) if part.deciding else "",
        "tasks": len(part.tasks),
        "seeds": part.estimate.n_seeds,
        "groups": part.estimate.n_groups,
    }


def _cell_rows(sources: Sources, cells: Sequence[str]) -> Rows:
    rows = []
    for name in cells:
        cell, metrics = sources.evidence.records[name].cell, sources.evidence.metrics(name)
        shown = {metric: metrics[metric] for metric in BEHIND_CLAIMS if metric in metrics}
        rows.append({"cell": name, **_what(sources, cell), **shown})
    return rows


def _what(sources: Sources, cell: Cell) -> dict[str, Any]:
    return {"task": cell.task, "method": cell.method, "seed": cell.seed}


def _commands(sources: Sources, cells: Sequence[str]) -> Rows:
    records, root = sources.evidence.records, sources.evidence.store.name
    catalog = sources.evidence.archive.catalog
    rows = []
    for name in (c for c in cells if c in records):
        cell = records[name].cell
        # a post-hoc cell needs its parent's records; any other is made again in a folder of its own
        folder, opened = root if cell.parents else AGAIN, name in sources.unsealings.openings
        again = command(cell, folder, unseal=opened, catalog=catalog)
        rows.append({"cell": name, **_what(sources, cell), "command": again})
    return rows
