"""The page in a real headless Chromium: it loads without errors, sorts, filters, opens a cell, holds 10,000 cells.

Skipped where no browser is installed, and only there; CI installs Debian's.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.claims.verdicts import ledger
from reports.render.formatting import mark_of
from reports.render.page import PAGES, Content
from reports.render.plot_data import SYMBOLS, plot_data
from reports.tables.registry import Tables
from tests.support.browsing import IN_A_BROWSER, Open, column, values
from tests.support.helpers import TASK

pytestmark = IN_A_BROWSER

#: axe-core of Deque Systems (npm axe-core 4.14.1, MPL-2.0)
AXE = Path(__file__).parents[2] / "support" / "vendor" / "axe-4.14.1.min.js"


def signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


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


def test_every_claim_has_a_row_with_its_answer(content: Content, open_page: Open) -> None:
    page = open_page(content)
    rows = {row.locator(".id").inner_text(): row.inner_text() for row in page.locator(".answers tbody tr").all()}
    assert set(rows) == set(ledger())
    for claim, verdict in content.claims:
        text = rows[claim.id]
        assert verdict.title in text and mark_of(verdict).words in text and verdict.scale in text
    untested = page.locator(".answers tr.untested").all_inner_texts()
    assert len(untested) == sum(verdict.verdict == "not run" for _, verdict in content.claims)
    assert all("python cli.py" in text for text in untested)
    page.locator(".answers th > a").nth(2).click()
    assert page.url.endswith("#claim-C3")


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
    page.locator(".tools[data-for=tasks] input[type=search]").fill("wise")
    assert column(page, "tasks", 2) and all("WiSE" in name for name in column(page, "tasks", 2))
    assert "4 of 10" in page.locator(".tools[data-for=tasks] output").inner_text()


def test_the_words_of_a_filter_must_all_match_and_whole_cells_go_first(content: Content, open_page: Open) -> None:
    page = open_page(content, "#table-tasks")

    def shown(query: str) -> list[tuple[str, str]]:
        page.locator(".tools[data-for=tasks] input[type=search]").fill(query)
        return list(zip(column(page, "tasks", 1), column(page, "tasks", 2), strict=True))

    assert shown("FT") == [("icons/tools", "FT"), (TASK, "FT")]
    assert shown("tools car-ft") == [("icons/tools", "CAR-FT")]
    assert [method for _, method in shown("wise ft transport")] == ["WiSE-FT of FT"]
    assert shown("WiSE-FT of CAR-FT") == [("icons/tools", "WiSE-FT of CAR-FT"), (TASK, "WiSE-FT of CAR-FT")]
    assert {task for task, _ in shown("ransp")} == {TASK}
    assert shown("transport nothing") == []


def test_tables_have_captions_and_row_headers_and_images_say_what_they_show(content: Content, open_page: Open) -> None:
    page = open_page(content)
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("tbody tr:not(:has(th[scope^=row]))").count() == 0
    for image in page.locator("img").all():
        words = image.get_attribute("alt")
        assert words and words not in [text for plot in content.plots for text in (plot.title, plot.caption)]


def test_a_link_to_an_untested_claim_opens_it(content: Content, open_page: Open) -> None:
    page = open_page(content, "#claim-C11")
    assert page.locator("#claim-C11 dl").is_visible()


def test_open_verdicts_differ_from_decided_ones_without_colour(content: Content, open_page: Open) -> None:
    page = open_page(content)
    for row in page.locator(".answers tr:has(.bar)").all():
        is_open = "inconclusive" in row.inner_text() or "not decidable" in row.inner_text()
        style = row.locator(".range").evaluate("bar => getComputedStyle(bar).borderTopStyle")
        assert style == ("dashed" if is_open else "none")


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


def test_the_plots_speak_to_mouse_and_keyboard_and_share_one_choice_of_task(content: Content, open_page: Open) -> None:
    page = open_page(content)
    marks, said = page.locator("#plot-id-ood .markable"), page.locator("#plot-id-ood .said")
    marks.first.wait_for()
    assert marks.count() == len(content.plot_data["points"]) == 10
    marks.nth(3).hover(force=True)
    assert said.inner_text() == marks.nth(3).get_attribute("aria-label")
    marks.nth(0).focus()
    page.keyboard.press("ArrowRight")
    assert said.inner_text() == marks.nth(1).get_attribute("aria-label")
    page.locator("select.pick").first.select_option(TASK)
    words = [mark.get_attribute("aria-label") for mark in marks.all()]
    assert len(words) == 5 and all(text.startswith(TASK) for text in words)
    assert page.locator("select.pick").nth(1).input_value() == TASK
    assert page.locator("#plot-search .markable").count() == 6
    assert page.locator("#plot-differences .markable").count() == 6  # two places: two tasks and their mean


def test_dragging_over_marks_chooses_their_tasks_and_escape_all(content: Content, open_page: Open) -> None:
    page = open_page(content)
    marks, picks = page.locator("#plot-id-ood .markable"), page.locator("select.pick")
    marks.first.wait_for()
    page.locator("#plot-id-ood svg.plot-main").scroll_into_view_if_needed()
    boxes = [mark.bounding_box() for mark in marks.all()]
    assert len(boxes) == 10

    def drag(some: list[dict[str, float]]) -> None:
        """Drag a rectangle around the given marks, from its top left corner to its bottom right one."""
        page.mouse.move(min(b["x"] for b in some) - 4, min(b["y"] for b in some) - 4)
        page.mouse.down()
        page.mouse.move(
            max(b["x"] + b["width"] for b in some) + 4, max(b["y"] + b["height"] for b in some) + 4, steps=4
        )
        page.mouse.up()

    drag(boxes)
    assert page.locator("#plot-id-ood .said").inner_text().startswith("10 marks of ")
    assert [pick.locator("option:checked").inner_text() for pick in picks.all()] == ["2 tasks", "2 tasks"]
    page.keyboard.press("Escape")
    assert [pick.input_value() for pick in picks.all()] == ["", ""] and marks.count() == 10
    drag([boxes[0]])
    (task,) = {words.split(",")[0] for words in marks.evaluate_all("m => m.map(x => x.getAttribute('aria-label'))")}
    assert marks.count() == 5 and [pick.input_value() for pick in picks.all()] == [task, task]
    assert page.locator("#plot-search .markable").count() == 6
    grey = page.locator("#plot-differences .marks [fill='#8a939d']")
    assert grey.count() == 2 and all(task not in mark.get_attribute("aria-label") for mark in grey.all())


def test_no_mark_of_a_plot_is_without_area(content: Content, open_page: Open) -> None:
    every = [{**row, "method": name} for row in content.plot_data["points"] for name in (*SYMBOLS, "other")]
    methods = {name: {"colour": "#000000", "symbol": symbol} for name, symbol in SYMBOLS.items()}
    page = open_page(replace(content, plot_data={**content.plot_data, "points": every, "methods": methods}))
    marks = page.locator("#plot-id-ood .markable")
    marks.first.wait_for()
    assert marks.count() == len(every)
    outlines = marks.evaluate_all("m => m.map(mark => mark.getAttribute('d') ?? 'A')")
    assert all(re.search("[ZA]", outline) for outline in outlines)  # closed, or an arc


def test_the_plot_of_contexts_names_each_context_method_and_share(content: Content, open_page: Open) -> None:
    page = open_page(content)
    marks, rows = page.locator("#plot-contexts .markable"), content.plot_data["contexts"]
    marks.first.wait_for()
    assert marks.count() == len(rows) == 3 * 18
    wanted = {f"{r['context']}, {r['method']}: {r['share']:.1f} % of {r['images']:,} images" for r in rows}
    assert set(marks.evaluate_all("m => m.map(x => x.getAttribute('aria-label'))")) == wanted
    name = page.locator("#plot-contexts text", has_text="a cartoon [class]")
    edge = page.locator("#plot-contexts svg.plot-main").bounding_box()["x"]
    assert min(text.bounding_box()["x"] for text in page.locator("#plot-contexts svg.plot-main text").all()) >= edge
    before = name.bounding_box()
    assert before["x"] + before["width"] < min(mark.bounding_box()["x"] for mark in marks.all())
    page.set_viewport_size({"width": 320, "height": 900})
    page.wait_for_function("document.querySelector('#plot-contexts svg.plot-main').clientWidth < 320")
    narrow = name.bounding_box()
    assert narrow["x"] >= 0 and narrow["x"] + narrow["width"] <= 320


def test_figures_can_be_read_on_a_phone(content: Content, open_page: Open) -> None:
    page = open_page(content)
    levels, picture = page.locator(".levels"), page.locator(".opening img")
    assert picture.is_visible() and levels.is_hidden()
    page.set_viewport_size({"width": 320, "height": 640})
    assert levels.is_visible() and picture.is_hidden()
    told = levels.locator("tbody").all_inner_texts()
    assert len(told) == len(content.levels) == 3
    for text, (place, rows) in zip(told, content.levels, strict=True):
        assert place in text
        assert all(f"{level.value:.1f}" in text and f"{level.low:.1f} to {level.high:.1f}" in text for level in rows)
    page.locator("#accuracy ~ details.figures summary").first.click()
    box = page.locator("#figure-differences .wide-picture")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    assert box.locator("img").evaluate("i => i.clientWidth >= i.naturalWidth - 1")
    assert page.locator("#figure-differences .only-narrow").is_visible()


def test_the_sections_stay_at_hand_on_every_screen(content: Content, open_page: Open) -> None:
    page = open_page(content, "#tables")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        box = page.locator("nav").bounding_box()
        assert box["y"] == 0 and box["height"] < 60


def test_a_claim_of_several_parts_shows_the_worst_and_the_mean(content: Content, open_page: Open) -> None:
    page = open_page(content)
    verdict = next(verdict for _, verdict in content.claims if verdict.claim == "C4")
    mean = next(part for part in verdict.parts if part.name == "CAR-FT - FT, mean of suites")
    row = page.locator(".answers tr", has_text=verdict.title).first.inner_text()
    assert f"worst of 5: {verdict.headline}" in row and f"mean of suites {signed(mean.estimate.effect)}" in row


def test_the_interval_of_differences_can_hold_the_search_and_the_tasks(
    content: Content, sources: Tables, open_page: Open
) -> None:
    page = open_page(content)
    marks = page.locator("#plot-differences .markable")
    marks.first.wait_for()
    told = {}
    for name in ("seeds", "search", "tasks"):
        page.locator(f"#intervals [value={name}]").check()
        told[name] = [mark.get_attribute("aria-label") for mark in marks.all()]
    alone, mean = (next(k for k, row in enumerate(told["seeds"]) if row.startswith(who)) for who in (TASK, "mean"))
    assert told["seeds"][alone] == told["tasks"][alone] != told["search"][alone]
    assert len({told[name][mean] for name in told}) == 3
    parts, widths = (pd.DataFrame(sources.table(name)) for name in ("verdicts", "uncertainty"))
    sample = parts[parts["part"] == "CAR-FT - FT, ID test, tasks as a sample"].iloc[0]
    assert f"({signed(sample.low)} to {signed(sample.high)})" in told["tasks"][mean]
    own = widths[(widths["contrast"] == "CAR-FT - FT") & (widths["where"] == "ID test")]
    row = own[own["task"] == TASK].iloc[0]
    low, high = row.effect - row.half_width_with_search, row.effect + row.half_width_with_search
    assert f"({signed(low)} to {signed(high)})" in told["search"][alone]


def test_an_interval_that_the_records_do_not_give_is_disabled_with_the_reason(
    content: Content, sources: Tables, open_page: Open
) -> None:
    tables = {**sources.tables()}
    tables["uncertainty"] = tables["uncertainty"].assign(se_hyperparameters=float("nan"), half_width_with_search=0.0)
    tables["verdicts"] = tables["verdicts"].query("n_tasks < 2")
    page = open_page(replace(content, plot_data=plot_data(tables)))
    for name, reason in (("search", "studies of one trial"), ("tasks", "it needs two tasks")):
        choice = page.locator(f"#intervals [value={name}]")
        assert choice.is_disabled() and reason in choice.locator("..").inner_text()


def test_a_mark_of_the_search_opens_its_cell(content: Content, open_page: Open) -> None:
    page = open_page(content)
    trials = page.locator("#plot-search a.markable")
    trials.first.wait_for()
    assert trials.count() == len(content.plot_data["trials"]) == 12
    assert "KL weight" in trials.last.get_attribute("aria-label")
    trials.first.click(force=True)
    opened = page.locator("#cell[open] h2").inner_text()
    assert opened.removeprefix("Cell ") in {trial["cell"] for trial in content.plot_data["trials"]}
    page.keyboard.press("Escape")
    trials.last.focus()
    page.keyboard.press("Enter")
    assert page.locator("#cell[open] h2").inner_text() != opened


def test_a_method_without_a_learning_rate_is_drawn_over_its_own_penalty(
    content: Content, sources: Tables, open_page: Open
) -> None:
    tables = {**sources.tables()}
    probe = tables["trials"].query("method == 'ft'").assign(method="linear_probe", lr=float("nan"), l2=1e-3)
    tables["trials"] = pd.concat([tables["trials"], probe], ignore_index=True)
    page = open_page(replace(content, plot_data=plot_data(tables)))
    marks = page.locator("#plot-search a.markable")
    marks.first.wait_for()
    assert marks.count() == len(content.plot_data["trials"])
    page.locator("#searched").select_option("all")
    assert marks.count() == len(content.plot_data["trials"]) + len(probe)
    assert page.locator("#plot-search a.markable[aria-label*='linear probe: penalty 0.0010']").count() == len(probe)
    assert page.locator("#plot-id-ood .markable").count() > 0


def test_of_very_many_trials_a_share_is_drawn_and_the_axis_says_which(content: Content, open_page: Open) -> None:
    trials = [trial for trial in content.plot_data["trials"] if trial["method"] == "FT"]
    many = [{**trial, "won": k == 1} for k, trial in enumerate(trials * 500)]
    page = open_page(replace(content, plot_data={**content.plot_data, "trials": many}))
    marks = page.locator("#plot-search a.markable")
    marks.first.wait_for()
    assert len(many) == 3000 and marks.count() == 1001
    assert "1 in 3 of 3,000 trials" in page.locator("#plot-search svg.plot-main").inner_html()
    assert page.locator("#plot-search a.markable[aria-label*=winner]").count() == 1


def test_the_gallery_shows_both_directions_and_filters(content: Content, open_page: Open) -> None:
    page = open_page(content)
    shown, told = page.locator(".gallery > li:visible"), page.locator("#gallery-tools output")
    count = len(content.gallery.disagreements)
    assert 24 <= count <= 60 and shown.count() == 12
    assert {p.right for p in content.gallery.disagreements} >= {"CAR-FT", "FT"}
    page.locator("#gallery-tools .more").click()
    assert shown.count() == count and told.inner_text() == f"{count} of {count} images"
    page.locator("[data-filter=task]").select_option(TASK)
    page.locator("[data-filter=right]").select_option("CAR-FT")
    wanted = [p for p in content.gallery.disagreements if p.facts["task"] == TASK and p.right == "CAR-FT"]
    assert 0 < shown.count() == len(wanted) < count
    first = wanted[0]
    assert shown.first.locator("img").get_attribute("alt") == first.words and first.facts["label"] in first.words
    answers = shown.first.locator("ul li").all_inner_texts()
    assert len(answers) == 3 and any("CAR-FT" in text and "right" in text for text in answers)
    sides = page.locator("li > img").evaluate_all("i => i.flatMap(x => [x.naturalWidth, x.naturalHeight])")
    assert all(0 < side <= 96 for side in sides)
    assert page.locator(".contexts img").count() == len(content.gallery.contexts) == 18


def test_without_pictures_there_is_no_section_on_them(content: Content, open_page: Open) -> None:
    page = open_page(replace(content, gallery=replace(content.gallery, contexts=[], disagreements=[])))
    assert page.locator("#pictures").count() == page.locator("nav a[href='#pictures']").count() == 0


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


def test_a_table_says_how_its_numbers_are_computed(content: Content, open_page: Open) -> None:
    page = open_page(content, "#table-tasks")
    page.locator("#table-tasks details.inline summary").click()
    told = page.locator("#table-tasks dl").inner_text()
    assert "ID test" in told and "share of images whose largest logit is the label's" in told


def test_a_wide_table_keeps_its_first_column_in_sight(content: Content, open_page: Open) -> None:
    page = open_page(content, "#table-tasks")
    page.set_viewport_size({"width": 500, "height": 900})
    box = page.locator(".scroll:has(table[data-table=tasks])")
    left = "document.querySelector('table[data-table=tasks] tbody th').getBoundingClientRect().left"
    before = page.evaluate(left)
    box.evaluate("box => { box.scrollLeft = 200; }")
    assert box.evaluate("box => box.scrollLeft") == 200 and page.evaluate(left) == before
    page.set_viewport_size({"width": 1280, "height": 900})
    assert max(box.locator("tbody tr").evaluate_all("rows => rows.map(row => row.offsetHeight)")) < 40


def test_a_claim_is_opened_by_keyboard_alone_and_leads_to_a_cell(content: Content, open_page: Open) -> None:
    page = open_page(content)
    page.locator("#claim-C3 > summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#claim-C3 dl").is_visible()
    page.locator("#claim-C3 button", has_text="Rests on").press("Enter")
    page.locator("#why[open] li a").first.press("Enter")
    page.locator("#cell[open]").wait_for()
    assert page.evaluate("document.querySelector('dialog').scrollTop") == 0
    assert page.evaluate("document.activeElement.id") == "cell-title"


def test_an_interpolation_names_its_parent_and_leads_to_it(content: Content, open_page: Open) -> None:
    k, row = next((k, row) for k, row in enumerate(content.cells["rows"]) if row[2] == "WiSE-FT of CAR-FT")
    (parent,) = content.cells["details"][k][4]
    page = open_page(content, f"#cell-{row[0]}")
    page.locator("dialog dd a").click()
    page.locator("dialog[open] h2", has_text=f"Cell {parent}").wait_for()


#: axe's names of WCAG 2.2 AA; in the dark scheme and on a phone, what these two change
STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WHOLE, NARROW = {"runOnly": STANDARD}, {"runOnly": ["color-contrast", "target-size", "scrollable-region-focusable"]}


@pytest.mark.parametrize(("scheme", "width", "rules"), [("light", 1280, WHOLE), ("dark", 390, NARROW)])
def test_axe_finds_nothing_at_wcag_2_2_aa(
    content: Content, open_page: Open, scheme: str, width: int, rules: dict[str, Any]
) -> None:
    page = open_page(content)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("rules => axe.run(rules)", rules)
    assert found["passes"]
    assert [(v["id"], v["nodes"][0]["html"][:200], v["nodes"][0]["failureSummary"]) for v in found["violations"]] == []


def test_the_opened_page_is_short(content: Content, open_page: Open) -> None:
    page = open_page(content)
    page.set_viewport_size({"width": 1280, "height": 800})
    assert len(page.evaluate("document.body.innerText").split()) <= 3000
    assert page.evaluate("document.documentElement.scrollHeight") <= 11 * 800


@pytest.mark.parametrize("width", [320, 390])
def test_a_narrow_screen_needs_no_sideways_scrolling(content: Content, open_page: Open, width: int) -> None:
    page = open_page(content)
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_no_verdict_is_printed_over_its_number_on_a_phone(content: Content, open_page: Open) -> None:
    page = open_page(content)
    for width in (320, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for row in page.locator(".answers tbody tr:not(.untested)").all():
            said, number = (row.locator(part).bounding_box() for part in (".answer", ".number strong"))
            beside = said["x"] + said["width"] <= number["x"] or number["x"] + number["width"] <= said["x"]
            assert beside or said["y"] + said["height"] <= number["y"] or number["y"] + number["height"] <= said["y"]


CONTRAST = """selector => {
  const light = text => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255);
    const [r, g, b] = parts.map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.querySelector(selector));
  const pair = [style.color, getComputedStyle(document.body).backgroundColor].map(light).sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(content: Content, open_page: Open, scheme: str) -> None:
    page = open_page(content)
    page.emulate_media(color_scheme=scheme)
    for kind in (
        "reproduced",
        "contradicted",
        "inconclusive",
        "not-decidable-at-this-size",
        "not-run",
        "soft",
        "badge",
    ):
        page.evaluate("kind => document.querySelector('h1').className = kind", kind)
        assert page.evaluate(CONTRAST, "h1") >= 4.5, kind
    for part in ("body", "main a", ".trust dd", "dialog"):
        assert page.evaluate(CONTRAST, part) >= 4.5, part


def test_paper_shows_what_was_closed(content: Content, open_page: Open) -> None:
    page = open_page(content)
    closed = "document.querySelectorAll('details:not([open]):not(.columns)').length"
    before = page.evaluate(closed)
    assert before > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(closed) == 0
    total = len(content.cells["rows"])
    assert page.locator("table[data-table=cells] tbody tr").count() == 50 < total
    left_out = page.locator("[data-left-out=cells]").text_content()
    assert left_out == f"Rows 1 to 50 of {total}; all are in tables/cells.csv."
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(closed) == before


def test_a_sheet_of_paper_is_no_phone_and_no_table_is_wider(content: Content, open_page: Open) -> None:
    page = open_page(content)
    page.set_viewport_size({"width": 703, "height": 1000})  # A4 with margins of 12 mm
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".opening img").is_visible() and page.locator(".levels").is_hidden()
    widths = page.locator("table.data").evaluate_all("tables => tables.map(table => table.offsetWidth)")
    assert len(widths) > 20 and max(widths) <= 703
    page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_names_cannot_act(content: Content, open_page: Open) -> None:
    name = "</script><img src=x onerror=\"document.title='acted'\">"
    rows = [("f" * 16, name, *row[2:]) for row in content.cells["rows"]]
    problem = {"what": name, "where": name, "words": name}
    page = open_page(replace(content, cells={**content.cells, "rows": rows}, problems=[problem], rests_on=name))
    assert page.title() != "acted"
    assert name in page.locator("table[data-table=cells] tbody").inner_text()


def test_ten_thousand_cells_are_no_burden(content: Content, open_page: Open) -> None:
    times = 10_000 // len(content.cells["rows"]) + 1
    rows = [(f"{k:016x}", *row[1:]) for k, row in enumerate(list(content.cells["rows"]) * times)][:10_000]
    details = (list(content.cells["details"]) * times)[:10_000]
    large = replace(content, cells={**content.cells, "rows": rows, "details": details})
    page = open_page(large)
    assert len(PAGES["index.html"](large)) < 5_000_000
    assert page.locator("table[data-table=cells] tbody tr").count() <= 15
    output = page.locator(".tools[data-for=cells] output")
    assert "of 10,000" in output.inner_text()
    page.locator(".tools[data-for=cells] button", has_text="Later").click()
    assert output.inner_text().startswith("16 to 30")
    page.locator("table[data-table=cells] th button", has_text="val").click()
    shown = values(column(page, "cells", 7))
    assert shown == sorted(shown) and len(shown) == 15
    page.locator(".tools[data-for=cells] input[type=search]").fill(f"{9_999:016x}")
    assert column(page, "cells", 1) == [f"{9_999:016x}"]
    page.locator("table[data-table=cells] tbody button").click()
    page.locator("dialog[open]").wait_for()
