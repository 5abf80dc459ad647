"""The pictures of the page."""

from __future__ import annotations

from dataclasses import replace

from reports.render.page import Content
from tests.support.browsing import IN_A_BROWSER, Open
from tests.support.helpers import TASK

pytestmark = IN_A_BROWSER


def test_the_gallery_shows_both_directions_and_filters(content: Content, open_page: Open) -> None:
    page = open_page(content)
    shown, told = page.locator(".gallery > li:visible"), page.locator("#gallery-tools output")
    count = len(content.gallery.disagreements)
    assert 24 <= count <= 60 and shown.count() == 8
    assert {p.right for p in content.gallery.disagreements} >= {"CAR-FT", "FT"}
    page.locator("#gallery-tools .more").click()
    assert shown.count() == count and told.inner_text() == f"{count} of {count} images"
    page.locator("[data-filter=task]").select_option(TASK)
    page.locator("[data-filter=right]").select_option("CAR-FT")
    wanted = [p for p in content.gallery.disagreements if p.facts["task"] == TASK and p.right == "CAR-FT"]
    assert 0 < shown.count() == len(wanted) < count
    first = wanted[0]
    assert shown.first.locator("img").get_attribute("alt") == first.words and first.facts["label"] in first.words
    answers = shown.first.locator("ul li").all_inner_texts()
    assert len(answers) == 3 and any("CAR-FT" in text and "right" in text for text in answers)
    sides = page.locator("li > img").evaluate_all("i => i.flatMap(x => [x.naturalWidth, x.naturalHeight])")
    assert all(0 < side <= 96 for side in sides)
    assert page.locator(".contexts img").count() == len(content.gallery.contexts) == 18


def test_the_gallery_filters_by_context_alone_and_with_the_task(content: Content, open_page: Open) -> None:
    page = open_page(content)
    shown, all_of_them = page.locator(".gallery > li:visible"), page.locator("#gallery-tools .more")
    pictures, choice = content.gallery.disagreements, page.locator("[data-filter=context]")
    contexts = [p.facts["context"] for p in pictures if p.facts["context"]]
    assert len(set(contexts)) > 1
    for context in dict.fromkeys(contexts):
        choice.select_option(context)
        if all_of_them.is_visible():
            all_of_them.click()
        assert shown.count() == contexts.count(context)
        assert set(shown.evaluate_all("s => s.map(one => one.dataset.context)")) == {context}
    other = next(p for p in pictures if p.facts["context"])
    choice.select_option(other.facts["context"])
    page.locator("[data-filter=task]").select_option(other.facts["task"])
    both = [p for p in pictures if all(p.facts[name] == other.facts[name] for name in ("context", "task"))]
    assert shown.count() == len(both) > 0


def test_without_pictures_there_is_no_section_on_them(content: Content, open_page: Open) -> None:
    page = open_page(replace(content, gallery=replace(content.gallery, contexts=[], disagreements=[])))
    assert page.locator("#pictures").count() == page.locator("nav a[href='#pictures']").count() == 0
