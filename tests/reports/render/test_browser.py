"""The page in a real headless Chromium: what it opens with, claims, pictures, terms, cells, and that it stays small."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from carft.data.folder.named import NamedTask
from carft.store.records import Store
from reports.build import sources_of
from reports.claims.ledger import ledger
from reports.figures.figure import draw_figures
from reports.render.formatting import mark_of
from reports.render.page import Content, anchor_of, rendered
from reports.words.glossary import TERMS
from tests.reports.render.conftest import PLAN, changed
from tests.support.browsing import IN_A_BROWSER, Open, column, signed, values
from tests.support.folder import keep_tasks
from tests.support.helpers import TASK
from tests.support.planted import plant

pytestmark = IN_A_BROWSER


def test_the_first_screen_says_what_was_asked_what_came_out_and_how_far_to_trust_it(
    content: Content, open_page: Open
) -> None:
    page = open_page(content)
    page.set_viewport_size({"width": 1280, "height": 800})
    told = page.locator(".found li")
    assert [text.split(":")[0] for text in told.all_inner_texts()] == [
        s.topic for s in content.sources.answer.sentences
    ]
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


def test_the_opened_page_is_short_and_its_sections_stay_at_hand(content: Content, open_page: Open) -> None:
    page = open_page(content)
    for width, height in ((1280, 800), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        if width == 1280:
            assert len(page.evaluate("document.body.innerText").split()) <= 3000
            assert page.evaluate("document.documentElement.scrollHeight") <= 9 * height
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        box = page.locator("nav").bounding_box()
        assert box["y"] == 0 and box["height"] < 60


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
    pictures = content.gallery.disagreements
    shown, told, more = (
        page.locator(place) for place in (".gallery > li:visible", "#gallery-tools output", "#gallery-tools .more")
    )
    assert 24 <= len(pictures) <= 60 and shown.count() == 8
    more.click()
    assert shown.count() == len(pictures) and told.inner_text() == f"{len(pictures)} of {len(pictures)} images"
    assert {p["right"] for p in pictures} >= {"CAR-FT", "FT"}
    for context in dict.fromkeys(p["context"] for p in pictures if p["context"]):
        page.locator("[data-filter=context]").select_option(context)
        assert shown.count() == sum(p["context"] == context for p in pictures)
        assert set(shown.evaluate_all("s => s.map(one => one.dataset.context)")) == {context}
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
    assert page.locator(".contexts img").count() == len(content.gallery.contexts) == 24


def test_without_pictures_there_is_no_section_on_them(content: Content, open_page: Open) -> None:
    page = open_page(changed(content, gallery=replace(content.gallery, contexts=[], disagreements=[])))
    assert page.locator("#pictures").count() == page.locator("nav a[href='#pictures']").count() == 0


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


NAMES = (
    "lesions-of-the-face-and-neck-second-reading",
    "lesions-of-the-trunk",
    "hands",
    "lesions-of-arms-and-legs-under-polarised-light",
    "feet",
    "dermatoscopy_of_nails_and_adjacent_skin",
)
DOMAINS = ("clinic-north", "home-photographs", "outpatient-centre-south-2021")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """Six tasks of three domains, with planted results."""
    root = tmp_path_factory.mktemp("family")
    prompts = tuple(f"a picture from {domain} of a {{}}." for domain in DOMAINS)
    words = ("basal cell carcinoma", "melanocytic naevus", "seborrhoeic keratosis")
    tasks = [NamedTask(f"skin-lesions/{name}", "v", DOMAINS[:2], DOMAINS[2:], words, prompts) for name in NAMES]
    keep_tasks(store := Store(root / "results"), tasks)
    plant(store, [task.name for task in tasks], PLAN, trials=2, curves=True)
    sources = sources_of(store)
    drawn = draw_figures(sources.tables(), sources.evidence.scale, root / "figures")
    return Content(sources, drawn, "fingerprint", {})


#: how many lines each name of a task takes in the table of cells
LINES = """() => [...document.querySelectorAll("table[data-table=cells] tbody tr td:nth-of-type(1)")]
    .filter(td => td.textContent.includes("skin-lesions/"))
    .map(td => td.getClientRects()[0].height / parseFloat(getComputedStyle(td).lineHeight))"""


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_names_are_whole_nothing_is_wider_than_the_screen_and_the_family_comes_first(
    family: Content, open_page: Open, width: int
) -> None:
    page = open_page(family)
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_selector("#figure-differences img[src]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(lines < 2 for lines in page.evaluate(LINES))
    first, _, rest = page.inner_text("body").partition("Every downstream task gains")
    assert rest and not any(name in first for name in NAMES if "-" in name)


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


def test_an_interval_lies_on_the_axis_of_its_kind_and_an_open_one_differs_without_colour(
    content: Content, open_page: Open
) -> None:
    page = open_page(content)
    lengths: dict[str, set[float]] = {}
    for row in page.locator(".answers tr.asked:has(.bar)").all():
        claim = row.locator(".id").inner_text()
        verdict = next(v for v in content.verdicts if v.claim == claim)
        low, high = values(row.locator(".ends span").all_inner_texts())
        lengths.setdefault(verdict.number.metric, set()).add(high)
        is_cut = 100 * max(map(abs, (verdict.number.low, verdict.number.high))) > high
        assert low == -high and bool(row.locator(".beyond").count()) == is_cut
        axis, effect = row.locator(".axis").bounding_box(), row.locator(".effect").bounding_box()
        place = (effect["x"] + effect["width"] / 2 - axis["x"]) / axis["width"]
        assert place == pytest.approx(min(1, max(0, 0.5 + 50 * verdict.number.effect / high)), abs=0.01)
        is_open = "inconclusive" in row.inner_text()
        style = row.locator(".range").evaluate("bar => getComputedStyle(bar).borderTopStyle")
        assert style == ("dashed" if is_open else "none")
    assert set(lengths) == {"context", "top1"} and all(len(ends) == 1 for ends in lengths.values())


def test_a_row_says_what_could_have_been_seen_what_others_report_and_what_all_share(
    content: Content, open_page: Open
) -> None:
    page = open_page(content)
    rows = {row.locator(".id").inner_text(): row for row in page.locator(".answers tr.asked").all()}
    by_claim = {verdict.claim: verdict for verdict in content.verdicts}
    for name in ("C1", "C3", "C4"):
        visible = by_claim[name].number.smallest_visible
        assert rows[name].locator(".visible").inner_text() == f"{100 * visible:.1f}"
    assert "Others report: +0.5 on ImageNet." in rows["C3"].inner_text()
    assert "Others report: mean +5.9 (+1.4 to +10.3 on 4 sets)." in rows["C4"].inner_text()
    assert by_claim["C3"].number.n_searches == 1
    sign = rows["C3"].locator(".sign")
    note = sign.get_attribute("aria-label")
    told = page.locator("#claims-on-paper + .note").inner_text()
    assert "tuning luck" in note and f"{sign.inner_text()} {note}." in told
    assert page.locator("body").inner_text().count(note) == 1
    verdict = by_claim["C4"]
    mean = next(part for part in verdict.parts if part.name == "CAR-FT - FT, mean of suites")
    row = rows["C4"].inner_text()
    assert f"worst of 5: {verdict.number.part}" in row and f"mean of suites {signed(mean.estimate.effect)}" in row


def test_sentences_and_links_lead_to_claims(content: Content, open_page: Open) -> None:
    page = open_page(content, "#claim-C11")
    assert page.locator("#claim-C11 dl").is_visible()  # it was not run
    links = page.locator(".found a")
    assert links.count() >= 3
    links.first.click()
    page.locator(links.first.get_attribute("href")).locator("dl").wait_for()
