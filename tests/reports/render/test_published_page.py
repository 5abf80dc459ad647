"""The published report in a real browser: a page of many methods and two families, which planted results are not."""

from __future__ import annotations

from typing import Any

from tests.support.browsing import IN_A_BROWSER
from tests.support.helpers import ROOT

pytestmark = IN_A_BROWSER

PAGE = ROOT / "audit" / "report" / "index.html"
PLOTS = ("plot-contexts", "plot-differences", "plot-id-ood", "plot-search")


def test_every_plot_of_the_published_page_is_drawn_and_nothing_complains(browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        page.goto(PAGE.as_uri())
        for plot in PLOTS:
            page.locator(f"#{plot} .markable").first.wait_for()
        assert not complaints
    finally:
        context.close()
