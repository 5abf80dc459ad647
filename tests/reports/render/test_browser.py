"""The page in a real headless Chromium: what it opens with, its cells, and that it stays small."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from reports.render.page import Content, rendered
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


def test_a_link_opens_a_cell_with_its_command_and_an_interpolation_leads_to_its_parent(
    content: Content, open_page: Open
) -> None:
    k, row = next((k, row) for k, row in enumerate(content.cells["rows"]) if row[2] == "WiSE-FT of CAR-FT")
    (parent,) = content.cells["details"][k][4]
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
    page = open_page(replace(content, cells={**content.cells, "rows": rows}, problems=[problem], rests_on=name))
    assert page.title() != "acted"
    assert name in page.locator("table[data-table=cells] tbody").inner_text()


def distinct(cells: Mapping[str, Any], count: int) -> dict[str, Any]:
    """So many cells of which no two are alike: each has its own id, hyperparameters, seed, command and numbers."""
    rng, rows, details = np.random.default_rng(0), [], []
    for k in range(count):
        row, (command, *shared, metrics, parents) = (cells[name][k % len(cells[name])] for name in ("rows", "details"))
        rate, weight = 10 ** rng.uniform(-5, -2), 10 ** rng.uniform(-1, 2)
        cell = hashlib.sha256(str(k).encode()).hexdigest()[:16]
        scores = [f"{100 * share:.1f}" for share in rng.random(3)]
        tuned = f"kl_weight={weight:.4g} lr={rate:.4g}"
        rows.append((cell, *row[1:3], tuned, str(k), row[5], *scores, *row[9:]))
        command = f"{command} --lr {rate!r} --kl-weight {weight!r} --seed {k}"
        details.append((command, *shared, [[name, round(rng.random(), 4)] for name, _ in metrics], parents))
    assert len(set(rows)) == count
    return {**cells, "rows": rows, "details": details}


def test_ten_thousand_cells_are_no_burden(content: Content, open_page: Open) -> None:
    large = replace(content, cells=distinct(content.cells, 10_000))
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
