"""`report why`: from a number to its formula, from there to the cells, from there to the commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from carft.catalog.resolve import command
from carft.core.errors import UserError, unknown
from carft.store.records import Store
from reports.build import sources_of
from reports.claims.claim import Verdict
from reports.claims.ledger import ledger
from reports.evidence.evidence import Evidence
from reports.render.formatting import amount, formatted
from reports.tables.table import INTERVAL, Sources, TableCard, rows_of, table_card, table_cards
from reports.words.tables_words import mean_words, setting_words
from reports.words.verdict_words import (
    computed_words,
    power_words,
    reason_words,
    shown_word,
    tuning_words,
    variance_rows,
)

Rows = list[dict[str, Any]]
#: metrics shown of the cells behind a claim
BEHIND_CLAIMS = ("val/top1", "test/top1", "test/context_top1", "ood/mean/top1", "ood/context_top1")
#: columns of the table of verdicts that are shown of the parts of a claim
PART_COLUMNS = ["part", "deciding", "metric", "effect", "low", "high", "margin", "n_tasks", "n_seeds", "n_groups"]
#: the folder in which a command makes a cell again: a fresh one, or nothing would be run
AGAIN = "again"


@dataclass(frozen=True)
class Chain:
    """Where a number comes from: plain values for JSON."""

    address: str
    facts: Mapping[str, str]
    tables: Mapping[str, Rows]
    """What the number is computed from."""
    cells: Rows
    """The cells that it rests on, each with the command that makes it again."""


def explain(store: Store, address: str, claims: str = "") -> Chain:
    """The chain of a claim (``CLAIM``, or ``CLAIM@SCOPE``) or of a number (``TABLE.ROW.COLUMN``).

    claims: a file of claims of one's own, or a shipped ledger, which are asked too. ``UserError`` with near misses for
    a name that is not there.
    """
    sources = sources_of(store, claims)
    name, dot, rest = address.partition(".")
    claim, _, scope = address.partition("@")
    known = list(ledger())
    known += [own.id for own in sources.own]
    if claim in known:
        return _chain_of_claim(sources, claim, scope)
    if not dot:
        for table in table_cards():
            known.append(f"{table}.ROW.COLUMN")
        raise unknown("claim or table", name, known)
    return _chain_of_number(sources, address, table_card(name), rest)


def _chain_of_number(sources: Sources, address: str, card: TableCard, rest: str) -> Chain:
    """That of a number of a table. rest: ROW.COLUMN."""
    table = sources.table(card.name)
    if table.empty:
        raise UserError(f"The table '{card.name}' is empty in this folder.")
    rows = card.addressed(rows_of(table))
    key, _, column = rest.rpartition(".")
    if rest in rows:
        raise UserError(f"'{card.name}.{rest}' is a row; which column?", f"It has: {', '.join(table.columns)}.")
    if key not in rows:
        raise unknown(f"row of table '{card.name}' ({'/'.join(card.keys)})", key or rest, rows)
    if column not in table:
        raise unknown(f"column of table '{card.name}'", column, table.columns)
    row, metric = rows[key], card.metric(column)
    cells = list(card.cells(sources, row))
    setting = {}
    for name in card.keys:
        if name in row:
            setting[name] = row[name]
    facts = {
        "table": f"{card.title} (tables/{card.name}.csv)",
        "row": setting_words(setting),
        "value": _value_words(row[column]),
        "formula": card.formula(column),
    }
    if row.get("caution"):
        facts["caution"] = str(row["caution"])
    tables: dict[str, Rows] = {}
    if metric is not None:
        measured = _measured(sources.evidence, cells, metric)
        facts["computed"] = f"nothing: no cell behind it has {metric}"  # a task without test set or suites
        if measured:
            tables["Cells"] = measured
            facts["computed"] = mean_words([of_cell[metric] for of_cell in measured])
    return Chain(address, facts, tables, _commands(sources, cells))


def _value_words(value: Any) -> str:
    """A value of a table as it is shown."""
    if isinstance(value, str):
        return value or "empty"
    return "-" if pd.isna(value) else repr(value)


def _measured(evidence: Evidence, cells: Sequence[str], metric: str) -> Rows:
    """The cells that have a metric, each with its seed and the metric."""
    rows = []
    for cell in cells:
        metrics = evidence.metrics(cell)
        if metric in metrics:
            rows.append({"cell": cell, "seed": evidence.seed(cell), metric: metrics[metric]})
    return rows


def _chain_of_claim(sources: Sources, name: str, scope: str) -> Chain:
    """That of a claim in a scope; without one, in the first."""
    by_scope = {}
    for verdict in sources.verdicts:
        if verdict.claim == name:
            by_scope[verdict.scope] = verdict
    if scope and scope not in by_scope:
        raise unknown(f"scope of {name}", scope, by_scope)
    verdict = by_scope.pop(scope or next(iter(by_scope)))
    asked = {
        "claim": verdict.asked.statement,
        "rule": verdict.asked.rule,
        "source": verdict.asked.source,
        "verdict": f"{shown_word(verdict)} (scale {verdict.scale}): {reason_words(verdict)}",
        "also asked of": ", ".join(f"{name}@{other}" for other in by_scope),
        "caution": "; ".join(verdict.cautions),
        "power": power_words(verdict),
        "tuning luck": tuning_words(verdict),
        "run": verdict.command,
    }
    facts = {}
    for what, words in asked.items():
        if words:
            facts[what] = words
    shown, number = verdict.shown, verdict.number
    if shown is None:
        if number.effect is not None:
            facts["number"] = f"{number.part}: {amount(number.effect, number.unit)} {number.unit}"
        return Chain(name, facts, {}, _commands(sources, verdict.cells))
    facts |= {
        "number": f"{shown.name}: {amount(shown.estimate.effect, number.unit)} {number.unit}",
        "formula": f"effect: {table_cards()['verdicts'].formulas['effect']}",
        "interval": INTERVAL,
        "computed": computed_words(shown),
        "a number of a part": f"verdicts.{verdict.scope}/{name}/{shown.name}.effect",
    }
    tables = {
        "Parts, in points": _part_rows(sources, verdict),
        f"Variance of {shown.name}, in points squared": variance_rows(shown),
        f"Cells of {shown.name}": [_cell_row(sources, cell, BEHIND_CLAIMS) for cell in shown.cells],
    }
    return Chain(name, facts, tables, _commands(sources, verdict.cells))


def _part_rows(sources: Sources, verdict: Verdict) -> Rows:
    """The rows of the table ``verdicts`` on a verdict, as people are shown them."""
    card, table = table_cards()["verdicts"], sources.table("verdicts")
    of_verdict = table[(table["claim"] == verdict.claim) & (table["scope"] == verdict.scope)]
    shown = formatted(card, of_verdict[PART_COLUMNS], sources.evidence.methods)
    headings, _ = zip(*shown.columns, strict=True)
    return [dict(zip(headings, row, strict=True)) for row in shown.rows]


def _cell_row(sources: Sources, name: str, shown: Sequence[str] = ()) -> dict[str, Any]:
    """A cell, and those of some metrics that it has."""
    cell = sources.evidence.records[name].cell
    row: dict[str, Any] = {"cell": name, "task": cell.task, "method": cell.method, "seed": cell.seed}
    if shown:
        metrics = sources.evidence.metrics(name)
        for metric in shown:
            if metric in metrics:
                row[metric] = metrics[metric]
    return row


def _commands(sources: Sources, cells: Sequence[str]) -> Rows:
    """The cells that are on record, each with the command that makes it again."""
    evidence = sources.evidence
    rows = []
    for name in cells:
        if name not in evidence.records:
            continue
        cell, opened = evidence.records[name].cell, name in sources.unsealings.openings
        # a post-hoc cell needs its parent's records; any other is made again in a folder of its own
        folder = evidence.store.name if cell.parents else AGAIN
        again = command(cell, folder, unseal=opened, catalog=evidence.archive.catalog)
        rows.append(_cell_row(sources, name) | {"command": again})
    return rows
