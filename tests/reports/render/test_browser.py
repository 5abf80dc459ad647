"""The page in a real headless Chromium: what it opens with, claims, pictures, terms, cells, and that it stays small."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from reports.judge.claims.ledger import ledger
from reports.render.formatting import mark_of
from reports.render.page import Content, rendered
from tests.reports.render.conftest import changed
from tests.support.browsing import IN_A_BROWSER, Open, column, signed, values
from tests.support.helpers import TASK

pytestmark = IN_A_BROWSER


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


def test_a_link_opens_a_cell_with_its_command_and_an_interpolation_leads_to_its_parent(
    content: Content, open_page: Open
) -> None:
    k, row = next((k, row) for k, row in enumerate(content.cells["rows"]) if row[2] == "WiSE-FT of CAR-FT")
    (parent,) = content.cells["details"][k]["parents"]
    page = open_page(content, f"#cell-{row[0]}")
    dialog = page.locator("dialog[open]")
    assert row[0] in dialog.locator("h2").inner_text()
    dialog.locator("dd a").click()
    page.locator("dialog[open] h2", has_text=f"Cell {parent}").wait_for()
    assert re.match(r"python cli\.py train .*--unseal", dialog.locator("pre").inner_text())
    assert "test/top1" in dialog.locator(".metrics").inner_text()
    page.keyboard.press("Escape")
    assert dialog.count() == 0


def test_names_cannot_act(content: Content, open_page: Open) -> None:
    name = "</script><img src=x onerror=\"document.title='acted'\">"
    rows = [("f" * 16, name, *row[2:]) for row in content.cells["rows"]]
    problem = {"what": name, "where": name, "words": name}
    page = open_page(changed(content, cells={**content.cells, "rows": rows}, problems=[problem]))
    assert page.title() != "acted"
    assert name in page.locator("table[data-table=cells] tbody").inner_text()


def distinct(cells: Mapping[str, Any], count: int) -> dict[str, Any]:
    """So many cells of which no two are alike: each has its own id, hyperparameters, seed, command and numbers."""
    rng, rows, details = np.random.default_rng(0), [], []
    for k in range(count):
        row, detail = (cells[name][k % len(cells[name])] for name in ("rows", "details"))
        rate, weight = 10 ** rng.uniform(-5, -2), 10 ** rng.uniform(-1, 2)
        cell = hashlib.sha256(str(k).encode()).hexdigest()[:16]
        scores = [f"{100 * share:.1f}" for share in rng.random(3)]
        tuned = f"kl_weight={weight:.4g} lr={rate:.4g}"
        rows.append((cell, *row[1:3], tuned, str(k), row[5], *scores, *row[9:]))
        command = f"{detail['command']} --lr {rate!r} --kl-weight {weight!r} --seed {k}"
        metrics = {name: round(rng.random(), 4) for name in detail["metrics"]}
        details.append({**detail, "command": command, "metrics": metrics})
    assert len(set(rows)) == count
    return {**cells, "rows": rows, "details": details}


def test_ten_thousand_cells_are_no_burden(content: Content, open_page: Open) -> None:
    large = changed(content, cells=distinct(content.cells, 10_000))
    assert len(rendered("index.html", large).encode()) < 5_000_000
    page = open_page(large)
    assert page.locator("table[data-table=cells] tbody tr").count() <= 10
    output = page.locator(".tools[data-for=cells] output")
    assert "of 10,000" in output.inner_text()
    page.locator(".tools[data-for=cells] button", has_text="Later").click()
    assert output.inner_text().startswith("11 to 20")
    page.locator("table[data-table=cells] th button", has_text="val").click()
    shown = values(column(page, "cells", 7))
    assert shown == sorted(shown) and len(shown) == 10
    page.locator(".tools[data-for=cells] input[type=search]").fill(large.cells["rows"][9_999][0])
    assert column(page, "cells", 1) == [large.cells["rows"][9_999][0]]
    page.locator("table[data-table=cells] tbody button").click()
    page.locator("dialog[open]").wait_for()
    assert f"--seed {9_999}" in page.locator("dialog[open] pre").inner_text()


def test_the_gallery_shows_both_directions_and_its_filters_work_together(content: Content, open_page: Open) -> None:
    page = open_page(content)
    pictures = content.pictures.disagreements
    shown, told, more = (
        page.locator(place) for place in (".gallery > li:visible", "#gallery-tools output", "#gallery-tools .more")
    )
    assert 24 <= len(pictures) <= 60 and shown.count() == 8
    more.click()
    assert shown.count() == len(pictures) and told.inner_text() == f"{len(pictures)} of {len(pictures)} images"
    assert {p["right"] for p in pictures} >= {"CAR-FT", "FT"}
    context = next(p["context"] for p in pictures if p["context"] and p["task"] == TASK)
    page.locator("[data-filter=context]").select_option(context)
    page.locator("[data-filter=task]").select_option(TASK)
    both = [p for p in pictures if (p["context"], p["task"]) == (context, TASK)]
    assert shown.count() == len(both)
    page.locator("[data-filter=context]").select_option("")
    page.locator("[data-filter=right]").select_option("CAR-FT")
    wanted = [p for p in pictures if p["task"] == TASK and p["right"] == "CAR-FT"]
    assert 0 < shown.count() == len(wanted) < len(pictures)
    first = wanted[0]
    assert shown.first.locator("img").get_attribute("alt") == first["words"] and first["label"] in first["words"]
    answers = shown.first.locator("ul li").all_inner_texts()
    assert len(answers) == 3 and any("CAR-FT" in text and "right" in text for text in answers)
    sides = page.locator("li > img").evaluate_all("i => i.flatMap(x => [x.naturalWidth, x.naturalHeight])")
    assert all(0 < side <= 96 for side in sides)
    assert page.locator(".contexts img").count() == len(content.pictures.contexts) == 24


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


def test_every_claim_has_a_row_with_its_answer(content: Content, open_page: Open) -> None:
    page = open_page(content)
    rows = {
        row.locator(".id").inner_text(): row.inner_text()
        for row in page.locator(".answers tr.asked, .answers tr.untested").all()
    }
    assert set(rows) == set(ledger())
    for verdict in content.verdicts:
        text = rows[verdict.claim]
        assert verdict.asked.title in text and mark_of(verdict).words in text
        assert verdict.scale in (content.evidence.scale, *text.split())
    untested = page.locator(".answers tr.untested").all_inner_texts()
    assert len(untested) == sum(verdict.verdict == "not run" for verdict in content.verdicts)
    assert all("python cli.py" in text for text in untested)
    title, about = page.locator(".answers tbody th > a").nth(2), page.locator("#claim-C3 dl")
    assert title.get_attribute("aria-expanded") == "false" and about.is_hidden()
    title.click()
    page.locator(".answers a[href='#claim-C3'][aria-expanded=true]").wait_for()
    assert page.url.endswith("#claim-C3") and about.is_visible()
    title.click()
    assert about.is_hidden() and "#" not in page.url


def test_a_row_says_what_could_have_been_seen_what_others_report_and_what_all_share(
    content: Content, open_page: Open
) -> None:
    page = open_page(content)
    rows = {row.locator(".id").inner_text(): row for row in page.locator(".answers tr.asked").all()}
    by_claim = {verdict.claim: verdict for verdict in content.verdicts}
    for name in ("C1", "C3", "C4"):
        visible = by_claim[name].number.smallest_visible
        assert rows[name].locator(".visible").inner_text() == f"{100 * visible:.1f}"
    assert "Others report: mean +5.9 (+1.4 to +10.3 on 4 sets)." in rows["C4"].inner_text()
    verdict = by_claim["C4"]
    mean = next(part for part in verdict.parts if part.name == "CAR-FT - FT, mean of suites")
    row = rows["C4"].inner_text()
    assert f"worst of 5: {verdict.number.part}" in row and f"mean of suites {signed(mean.estimate.effect)}" in row
