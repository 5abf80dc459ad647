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
from reports.render.formatting import mark_of
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
    cells = page.locator(f"table[data-table={table}] tbody tr:visible > :nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def values(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-")) for text in texts if text != "–"]


def test_the_first_screen_says_what_was_asked_what_came_out_and_how_far_to_trust_it(
    content: Content, open_page: Open
) -> None:
    page = open_page(content)
    page.set_viewport_size({"width": 1280, "height": 800})
    told = page.locator(".found li")
    assert [text.split(":")[0] for text in told.all_inner_texts()] == [s.topic for s in content.answer.sentences]
    for part in ("h1", ".found", ".opening img", ".trust", ".trust dl div:last-child"):
        box = page.locator(part).bounding_box()
        assert box["height"] > 0 and box["y"] >= 0 and box["y"] + box["height"] <= 800
    assert page.locator("main").count() == 1


def test_every_claim_has_a_row_with_its_answer(content: Content, open_page: Open) -> None:
    page = open_page(content)
    rows = {row.locator(".id").inner_text(): row.inner_text() for row in page.locator(".answers tbody tr").all()}
    assert set(rows) == set(ledger())
    for claim, verdict in content.claims:
        text = rows[claim.id]
        assert verdict.title in text and mark_of(verdict).words in text and verdict.scale in text
    untested = page.locator(".answers tr.untested").all_inner_texts()
    assert len(untested) == sum(verdict.verdict == "not run" for _, verdict in content.claims)
    assert all("python cli.py" in text for text in untested)
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


def test_the_words_of_a_filter_must_all_match_and_whole_cells_go_first(content: Content, open_page: Open) -> None:
    page = open_page(content)

    def shown(query: str) -> list[tuple[str, str]]:
        page.locator(".tools[data-for=tasks] input").fill(query)
        return list(zip(column(page, "tasks", 1), column(page, "tasks", 2), strict=True))

    assert shown("FT") == [("icons/tools", "FT"), (TASK, "FT")]
    assert shown("tools car-ft") == [("icons/tools", "CAR-FT")]
    assert [method for _, method in shown("wise ft transport")] == ["WiSE-FT of FT"]
    assert shown("WiSE-FT of CAR-FT") == [("icons/tools", "WiSE-FT of CAR-FT"), (TASK, "WiSE-FT of CAR-FT")]
    assert {task for task, _ in shown("ransp")} == {TASK}
    assert shown("transport nothing") == []


def test_tables_have_captions_and_row_headers_and_images_say_what_they_show(content: Content, open_page: Open) -> None:
    page = open_page(content)
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("tbody tr:not(:has(th[scope=row]))").count() == 0
    for image in page.locator("img").all():
        words = image.get_attribute("alt")
        assert words and words not in [text for plot in content.plots for text in (plot.title, plot.caption)]


def test_a_link_to_an_untested_claim_opens_it(content: Content, open_page: Open) -> None:
    page = open_page(content, "#claim-C11")
    assert page.locator("#claim-C11 dl").is_visible()


def test_open_verdicts_differ_from_decided_ones_without_colour(content: Content, open_page: Open) -> None:
    page = open_page(content)
    for row in page.locator(".answers tr:has(.bar)").all():
        is_open = "inconclusive" in row.inner_text() or "not decidable" in row.inner_text()
        style = row.locator(".range").evaluate("bar => getComputedStyle(bar).borderTopStyle")
        assert style == ("dashed" if is_open else "none")


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


@pytest.mark.parametrize("width", [320, 390])
def test_a_narrow_screen_needs_no_sideways_scrolling(content: Content, open_page: Open, width: int) -> None:
    page = open_page(content)
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_no_verdict_is_printed_over_its_number_on_a_phone(content: Content, open_page: Open) -> None:
    page = open_page(content)
    for width in (320, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for row in page.locator(".answers tbody tr:not(.untested)").all():
            said, number = (row.locator(part).bounding_box() for part in (".answer", ".number strong"))
            beside = said["x"] + said["width"] <= number["x"] or number["x"] + number["width"] <= said["x"]
            assert beside or said["y"] + said["height"] <= number["y"] or number["y"] + number["height"] <= said["y"]


CONTRAST = """selector => {
  const light = text => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255);
    const [r, g, b] = parts.map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.querySelector(selector));
  const pair = [style.color, getComputedStyle(document.body).backgroundColor].map(light).sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(content: Content, open_page: Open, scheme: str) -> None:
    page = open_page(content)
    page.emulate_media(color_scheme=scheme)
    for kind in (
        "reproduced",
        "contradicted",
        "inconclusive",
        "not-decidable-at-this-size",
        "not-run",
        "soft",
        "badge",
    ):
        page.evaluate("kind => document.querySelector('h1').className = kind", kind)
        assert page.evaluate(CONTRAST, "h1") >= 4.5, kind
    for part in ("body", "main a", ".trust dd", "dialog"):
        assert page.evaluate(CONTRAST, part) >= 4.5, part


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
