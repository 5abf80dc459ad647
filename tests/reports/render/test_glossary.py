"""The glossary in Chromium: a term opens its definition for mouse, keyboard and touch, and one list has them all."""

from __future__ import annotations

from reports.render.glossary import TERMS, anchor_of
from reports.render.page import Content
from tests.support.browsing import IN_A_BROWSER, Open

pytestmark = IN_A_BROWSER


def test_every_term_on_the_page_is_one_of_the_list_and_of_its_own_definition(content: Content, open_page: Open) -> None:
    page = open_page(content)
    listed = page.locator("#glossary dt").all_text_contents()
    assert listed == sorted(TERMS, key=str.lower)
    used = page.locator("a.term").evaluate_all("terms => terms.map(term => term.getAttribute('href'))")
    assert len(set(used)) >= 10
    assert all(page.locator(place).count() == 1 for place in set(used))
    for term, words in TERMS.items():
        assert page.locator(f"#{anchor_of(term)}").text_content() == words


def test_a_term_shows_its_definition_to_mouse_keyboard_and_touch(content: Content, open_page: Open) -> None:
    page = open_page(content)
    term, told = page.locator("main a.term").first, page.locator("#definition")
    href = term.get_attribute("href")
    words = page.locator(href).text_content()
    assert not told.is_visible()
    term.click()
    assert told.is_visible() and words in told.inner_text()
    page.keyboard.press("Escape")
    assert not told.is_visible()
    page.evaluate("document.activeElement.blur()")
    term.focus()
    page.keyboard.press("Enter")
    assert told.is_visible() and words in told.inner_text()
    told.locator("a").click()
    assert page.locator(href).is_visible() and not told.is_visible()


def test_a_definition_stays_inside_a_narrow_screen(content: Content, open_page: Open) -> None:
    page = open_page(content)
    page.set_viewport_size({"width": 320, "height": 700})
    for term in page.locator("main a.term:visible").all()[:6]:
        term.click()
        box = page.locator("#definition").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 320
        page.keyboard.press("Escape")
