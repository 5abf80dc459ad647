"""`report why`: from a number to its formula, from there to the cells, from there to the commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from carft.catalog.resolve import command
from carft.core.errors import UserError, unknown
from carft.store.records import Store
from reports.judge.claims.claim import Verdict
from reports.judge.findings import Findings
from reports.pipeline import findings_of
from reports.render.formatting import amount, formatted
from reports.render.tables.table import INTERVAL, PAIRED, cells_of, rows_of, table_card, table_cards
from reports.render.words.page_words import mean_words, setting_words
from reports.render.words.verdict_words import (
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
    """The cells that it rests on, each with its numbers and the command that makes it again."""


def explain(store: Store, address: str) -> Chain:
    """The chain of a claim (``CLAIM``, or ``CLAIM@SCOPE``) or of a number (``TABLE.ROW.COLUMN``).

    ``UserError`` with near misses for a name that is not there.
    """
    findings = findings_of(store)
    name, dot, rest = address.partition(".")
    if dot and name in table_cards():
        return _chain_of_number(findings, address, name, rest)
    claim, _, scope = address.partition("@")
    by_claim: dict[str, dict[str, Verdict]] = {}
    for verdict in findings.verdicts:
        by_claim.setdefault(verdict.claim, {})[verdict.scope] = verdict
    if claim in by_claim:
        return _chain_of_claim(findings, by_claim[claim], claim, scope)
    known = list(by_claim)
    for table in table_cards():
        known.append(table if dot else f"{table}.ROW.COLUMN")
    raise unknown("claim or table", name, known)


def _chain_of_number(findings: Findings, address: str, name: str, rest: str) -> Chain:
    """The chain of a number of a table. rest: ROW.COLUMN."""
    card = table_card(name)
    table = card.frame(findings)
    if table.empty:
        raise UserError(f"The table '{name}' is empty in this folder.")
    rows = card.addressed(rows_of(table))
    key, _, column = rest.rpartition(".")
    if rest in rows:
        raise UserError(f"'{name}.{rest}' is a row; which column?", f"It has: {', '.join(table.columns)}.")
    if key not in rows:
        raise unknown(f"row of table '{name}' ({'/'.join(card.keys)})", key or rest, rows)
    if column not in table:
        raise unknown(f"column of table '{name}'", column, table.columns)
    row, metric = rows[key], card.metric(column)
    facts = {
        "table": f"{card.title} (tables/{name}.csv)",
        "row": setting_words({key: row[key] for key in card.keys if key in row}),
        "value": _value_words(row[column]),
        "formula": card.formula(column),
    }
    if row.get("caution"):
        facts["caution"] = str(row["caution"])
    cells = _cells(findings, cells_of(row), [metric] if metric else [])
    if metric:
        values = [cell[metric] for cell in cells if metric in cell]
        facts["computed"] = f"nothing: no cell behind it has {metric}"  # a task without test set or suites
        if values:
            facts["computed"] = mean_words(values)
    return Chain(address, facts, {}, cells)


def _value_words(value: Any) -> str:
    """A value of a table as it is shown."""
    if isinstance(value, str):
        return value or "empty"
    return "-" if pd.isna(value) else repr(value)


def _chain_of_claim(findings: Findings, by_scope: Mapping[str, Verdict], name: str, scope: str) -> Chain:
    """The chain of a claim in a scope; without a scope, in the first."""
    if scope and scope not in by_scope:
        raise unknown(f"scope of {name}", scope, by_scope)
    verdict = by_scope[scope or next(iter(by_scope))]
    shown, number = verdict.shown, verdict.number
    others = [f"{name}@{other}" for other in by_scope if other != verdict.scope]
    asked = {
        "claim": verdict.asked.statement,
        "rule": verdict.asked.rule,
        "source": verdict.asked.source,
        "verdict": f"{shown_word(verdict)} (scale {verdict.scale}): {reason_words(verdict)}",
        "also asked of": ", ".join(others),
        "caution": "; ".join(verdict.cautions),
        "power": power_words(verdict),
        "tuning luck": tuning_words(verdict),
        "run": verdict.command,
    }
    if number.effect is not None:
        asked["number"] = f"{number.part}: {amount(number.effect, number.unit)} {number.unit}"
    tables: dict[str, Rows] = {}
    if shown is not None:
        asked |= {
            "formula": f"effect: {PAIRED}",
            "interval": INTERVAL,
            "computed": computed_words(shown),
            "a number of a part": f"verdicts.{verdict.scope}/{name}/{shown.name}.effect",
        }
        tables["Parts, in points"] = _part_rows(findings, verdict)
        tables[f"Variance of {shown.name}, in points squared"] = variance_rows(shown)
    facts = {what: words for what, words in asked.items() if words}
    return Chain(name, facts, tables, _cells(findings, verdict.cells, BEHIND_CLAIMS))


def _part_rows(findings: Findings, verdict: Verdict) -> Rows:
    """The rows of the table ``verdicts`` on a verdict, as people are shown them."""
    card = table_cards()["verdicts"]
    table = card.frame(findings)
    of_verdict = table[(table["claim"] == verdict.claim) & (table["scope"] == verdict.scope)]
    shown = formatted(card, of_verdict[PART_COLUMNS], findings.evidence.methods)
    return rows_of(pd.DataFrame(shown.rows, columns=list(dict(shown.columns))))


def _cells(findings: Findings, cells: Sequence[str], metrics: Sequence[str]) -> Rows:
    """The cells that are on record, each with those of some metrics that it has and the command that makes it again."""
    evidence = findings.evidence
    rows = []
    for name in cells:
        if name not in evidence.records:
            continue
        cell, reached = evidence.records[name].cell, evidence.metrics(name)
        row: dict[str, Any] = {"cell": name, "task": cell.task, "method": cell.method, "seed": cell.seed}
        for metric in metrics:
            if metric in reached:
                row[metric] = reached[metric]
        # a post-hoc cell needs its parent's records; any other is made again in a folder of its own
        folder, opened = evidence.store.name if cell.parents else AGAIN, name in findings.unsealings.openings
        row["command"] = command(cell, folder, unseal=opened, catalog=evidence.folder.catalog)
        rows.append(row)
    return rows
