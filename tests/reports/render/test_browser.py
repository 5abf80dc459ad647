"""The page in a real headless Chromium: it loads without errors, sorts, filters, opens a cell, holds 10,000 cells.

Skipped where no browser is installed, and only there; CI installs Debian's.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright import sync_api

from carft.store.records import Store
from reports.build import redrawn, sources_of
from reports.claims.verdicts import ledger
from reports.render.page import PAGES, Content
from tests.support.helpers import TASK
from tests.support.planted import Plan, plant

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: longest wait in milliseconds, which only ends a hang
PATIENCE_MS = 600_000
PLAN = Plan(
    top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.65},
    context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8},
    seeds=(1, 2),
    groups=12,
    spread=0.1,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed, so the page was not tried in a browser"),
]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    root = tmp_path_factory.mktemp("page")
    store = Store(root / "results")
    plant(store, [TASK, "icons/tools"], PLAN)
    sources = sources_of(store)
    return Content.of(sources, redrawn(sources, root / "figures"), "fingerprint")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), timeout=PATIENCE_MS)
        yield started
        started.close()


Open = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a page from a file and sees to it that nothing was asked of a network and no error was reported."""
    complaints: list[str] = []
    asked: list[str] = []
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)

    def opened(content: Content, fragment: str = "") -> Any:
        path = tmp_path / "index.html"
        path.write_text(PAGES["index.html"](content), encoding="utf-8")
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri() + fragment)
        return page

    yield opened
    context.close()
    assert not complaints
    assert all(url.startswith(("file:", "data:")) for url in asked)


def column(page: Any, table: str, number: int) -> list[str]:
    cells = page.locator(f"table[data-table={table}] tbody tr:visible td:nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def values(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-")) for text in texts if text != "–"]


def test_the_first_screen_has_every_answer(content: Content, open_page: Open) -> None:
    page = open_page(content)
    rows = page.locator(".answers tbody tr")
    assert rows.count() == len(ledger())
    for row, (claim, verdict) in zip(rows.all(), content.claims, strict=True):
        text = row.inner_text()
        assert claim.id in text and verdict.verdict in text and verdict.scale in text
    assert page.locator("h1").bounding_box()["y"] < 200
    page.locator(".answers a").nth(2).click()
    assert page.url.endswith("#claim-C3")


def test_a_table_sorts_both_ways_and_filters(content: Content, open_page: Open) -> None:
    page = open_page(content)
    head = page.locator("table[data-table=tasks] th", has_text="ID test")
    number = 1 + [h.strip() for h in page.locator("table[data-table=tasks] th").all_inner_texts()].index("ID test")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    shown = values(column(page, "tasks", number))
    assert len(shown) == 10 and shown == sorted(shown)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert values(column(page, "tasks", number)) == shown[::-1]
    page.locator(".tools[data-for=tasks] input").fill("wise")
    assert column(page, "tasks", 2) and all("WiSE" in name for name in column(page, "tasks", 2))
    assert "4 of 10" in page.locator(".tools[data-for=tasks] output").inner_text()


def test_a_cell_opens_with_the_command_that_makes_it_again(content: Content, open_page: Open) -> None:
    page = open_page(content)
    page.locator(".tools[data-for=cells] input").fill("confirm")
    page.locator("table[data-table=cells] tbody button").first.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    assert re.match(r"python cli\.py train .*--unseal", dialog.locator("pre").inner_text())
    assert "test/top1" in dialog.locator(".metrics").inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_a_link_to_a_cell_opens_it(content: Content, open_page: Open) -> None:
    cell = content.claims[0][1].cells[0]
    page = open_page(content, f"#cell-{cell}")
    assert cell in page.locator("dialog h2").inner_text()


def test_the_plot_speaks_to_mouse_and_keyboard(content: Content, open_page: Open) -> None:
    page = open_page(content)
    points, said = page.locator(".plot .point"), page.locator("#said")
    points.nth(3).hover(force=True)
    assert said.inner_text() == points.nth(3).get_attribute("aria-label")
    points.nth(0).focus()
    page.keyboard.press("ArrowRight")
    assert said.inner_text() == points.nth(1).get_attribute("aria-label")
    page.locator("#pick").select_option(TASK)
    assert page.locator(".plot .point.on").count() == 5
    assert page.locator(".plot .curve.on").count() == 2


def test_a_narrow_screen_needs_no_sideways_scrolling(content: Content, open_page: Open) -> None:
    page = open_page(content)
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_paper_shows_what_was_closed(content: Content, open_page: Open) -> None:
    page = open_page(content)
    closed = "document.querySelectorAll('details:not([open])').length"
    before = page.evaluate(closed)
    assert before > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(closed) == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(closed) == before


def test_names_cannot_act(content: Content, open_page: Open) -> None:
    name = "</script><img src=x onerror=\"document.title='acted'\">"
    rows = [("f" * 16, name, *row[2:]) for row in content.cells["rows"]]
    problem = {"what": name, "where": name, "words": name}
    page = open_page(replace(content, cells={**content.cells, "rows": rows}, problems=[problem], rests_on=name))
    assert page.title() != "acted"
    assert name in page.locator("table[data-table=cells] tbody").inner_text()


def test_ten_thousand_cells_are_no_burden(content: Content, open_page: Open) -> None:
    times = 10_000 // len(content.cells["rows"]) + 1
    rows = [(f"{k:016x}", *row[1:]) for k, row in enumerate(list(content.cells["rows"]) * times)][:10_000]
    details = (list(content.cells["details"]) * times)[:10_000]
    page = open_page(replace(content, cells={**content.cells, "rows": rows, "details": details}))
    assert page.locator("table[data-table=cells] tbody tr").count() <= 50
    output = page.locator(".tools[data-for=cells] output")
    assert "of 10,000" in output.inner_text()
    page.locator(".tools[data-for=cells] button", has_text="Later").click()
    assert output.inner_text().startswith("51 to 100")
    page.locator("table[data-table=cells] th button", has_text="val").click()
    shown = values(column(page, "cells", 7))
    assert shown == sorted(shown) and len(shown) == 50
    page.locator(".tools[data-for=cells] input").fill(f"{9_999:016x}")
    assert column(page, "cells", 1) == [f"{9_999:016x}"]
    page.locator("table[data-table=cells] tbody button").click()
    assert page.locator("dialog").is_visible()
