"""The pictures of the page."""

from __future__ import annotations

from dataclasses import replace

from reports.render.page import Content
from tests.support.browsing import IN_A_BROWSER, Open
from tests.support.helpers import TASK

pytestmark = IN_A_BROWSER


def test_the_gallery_shows_both_directions_and_its_filters_work_together(content: Content, open_page: Open) -> None:
    page = open_page(content)
    pictures = content.gallery.disagreements
    shown, told, more = (
        page.locator(place) for place in (".gallery > li:visible", "#gallery-tools output", "#gallery-tools .more")
    )
    assert 24 <= len(pictures) <= 60 and shown.count() == 8
    more.click()
    assert shown.count() == len(pictures) and told.inner_text() == f"{len(pictures)} of {len(pictures)} images"
    assert {p.right for p in pictures} >= {"CAR-FT", "FT"}
    for context in dict.fromkeys(p.facts["context"] for p in pictures if p.facts["context"]):
        page.locator("[data-filter=context]").select_option(context)
        assert shown.count() == sum(p.facts["context"] == context for p in pictures)
        assert set(shown.evaluate_all("s => s.map(one => one.dataset.context)")) == {context}
    page.locator("[data-filter=task]").select_option(TASK)
    both = [p for p in pictures if (p.facts["context"], p.facts["task"]) == (context, TASK)]
    assert shown.count() == len(both)
    page.locator("[data-filter=context]").select_option("")
    page.locator("[data-filter=right]").select_option("CAR-FT")
    wanted = [p for p in pictures if p.facts["task"] == TASK and p.right == "CAR-FT"]
    assert 0 < shown.count() == len(wanted) < len(pictures)
    first = wanted[0]
    assert shown.first.locator("img").get_attribute("alt") == first.words and first.facts["label"] in first.words
    answers = shown.first.locator("ul li").all_inner_texts()
    assert len(answers) == 3 and any("CAR-FT" in text and "right" in text for text in answers)
    sides = page.locator("li > img").evaluate_all("i => i.flatMap(x => [x.naturalWidth, x.naturalHeight])")
    assert all(0 < side <= 96 for side in sides)
    assert page.locator(".contexts img").count() == len(content.gallery.contexts) == 18


def test_without_pictures_there_is_no_section_on_them(content: Content, open_page: Open) -> None:
    page = open_page(replace(content, gallery=replace(content.gallery, contexts=[], disagreements=[])))
    assert page.locator("#pictures").count() == page.locator("nav a[href='#pictures']").count() == 0
