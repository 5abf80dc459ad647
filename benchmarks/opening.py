"""How large the page of a report of 10,000 cells is, and how long Chromium takes to open it and to answer a click.

By itself: python -m benchmarks.opening --report FOLDER, for the page of a report that is there.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.measuring import Figure
from benchmarks.report import PLAN, plant_many
from carft.store.records import Store
from reports.pipeline import build_report
from tests.support.browsing import CHROMIUM, FLAGS, PATIENCE_MS

CELLS = 10_000
TASKS = ("icons-3/mix-7", "icons-3/mix-6")
OPENED = 3
#: milliseconds from the start of the navigation until every script of the page has run and it was painted
OPEN = """() => new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"""
#: milliseconds from a click on the last row of the trials until its provenance is open
ASK = """async () => {
  const started = performance.now();
  document.querySelector("table[data-table=trials] tbody th button").click();
  while (!document.getElementById("why").open) await new Promise(done => setTimeout(done));
  return performance.now() - started;
}"""


def measure() -> list[Figure]:
    """Size, time to open and time to answer, of a report that is planted and built for it."""
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch) / "results")
        plant_many(store, CELLS, replace(PLAN, seeds=range(1, 3)), TASKS)
        return figures(build_report(store, Path(scratch) / "report").page)


def figures(page: Path) -> list[Figure]:
    """The figures of a page on disk."""
    size = Figure("page of 10,000 cells", page.stat().st_size / 1e6, "<= 5", unit="MB")
    if CHROMIUM is None:
        return [size, Figure("the page opens in", None, None, unit="s", note="no Chromium is installed")]
    opened, asked = zip(*(_opened(page) for _ in range(OPENED)), strict=True)
    took = ", ".join(f"{seconds:.2f}" for seconds in opened)
    return [
        size,
        Figure("the page opens in", statistics.median(opened), None, OPENED, "s", f"wall clock: {took}"),
        Figure("a row of it says where it comes from in", statistics.median(asked), None, OPENED, "s"),
    ]


def _opened(page: Path) -> tuple[float, float]:
    """Seconds to open a page in a fresh browser, and to open the provenance of a row."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), timeout=PATIENCE_MS)
        tab: Any = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.set_default_timeout(PATIENCE_MS)
        tab.goto(page.resolve().as_uri())
        times = tab.evaluate(OPEN) / 1000, tab.evaluate(ASK) / 1000
        browser.close()
    return times


def main() -> None:
    """Measure the page of a report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, required=True, help="A folder that `report` wrote.")
    for figure in figures(parser.parse_args().report / "index.html"):
        print(f"{figure.name}: {figure.measured} {figure.unit} {figure.note}")


if __name__ == "__main__":
    main()
