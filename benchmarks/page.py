"""Writes the figures of results.json into docs/performance.md, so that the page shows what was measured.

A figure on the page is a link, ``[TEXT](../benchmarks/results.json#THEME/NAME)`` with the name percent-encoded. The
words around it are written by hand, its text is written here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from benchmarks.measuring import ROOT

PAGE = ROOT / "docs" / "performance.md"
FIGURE = re.compile(r"(?<=\[)[^\[\]]*(?=\]\(\.\./benchmarks/results\.json#(?P<figure>[^)]+)\))")
Line = Mapping[str, Any]
MET = {True: "yes", False: "**no**", None: ""}


def filled(text: str, lines: Sequence[Line]) -> str:
    """The page with every linked figure as ``lines``, which is what results.json holds, have it."""
    figures = {f"{line['theme']}/{line['name']}": line for line in lines}
    return FIGURE.sub(lambda link: _text(figures.get(unquote(link["figure"]))), text)


def linked(text: str) -> set[str]:
    """The figures that a page links to, as ``THEME/NAME``."""
    return {unquote(link["figure"]) for link in FIGURE.finditer(text)}


def _text(line: Line | None) -> str:
    """A figure with half of its interval, its target in parentheses, and whether that is missed."""
    if line is None or line["measured"] is None:
        measured = "not measured"
    elif line["half_width"] is not None:
        measured = f"{line['measured']:z.2f} ± {line['half_width']:.2f}"
    else:
        measured = f"{line['measured']:.3g}"
    if line is None or line["target"] is None:
        return measured
    target = line["target"].replace(">= ", "≥").replace("<= ", "≤")
    return f"{measured} ({'missed: ' if line['met'] is False else ''}{target})"


def table(lines: Sequence[Line]) -> str:
    """Figures of a theme in Markdown, and below them what they were measured on."""
    rows = ["| figure | measured | target | met | n | note |", "|---|---|---|---|---|---|"]
    for line in lines:
        measured = "not measured" if line["measured"] is None else f"{line['measured']:.3g} {line['unit']}"
        half = "" if line["half_width"] is None else f" ± {line['half_width']:.2g}"
        cells = (line["name"], measured + half, line["target"] or "", MET[line["met"]], line["n"], line["note"])
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*rows, "", _where(lines[0])])


def _where(line: Line) -> str:
    machine, versions = line["machine"], line["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "python")
    return (
        f"{line['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, load before "
        f"{machine['load_before']}, a million additions in Python {machine['loop_ms']} ms; "
        f"Python {versions['python']}, {packages}."
    )
