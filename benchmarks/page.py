"""Puts the figures of results.json into the tables of docs/performance.md, so that the page shows what was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT

PAGE = ROOT / "docs" / "performance.md"
_TABLE = re.compile(r"<!-- (?P<theme>[a-z]+): begin -->\n.*?<!-- (?P=theme): end -->", re.DOTALL)
MET = {True: "yes", False: "**no**", None: ""}


def write_page(content: Mapping[str, Any], page: Path = PAGE) -> None:
    """Replace what stands between the marks of each theme."""
    page.write_text(filled(page.read_text(encoding="utf-8"), content), encoding="utf-8")


def filled(text: str, content: Mapping[str, Any]) -> str:
    """The page with the tables of ``content``, which is what results.json holds."""

    def table(found: re.Match[str]) -> str:
        theme = found["theme"]
        lines = [line for line in content["results"] if line["theme"] == theme]
        body = _machine(content) if theme == "machine" else _table(lines)
        return f"<!-- {theme}: begin -->\n\n{body}\n\n<!-- {theme}: end -->"

    return _TABLE.sub(table, text)


def _table(lines: Sequence[Mapping[str, Any]]) -> str:
    rows = ["| figure | measured | target | met | n | note |", "|---|---|---|---|---|---|"]
    for line in lines:
        measured = "not measured" if line["measured"] is None else f"{line['measured']:.3g} {line['unit']}"
        cells = (line["name"], measured, line["target"] or "", MET[line["met"]], line["n"], line["note"])
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def _machine(content: Mapping[str, Any]) -> str:
    machine, versions = content["machine"], content["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "python")
    return (
        f"Measured on {content['date']}: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"load before {machine['load_before']}; Python {versions['python']}, {packages}."
    )
