"""Puts what the faults cost together into a page: ``python -m tests.support.reliability MEASURED PAGE``."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def summary(measured: list[dict]) -> str:
    """What all faults cost together; many cells met several of them."""
    finished, lost, repeated = (sum(row[name] for row in measured) for name in ("finished", "lost", "repeated"))
    where = f"Ray {version('ray')}, Python {sys.version.split()[0]}, {os.cpu_count()} CPU cores, {time.strftime('%F')}"
    cost = f"{finished:,} finished cells met one: **{lost} lost, {repeated} repeated**"
    return f"{len(measured)} faults, {cost} ({where}).\n"


def main(measured: Path, page: Path) -> None:
    """Replace what stands between the two marks of the page."""
    rows = [json.loads(line) for line in measured.read_text().splitlines()]
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{summary(rows)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
