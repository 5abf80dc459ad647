"""The page in a real headless Chromium: what it opens with, its cells, and that it stays small."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from reports.render.page import PAGES, Content
from tests.support.browsing import IN_A_BROWSER, Open, column, values

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


def test_a_cell_opens_with_the_command_that_makes_it_again(content: Content, open_page: Open) -> None:
    page = open_page(content)
    page.locator(".tools[data-for=cells] input[type=search]").fill("confirm")
    page.locator("table[data-table=cells] tbody button").first.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    dialog.wait_for()
    assert re.match(r"python cli\.py train .*--unseal", dialog.locator("pre").inner_text())
    assert "test/top1" in dialog.locator(".metrics").inner_text()
    page.keyboard.press("Escape")
    assert dialog.count() == 0


def test_a_link_to_a_cell_opens_it(content: Content, open_page: Open) -> None:
    cell = content.claims[0][1].cells[0]
    page = open_page(content, f"#cell-{cell}")
    assert cell in page.locator("#cell[open] h2").inner_text()


def test_the_sections_stay_at_hand_on_every_screen(content: Content, open_page: Open) -> None:
    page = open_page(content, "#tables")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        box = page.locator("nav").bounding_box()
        assert box["y"] == 0 and box["height"] < 60


def test_an_interpolation_names_its_parent_and_leads_to_it(content: Content, open_page: Open) -> None:
    k, row = next((k, row) for k, row in enumerate(content.cells["rows"]) if row[2] == "WiSE-FT of CAR-FT")
    (parent,) = content.cells["details"][k][4]
    page = open_page(content, f"#cell-{row[0]}")
    page.locator("dialog dd a").click()
    page.locator("dialog[open] h2", has_text=f"Cell {parent}").wait_for()


def test_the_opened_page_is_short(content: Content, open_page: Open) -> None:
    page = open_page(content)
    page.set_viewport_size({"width": 1280, "height": 800})
    assert len(page.evaluate("document.body.innerText").split()) <= 3000
    assert page.evaluate("document.documentElement.scrollHeight") <= 9 * 800


def test_names_cannot_act(content: Content, open_page: Open) -> None:
    name = "</script><img src=x onerror=\"document.title='acted'\">"
    rows = [("f" * 16, name, *row[2:]) for row in content.cells["rows"]]
    problem = {"what": name, "where": name, "words": name}
    page = open_page(replace(content, cells={**content.cells, "rows": rows}, problems=[problem], rests_on=name))
    assert page.title() != "acted"
    assert name in page.locator("table[data-table=cells] tbody").inner_text()


def distinct(cells: Mapping[str, Any], count: int) -> dict[str, Any]:
    """So many cells of which no two are alike: each has its own id, hyperparameters, seed, command and numbers."""
    rng, rows, details = np.random.default_rng(0), [], []
    for k in range(count):
        row, place = list(cells["rows"][k % len(cells["rows"])]), k % len(cells["details"])
        rate, weight = 10 ** rng.uniform(-5, -2), 10 ** rng.uniform(-1, 2)
        row[0], row[3], row[4] = (
            hashlib.sha256(str(k).encode()).hexdigest()[:16],
            f"kl_weight={weight:.4g} lr={rate:.4g}",
            str(k),
        )
        row[6:9] = [f"{100 * share:.1f}" for share in rng.random(3)]
        command, setting, maker, metrics, parents = cells["details"][place]
        command = f"{command} --lr {rate!r} --kl-weight {weight!r} --seed {k}"
        rows.append(tuple(row))
        details.append((command, setting, maker, [[name, round(rng.random(), 4)] for name, _ in metrics], parents))
    assert len(set(rows)) == count
    return {**cells, "rows": rows, "details": details}


def test_ten_thousand_cells_are_no_burden(content: Content, open_page: Open) -> None:
    large = replace(content, cells=distinct(content.cells, 10_000))
    assert len(PAGES["index.html"](large).encode()) < 5_000_000
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
