"""Benchmarks: python -m benchmarks [THEME ...]

Without a theme it measures what a change can slow down, in 8 minutes on two idle cores. ``cells`` (a whole sweep) and
``folders`` (10,000 cells) take as long again; the themes behind them are absolute times and comparisons, kept for their
trend. ``all`` measures every theme, for hours. Prints a table, writes benchmarks/results.json and fills the figures of
docs/performance.md. A theme that is measured replaces its own figures there and leaves the others.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from pathlib import Path

from benchmarks.measuring import machine, versions
from benchmarks.page import PAGE, filled, table

#: themes that are measured by default
TARGETS = (
    "steps",
    "loop",
    "data",
    "input",
    "index",
    "evaluation",
    "checkpoints",
    "startup",
    "growth",
    "feeding",
)
THEMES = (*TARGETS, "cells", "folders", "settings", "opening", "hundred_thousand", "gpu", "tuning")
RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    """Measure the themes, show and keep what they came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "themes", nargs="*", metavar="THEME", help=f"of {', '.join(THEMES)}, or all; default: the first {len(TARGETS)}"
    )
    chosen = parser.parse_args().themes or list(TARGETS)
    if chosen == ["all"]:
        chosen = list(THEMES)
    if unknown := [theme for theme in chosen if theme not in THEMES]:
        parser.error(f"there is no theme {unknown[0]}; there are {', '.join(THEMES)}")
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    for theme in chosen:
        started, when = time.perf_counter(), time.strftime("%Y-%m-%d", time.gmtime())
        on = {"date": when, "machine": machine(), "versions": versions()}
        found = importlib.import_module(f"benchmarks.{theme}").measure()
        lines = [{"theme": theme, **figure.as_dict(), **on} for figure in found]
        print(table(lines))
        print(f"{theme}: {time.perf_counter() - started:.0f} s")
        kept = [line for line in kept if line["theme"] != theme] + lines
        kept.sort(key=lambda line: THEMES.index(line["theme"]))
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), kept), encoding="utf-8")


if __name__ == "__main__":
    main()
