"""Tables of the page: sorting, filter, columns, CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reports.render.page import Content
from tests.support.browsing import IN_A_BROWSER, Open, column, values
from tests.support.helpers import TASK

pytestmark = IN_A_BROWSER


def test_a_table_sorts_both_ways_and_filters(content: Content, open_page: Open) -> None:
    page = open_page(content, "#table-tasks")
    head = page.locator("table[data-table=tasks] th", has_text="ID test")
    number = 1 + [h.strip() for h in page.locator("table[data-table=tasks] th").all_inner_texts()].index("ID test")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    shown = values(column(page, "tasks", number))
    assert len(shown) == 10 and shown == sorted(shown)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert values(column(page, "tasks", number)) == shown[::-1]


def test_the_words_of_a_filter_must_all_match_and_whole_cells_go_first(content: Content, open_page: Open) -> None:
    page = open_page(content, "#table-tasks")

    def shown(query: str) -> list[tuple[str, str]]:
        page.locator(".tools[data-for=tasks] input[type=search]").fill(query)
        return list(zip(column(page, "tasks", 1), column(page, "tasks", 2), strict=True))

    tools = "icons/tools"
    for query, found in {
        "FT": [(tools, "FT"), (TASK, "FT")],
        "tools car-ft": [(tools, "CAR-FT")],
        "wise ft transport": [(TASK, "WiSE-FT of FT")],
        "WiSE-FT of CAR-FT": [(tools, "WiSE-FT of CAR-FT"), (TASK, "WiSE-FT of CAR-FT")],
        "transport nothing": [],
    }.items():
        assert shown(query) == found, query
    assert {task for task, _ in shown("ransp")} == {TASK}
    assert "5 of 10" in page.locator(".tools[data-for=tasks] output").inner_text()


def test_tables_have_captions_and_row_headers_and_images_say_what_they_show(content: Content, open_page: Open) -> None:
    page = open_page(content)
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("tbody > tr:not(.about):not(:has(> th[scope^=row]))").count() == 0
    for image in page.locator("img").all():
        words = image.get_attribute("alt")
        assert words and words not in [text for each in content.figures for text in (each.title, each.figure.caption)]


def test_columns_can_be_left_out_and_the_csv_holds_what_is_shown(
    content: Content, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(content, "#table-tasks:CAR-FT")
    tools = page.locator(".tools[data-for=tasks]")
    assert tools.locator("input[type=search]").input_value() == "CAR-FT"
    assert set(column(page, "tasks", 2)) == {"CAR-FT"}
    tools.locator(".columns summary").click()
    tools.get_by_label("hands", exact=True).uncheck()
    heads = page.locator("table[data-table=tasks] thead th:visible").all_inner_texts()
    assert "hands" not in heads and "sketches" in heads
    with page.expect_download() as download:
        tools.locator(".csv").click()
    download.value.save_as(tmp_path / "tasks.csv")
    saved = pd.read_csv(tmp_path / "tasks.csv")
    assert list(saved.columns) == [head.strip() for head in heads]
    assert list(saved["method"]) == ["CAR-FT", "CAR-FT"] and saved["ID test"].between(0, 100).all()


def test_a_table_keeps_its_first_column_in_sight_and_says_how_its_numbers_are_computed(
    content: Content, open_page: Open
) -> None:
    page = open_page(content, "#table-tasks")
    page.locator("#table-tasks details.inline summary").click()
    told = page.locator("#table-tasks dl").inner_text()
    assert "ID test" in told and "share of images whose largest logit is the label's" in told
    page.set_viewport_size({"width": 500, "height": 900})
    box = page.locator(".scroll:has(table[data-table=tasks])")
    left = "document.querySelector('table[data-table=tasks] tbody th').getBoundingClientRect().left"
    before = page.evaluate(left)
    box.evaluate("box => { box.scrollLeft = 200; }")
    assert box.evaluate("box => box.scrollLeft") == 200 and page.evaluate(left) == before
    page.set_viewport_size({"width": 1280, "height": 900})
    assert max(box.locator("tbody tr").evaluate_all("rows => rows.map(row => row.offsetHeight)")) < 40
