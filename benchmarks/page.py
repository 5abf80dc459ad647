"""Puts the figures of results.json into the tables of docs/performance.md, so that the page shows what was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measuring import ROOT

PAGE = ROOT / "docs" / "performance.md"
_TABLE = re.compile(r"<!-- (?P<theme>[a-z]+): begin -->\n.*?<!-- (?P=theme): end -->", re.DOTALL)
Line = Mapping[str, Any]
MET = {True: "yes", False: "**no**", None: ""}


def filled(text: str, lines: Sequence[Line]) -> str:
    """The page with the tables of ``lines``, which is what results.json holds, between the marks of each theme."""

    def body(found: re.Match[str]) -> str:
        theme = found["theme"]
        shown = table([line for line in lines if line["theme"] == theme])
        return f"<!-- {theme}: begin -->\n\n{shown}\n\n<!-- {theme}: end -->"

    return _TABLE.sub(body, text)


def table(lines: Sequence[Line]) -> str:
    """Figures of a theme in Markdown, and below them what they were measured on."""
    if not lines:
        return "Not measured."
    rows = ["| figure | measured | target | met | n | note |", "|---|---|---|---|---|---|"]
    for line in lines:
        measured = "not measured" if line["measured"] is None else f"{line['measured']:.3g} {line['unit']}"
        cells = (line["name"], measured, line["target"] or "", MET[line["met"]], line["n"], line["note"])
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*rows, "", _where(lines[0])])


def _where(line: Line) -> str:
    machine, versions = line["machine"], line["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "python")
    return (
        f"{line['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, load before "
        f"{machine['load_before']}; Python {versions['python']}, {packages}."
    )
