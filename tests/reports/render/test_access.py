"""The page for every reader: keyboard, screen reader, phone, dark scheme, paper, no script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.render.page import Content
from tests.support.browsing import IN_A_BROWSER, Open, contrast, contrasts

pytestmark = IN_A_BROWSER

#: axe-core of Deque Systems (npm axe-core 4.14.1, MPL-2.0)
AXE = Path(__file__).parents[2] / "support" / "vendor" / "axe-4.14.1.min.js"
#: axe's names of WCAG 2.2 AA; in the dark scheme and on a phone, what these two change
STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WHOLE, NARROW = STANDARD, ["color-contrast", "target-size", "scrollable-region-focusable"]
#: rows of a table of data are alike, and axe takes most of its time for their contrast
SHORTER = """for (const body of document.querySelectorAll('table[data-table] tbody'))
  [...body.rows].slice(4).forEach(row => row.remove());"""
OPEN_ALL = "document.querySelectorAll('details').forEach(d => { d.open = true; })"


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_the_first_figure_is_whole_others_scroll_and_nothing_is_wider_or_overprinted(
    content: Content, open_page: Open, width: int
) -> None:
    page = open_page(content)
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(OPEN_ALL)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    first = page.locator("#figure-answer .wide-picture")
    assert first.evaluate("box => box.scrollWidth <= box.clientWidth")
    assert first.locator("img").evaluate("i => i.currentSrc !== i.src && i.naturalHeight > i.naturalWidth")
    box = page.locator("#figure-differences .wide-picture")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    assert box.locator("img").evaluate("i => i.clientWidth >= Math.min(480, i.naturalWidth - 1)")
    for name in page.locator(".answers tr.asked .id").all():
        assert (
            name.evaluate("i => i.nextElementSibling.getClientRects()[0].left - i.getBoundingClientRect().right") >= 6
        )
    assert page.locator("#figure-differences .only-narrow").is_visible()
    for row in page.locator(".answers tr.asked").all():
        said, number = (row.locator(part).bounding_box() for part in (".answer", ".number strong"))
        beside = said["x"] + said["width"] <= number["x"] or number["x"] + number["width"] <= said["x"]
        assert beside or said["y"] + said["height"] <= number["y"] or number["y"] + number["height"] <= said["y"]


@pytest.mark.parametrize(
    ("scheme", "width", "rules"), [("light", 1280, WHOLE), pytest.param("dark", 390, NARROW, marks=pytest.mark.full)]
)
def test_axe_finds_nothing_at_wcag_2_2_aa_and_what_it_cannot_decide_on_contrast_is_measured(
    content: Content, open_page: Open, scheme: str, width: int, rules: list[str]
) -> None:
    page = open_page(content)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(OPEN_ALL)
    page.evaluate(SHORTER)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    # of what passes one element a rule is enough
    asked = {"runOnly": rules, "resultTypes": ["violations", "incomplete"]}
    found = page.evaluate("asked => axe.run(asked)", asked)
    assert found["passes"]
    assert [(v["id"], v["nodes"][0]["html"][:200], v["nodes"][0]["failureSummary"]) for v in found["violations"]] == []
    (undecided,) = (rule["nodes"] for rule in found["incomplete"] if rule["id"] == "color-contrast")
    ratios = contrasts(page, [node["target"][0] for node in undecided])
    assert [node["html"][:200] for node, ratio in zip(undecided, ratios, strict=True) if ratio < 4.5] == []


def test_by_keyboard_alone_the_content_a_claim_a_cell_and_a_number_are_reached(
    content: Content, open_page: Open
) -> None:
    page = open_page(content)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    box = page.locator(".skip").bounding_box()
    assert box["x"] >= 0 and box["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")

    page.locator(".answers tbody th > a[href='#claim-C3']").focus()
    page.keyboard.press("Enter")
    assert page.locator("#claim-C3 dl").is_visible()
    page.locator("#claim-C3 button", has_text="Rests on").press("Enter")
    page.locator("#why[open] li a").first.press("Enter")
    page.locator("#cell[open]").wait_for()
    assert page.evaluate("document.querySelector('dialog').scrollTop") == 0
    assert page.evaluate("document.activeElement.id") == "cell-title"

    page = open_page(content, "#table-tasks")
    page.locator("table[data-table=tasks] tbody button").first.focus()
    page.keyboard.press("ArrowRight")
    column = page.evaluate("document.activeElement.cellIndex")
    heading = page.locator("table[data-table=tasks] thead th").nth(column).inner_text().strip()
    number = page.evaluate("document.activeElement.textContent.trim()")
    page.keyboard.press("Enter")
    facts = page.locator("#why[open] dl")
    assert facts.locator("dt").first.inner_text() == heading and facts.locator("dd").first.inner_text() == number
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.localName") == "button"
    page.locator(".answers tr.asked .number button").first.press("Enter")
    assert page.locator("#why[open] h2").inner_text().endswith(content.verdicts[0].claim)


def test_without_a_script_claims_and_tables_are_read_and_no_dead_control_is_shown(
    content: Content, browser: Any, html: Callable[[Content], str], tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text(html(content), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    assert page.locator(":is(main, footer) :is(button, input, select):visible").count() == 0
    page.locator("#claim-C3 > summary").click()
    assert page.locator("#claim-C3 dl").first.is_visible()
    page.locator("#table-tasks > summary").click()
    assert page.locator("table[data-table=tasks] tbody tr").count() == 10
    assert "tables/cells.csv" in page.locator("#cells ~ noscript").inner_text()
    context.close()


def test_text_can_be_read_by_day_and_by_night(content: Content, open_page: Open) -> None:
    page = open_page(content)
    kinds = "reproduced suggested-contradicted no-difference inconclusive not-run soft badge"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for kind in kinds.split():
            page.evaluate("kind => document.querySelector('h1').className = kind", kind)
            assert contrast(page.locator("h1")) >= 4.5, kind
        for part in ("body", "main a", ".trust dd", "dialog"):
            assert contrast(page.locator(part)) >= 4.5, part


def test_paper_shows_what_was_closed(content: Content, open_page: Open) -> None:
    page = open_page(content)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0 and not page.locator("nav").is_visible()
