"""Tables of the page, and where each of their numbers comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.render.page import Content
from reports.render.tables.table import INTERVAL, PAIRED, Findings, cells_of, rows_of, table_cards
from reports.render.words.verdict_words import computed_words
from reports.why import explain
from tests.support.browsing import IN_A_BROWSER, Open, column, values
from tests.support.helpers import TASK
from tests.support.reading import table_of

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

    other = "icons-3/mix-6"
    for query, found in {
        "FT": [(other, "FT"), (TASK, "FT")],
        "mix-6 car-ft": [(other, "CAR-FT")],
        "wise ft mix-7": [(TASK, "WiSE-FT of FT")],
        "WiSE-FT of CAR-FT": [(other, "WiSE-FT of CAR-FT"), (TASK, "WiSE-FT of CAR-FT")],
        "mix-7 nothing": [],
    }.items():
        assert shown(query) == found, query
    assert {task for task, _ in shown("ix-7")} == {TASK}
    assert "5 of 10" in page.locator(".tools[data-for=tasks] output").inner_text()


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


def told_of(page: Any) -> tuple[str, str, list[str], list[str]]:
    """Title, facts, cells and commands of the open provenance."""
    page.locator("#why[open]").wait_for()
    ids = page.locator("#why ol a").all_inner_texts()
    commands = page.locator("#why ol code").all_inner_texts()
    return page.locator("#why h2").inner_text(), page.locator("#why dl").inner_text(), ids, commands


def test_a_number_of_a_table_opens_its_formula_its_cells_and_their_commands(
    content: Content, sources: Findings, open_page: Open
) -> None:
    page = open_page(content, "#table-tasks")
    heads = [h.strip() for h in page.locator("table[data-table=tasks] thead th").all_inner_texts()]
    row = page.locator("table[data-table=tasks] tbody tr").filter(has_text=TASK).filter(has_text="CAR-FT").first
    number = row.locator(f":nth-child({1 + heads.index('mean OOD')})")
    number.click()
    title, facts, ids, commands = told_of(page)
    asked = next(r for r in rows_of(table_of(sources, "tasks")) if (r["task"], r["method"]) == (TASK, "car_ft"))
    address = f"tasks.{table_cards()['tasks'].key(asked)}.ood/mean"
    chain = explain(sources.evidence.store, address)
    assert title == f"{table_cards()['tasks'].title}: {TASK}/car_ft"
    assert f"mean OOD\n{number.inner_text()}" in facts and dict(chain.facts)["formula"] in facts
    computed = facts.partition(f"/ {len(ids)} = ")[2].split()[0]
    assert float(computed) == pytest.approx(asked["ood/mean"], abs=1e-4)
    assert ids == [cell["cell"] for cell in chain.cells]
    assert [c.split(" --results")[0] for c in commands] == [c["command"].split(" --results")[0] for c in chain.cells]


def test_every_row_of_every_table_opens_the_cells_that_report_why_lists(
    content: Content, sources: Findings, open_page: Open
) -> None:
    page = open_page(content)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    known = {row[0] for row in content.cells["rows"]}
    for table in (t for t in content.tables if t.rows):
        buttons = page.locator(f"table[data-table={table.name}] tbody th button")
        assert buttons.count() == min(len(table.rows), 10 if table.is_long else len(table.rows))
        buttons.last.press("Enter")
        title, facts, ids, _ = told_of(page)
        rows, card = rows_of(table_of(sources, table.name)), table_cards()[table.name]
        row = rows[buttons.count() - 1]
        wanted = [cell for cell in cells_of(row) if cell in known]
        assert card.addressed(rows)[title.partition(": ")[2]] is row and facts
        assert set(ids) <= set(wanted) and len(ids) == min(25, len(wanted))
        assert f"{len(wanted)} cell" in page.locator("#why .told").inner_text() or not wanted
        page.keyboard.press("Escape")


def test_a_part_of_a_verdict_opens_how_its_interval_is_computed(content: Content, open_page: Open) -> None:
    page = open_page(content, "#claim-C3")
    verdict = next(v for v in content.verdicts if v.claim == "C3")
    page.locator("#claim-C3 tbody th button").first.click()
    title, facts, ids, _ = told_of(page)
    part = verdict.parts[0]
    assert title.endswith(f"C3/{part.name}") and set(ids) == set(part.cells)
    assert computed_words(part) in facts and PAIRED in facts and INTERVAL in facts
    page.keyboard.press("Escape")
    page.locator(".answers tr").filter(has=page.locator("a[href='#claim-C3']")).locator("button").click()
    title, facts, ids, _ = told_of(page)
    assert title.endswith(": C3") and content.verdicts[2].asked.rule in facts and set(ids) <= set(verdict.cells)


def test_a_link_opens_the_provenance_of_a_row_and_leads_to_a_cell_and_back(content: Content, open_page: Open) -> None:
    row = content.why["tables"]["trials"]["keys"][1]
    page = open_page(content, f"#why-trials.icons/{row}")
    title, _, (cell,), _ = told_of(page)
    assert title.endswith(row)
    page.locator("#why ol a").click()
    page.locator("#cell[open] h2", has_text=cell).wait_for()
    page.keyboard.press("Escape")
    assert page.locator("#cell[open]").count() == 0 and page.locator("#why[open]").count() == 1
