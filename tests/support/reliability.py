"""Puts what the fault suite measured into a page: ``python -m tests.support.reliability MEASURED PAGE``."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def table(measured: list[dict]) -> str:
    """A line for every fault, and what they cost together."""
    numbers = ("all", "finished", "lost", "repeated")
    lines = ["| fault | cells of the sweep | finished when it happened | of these lost | of these repeated |"]
    lines += ["|---|---|---|---|---|"]
    lines += [f"| {row['fault']} | {' | '.join(str(row[name]) for name in numbers)} |" for row in measured]
    lost, repeated = (sum(row[name] for row in measured) for name in ("lost", "repeated"))
    lines += [f"| **{len(measured)} faults** | | | **{lost}** | **{repeated}** |"]  # many cells met several of them
    where = f"Ray {version('ray')}, Python {sys.version.split()[0]}, {os.cpu_count()} CPU cores"
    return "\n".join([*lines, "", f"Measured with {where}.", ""])


def main(measured: Path, page: Path) -> None:
    """Replace what stands between the two marks of the page."""
    rows = [json.loads(line) for line in measured.read_text().splitlines()]
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
