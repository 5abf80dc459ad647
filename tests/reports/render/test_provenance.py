"""The page in Chromium: from a number to its formula, its cells and their commands."""

from __future__ import annotations

from typing import Any

from reports.claims.notes import computed_words
from reports.render.page import Content
from reports.tables.table import INTERVAL, PAIRED, Sources, rows_of, table_cards
from reports.why import explain
from tests.support.browsing import IN_A_BROWSER, Open
from tests.support.helpers import TASK

pytestmark = IN_A_BROWSER


def told_of(page: Any) -> tuple[str, str, list[str], list[str]]:
    """Title, facts, cells and commands of the open provenance."""
    page.locator("#why[open]").wait_for()
    ids = page.locator("#why ol a").all_inner_texts()
    commands = page.locator("#why ol code").all_inner_texts()
    return page.locator("#why h2").inner_text(), page.locator("#why dl").inner_text(), ids, commands


def test_a_number_of_a_table_opens_its_formula_its_cells_and_their_commands(
    content: Content, sources: Sources, open_page: Open
) -> None:
    page = open_page(content, "#table-tasks")
    heads = [h.strip() for h in page.locator("table[data-table=tasks] thead th").all_inner_texts()]
    row = page.locator("table[data-table=tasks] tbody tr").filter(has_text=TASK).filter(has_text="CAR-FT").first
    number = row.locator(f":nth-child({1 + heads.index('mean OOD')})")
    number.click()
    title, facts, ids, commands = told_of(page)
    asked = next(r for r in rows_of(sources.table("tasks")) if (r["task"], r["method"]) == (TASK, "car_ft"))
    address = f"tasks.{table_cards()['tasks'].key(asked)}.ood/mean"
    chain = explain(sources.evidence.store, address)
    assert title == f"{table_cards()['tasks'].title}: {TASK}/car_ft"
    assert f"mean OOD\n{number.inner_text()}" in facts and dict(chain.facts)["formula"] in facts
    assert f"/ {len(ids)} = {asked['ood/mean']:.4f}" in facts
    assert ids == [cell["cell"] for cell in chain.cells]
    assert [c.split(" --results")[0] for c in commands] == [c["command"].split(" --results")[0] for c in chain.cells]


def test_every_row_of_every_table_opens_the_cells_that_report_why_lists(
    content: Content, sources: Sources, open_page: Open
) -> None:
    page = open_page(content)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    known = {row[0] for row in content.cells["rows"]}
    for table in (t for t in content.tables if t.rows):
        buttons = page.locator(f"table[data-table={table.name}] tbody th button")
        assert buttons.count() == min(len(table.rows), 10 if table.is_long else len(table.rows))
        buttons.last.press("Enter")
        title, facts, ids, _ = told_of(page)
        rows, card = rows_of(sources.table(table.name)), table_cards()[table.name]
        row = rows[buttons.count() - 1]
        wanted = [cell for cell in card.cells(sources, row) if cell in known]
        assert card.addressed(rows)[title.partition(": ")[2]] is row and facts
        assert set(ids) <= set(wanted) and len(ids) == min(25, len(wanted))
        assert f"{len(wanted)} cell" in page.locator("#why .told").inner_text() or not wanted
        page.keyboard.press("Escape")


def test_a_part_of_a_verdict_opens_how_its_interval_is_computed(content: Content, open_page: Open) -> None:
    page = open_page(content, "#claim-C3")
    verdict = next(v for claim, v in content.claims if claim.id == "C3")
    page.locator("#claim-C3 tbody th button").first.click()
    title, facts, ids, _ = told_of(page)
    part = verdict.parts[0]
    assert title.endswith(f"C3/{part.name}") and set(ids) == set(part.cells)
    assert computed_words(part) in facts and PAIRED.words in facts and INTERVAL in facts
    page.keyboard.press("Escape")
    page.locator(".answers tr").filter(has=page.locator("a[href='#claim-C3']")).locator("button").click()
    title, facts, ids, _ = told_of(page)
    assert title.endswith(": C3") and content.claims[2][0].rule in facts and set(ids) <= set(verdict.cells)


def test_a_link_opens_the_provenance_of_a_row_and_leads_to_a_cell_and_back(content: Content, open_page: Open) -> None:
    row = content.why["tables"]["trials"]["keys"][1]
    page = open_page(content, f"#why-trials.icons/{row}")
    title, _, (cell,), _ = told_of(page)
    assert title.endswith(row)
    page.locator("#why ol a").click()
    page.locator("#cell[open] h2", has_text=cell).wait_for()
    page.keyboard.press("Escape")
    assert page.locator("#cell[open]").count() == 0 and page.locator("#why[open]").count() == 1
