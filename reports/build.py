"""Build a report: records in, a folder out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carft.errors import Refusal
from carft.records import Store
from reports import tables as make
from reports.audits import audit_tables
from reports.evidence import Evidence
from reports.figures import draw_all
from reports.page import Content, render_markdown, render_page
from reports.references import imagenet_references
from reports.verdicts import Verdict, verdicts


@dataclass(frozen=True)
class Built:
    """What a report left on disk."""

    page: Path
    paths: Sequence[Path]
    verdicts: Sequence[Verdict]


def build_report(store: Store, folder: Path) -> Built:
    """Write index.html, report.md, tables/*.csv and figures/*.png + *.svg; ``Refusal`` when nothing can be reported."""
    evidence = Evidence.of(store)
    if not evidence.tasks:
        raise Refusal(f"'{store.root}' holds no study.", "Run a sweep first: python cli.py sweep downstream")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(
            f"The report folder '{folder}' cannot be written: {error.strerror}.", "Give another --out."
        ) from error
    decided = verdicts(evidence)
    tables = _tables(evidence, decided)
    paths = [_write_csv(table, folder / "tables" / f"{name}.csv") for name, table in tables.items()]
    plots = draw_all(tables, evidence.scale, folder / "figures")
    content = Content.of(evidence, decided, tables, plots)
    page, markdown = folder / "index.html", folder / "report.md"
    page.write_text(render_page(content), encoding="utf-8")
    markdown.write_text(render_markdown(content), encoding="utf-8")
    return Built(page, [page, markdown, *paths, *(p for plot in plots for p in (plot.png, plot.svg))], decided)


def _tables(evidence: Evidence, decided: Sequence[Verdict]) -> dict[str, pd.DataFrame]:
    trials = make.trial_table(evidence)
    return {
        "tasks": make.task_table(evidence),
        "differences": make.difference_table(evidence),
        "verdicts": make.verdict_table(decided),
        "wise": make.curve_table(evidence),
        "trials": trials,
        "best_of_n": make.best_of_n_table(trials),
        "contexts": make.context_table(evidence),
        "history": make.history_table(evidence),
        "cells": make.cell_table(evidence),
        "references": imagenet_references(),
        **audit_tables(evidence, decided),
    }


def _write_csv(table: pd.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return path
