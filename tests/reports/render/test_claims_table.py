"""The claims of the page: a row for each, which opens what is known of it."""

from __future__ import annotations

import re

import pytest

from reports.claims.rules import ledger
from reports.render.formatting import mark_of
from reports.render.page import Content
from tests.support.browsing import IN_A_BROWSER, Open, signed, values

pytestmark = IN_A_BROWSER


def test_every_claim_has_a_row_with_its_answer(content: Content, open_page: Open) -> None:
    page = open_page(content)
    rows = {
        row.locator(".id").inner_text(): row.inner_text()
        for row in page.locator(".answers tr.asked, .answers tr.untested").all()
    }
    assert set(rows) == set(ledger())
    for claim, verdict in content.claims:
        text = rows[claim.id]
        assert verdict.title in text and mark_of(verdict).words in text
        assert verdict.scale in (content.scale, *text.split())
    untested = page.locator(".answers tr.untested").all_inner_texts()
    assert len(untested) == sum(verdict.verdict == "not run" for _, verdict in content.claims)
    assert all("python cli.py" in text for text in untested)
    title, about = page.locator(".answers tbody th > a").nth(2), page.locator("#claim-C3 dl")
    assert title.get_attribute("aria-expanded") == "false" and about.is_hidden()
    title.click()
    page.locator(".answers a[href='#claim-C3'][aria-expanded=true]").wait_for()
    assert page.url.endswith("#claim-C3") and about.is_visible()
    title.click()
    assert about.is_hidden() and "#" not in page.url


def test_an_interval_lies_on_the_axis_of_its_kind_and_an_open_one_differs_without_colour(
    content: Content, open_page: Open
) -> None:
    page = open_page(content)
    lengths: dict[str, set[float]] = {}
    for row in page.locator(".answers tr.asked:has(.bar)").all():
        claim = row.locator(".id").inner_text()
        verdict = next(v for c, v in content.claims if c.id == claim)
        low, high = values(row.locator(".ends span").all_inner_texts())
        lengths.setdefault(verdict.metric, set()).add(high)
        is_cut = 100 * max(map(abs, (verdict.low, verdict.high))) > high
        assert low == -high and bool(row.locator(".beyond").count()) == is_cut
        axis, effect = row.locator(".axis").bounding_box(), row.locator(".effect").bounding_box()
        place = (effect["x"] + effect["width"] / 2 - axis["x"]) / axis["width"]
        assert place == pytest.approx(min(1, max(0, 0.5 + 50 * verdict.effect / high)), abs=0.01)
        is_open = re.search("inconclusive|not decidable|cannot be asked|in doubt", row.inner_text()) is not None
        style = row.locator(".range").evaluate("bar => getComputedStyle(bar).borderTopStyle")
        assert style == ("dashed" if is_open else "none")
    assert set(lengths) == {"context", "top1"} and all(len(ends) == 1 for ends in lengths.values())


def test_a_row_says_what_could_have_been_seen_what_others_report_and_what_all_share(
    content: Content, open_page: Open
) -> None:
    page = open_page(content)
    rows = {row.locator(".id").inner_text(): row for row in page.locator(".answers tr.asked").all()}
    by_claim = {claim.id: (claim, verdict) for claim, verdict in content.claims}
    for name in ("C1", "C3", "C4"):
        visible = by_claim[name][1].smallest_visible
        assert rows[name].locator(".visible").inner_text() == f"{100 * visible:.1f}"
    assert "Others report: +0.44 on ImageNet." in rows["C3"].inner_text()
    assert "Others report: mean +5.90 (+1.46 to +10.30 on 4 sets)." in rows["C4"].inner_text()
    assert by_claim["C3"][1].n_searches == 1
    sign = rows["C3"].locator(".sign")
    note = sign.get_attribute("aria-label")
    told = page.locator("#claims-on-paper + .note").inner_text()
    assert "tuning luck" in note and f"{sign.inner_text()} {note}." in told
    assert page.locator("body").inner_text().count(note) == 1
    verdict = by_claim["C4"][1]
    mean = next(part for part in verdict.parts if part.name == "CAR-FT - FT, mean of suites")
    row = rows["C4"].inner_text()
    assert f"worst of 5: {verdict.headline}" in row and f"mean of suites {signed(mean.estimate.effect)}" in row


def test_sentences_and_links_lead_to_claims(content: Content, open_page: Open) -> None:
    page = open_page(content, "#claim-C11")
    assert page.locator("#claim-C11 dl").is_visible()  # it was not run
    links = page.locator(".found a")
    assert links.count() >= 3
    links.first.click()
    page.locator(links.first.get_attribute("href")).locator("dl").wait_for()
