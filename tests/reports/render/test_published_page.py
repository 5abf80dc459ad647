"""The published report in a real browser: a page of many methods and two families, which planted results are not."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.claims.verdicts import ledger
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


def test_a_claim_of_several_scopes_is_told_once_and_each_scope_below_it(browser: Any) -> None:
    found = pd.read_csv(PAGE.parent / "tables" / "claims.csv", keep_default_na=False)
    ran = found[found["verdict"] != "not run"]
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    try:
        page.goto(PAGE.as_uri())
        rows = page.locator(".answers tr.asked")
        assert rows.count() == len(ran)
        first = ~ran.duplicated("claim")
        told = page.locator(".answers tr.asked:not(.again) th > a").all_inner_texts()
        assert told == [ledger()[claim].title for claim in ran[first]["claim"]]
        again = page.locator(".answers tr.again th > a")
        assert [words.partition(", ")[2] for words in again.all_text_contents()] == ran[~first]["scope"].tolist()
        again.first.click()
        assert page.locator(again.first.get_attribute("href")).locator("dl").first.is_visible()
        elsewhere = found[(found["verdict"] == "not run") & found["claim"].isin(set(ran["claim"]))]
        folded = page.locator("details", has_text="Not run in every scope").last
        assert folded.locator("dt").count() == len(elsewhere) > 0 and not folded.locator("dt").first.is_visible()
        assert page.locator(".answers tr.untested").count() == len(found) - len(ran) - len(elsewhere)
    finally:
        context.close()
