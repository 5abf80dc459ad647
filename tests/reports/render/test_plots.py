"""The plots of the page: what each mark says, and the choices that all plots share."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from reports.figures.figure import interactive_data
from reports.figures.style import SYMBOLS
from reports.render.page import Content
from reports.tables.table import Sources
from tests.support.browsing import IN_A_BROWSER, Open, contrast
from tests.support.helpers import TASK

pytestmark = IN_A_BROWSER


def test_the_plots_speak_to_mouse_and_keyboard_and_share_one_choice_of_task(
    content: Content, sources: Sources, open_page: Open
) -> None:
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
    differences = page.locator("#plot-differences .markable")
    assert differences.count() == 6  # two places: two tasks and their mean
    grey = page.locator("#plot-differences .marks [fill='#8a939d']")
    assert grey.count() == 2 and all(TASK not in mark.get_attribute("aria-label") for mark in grey.all())
    rows = sources.table("verdicts").set_index("part")
    mean = rows[~rows.index.duplicated()].loc["CAR-FT - FT, ID test"]
    told = next(m.get_attribute("aria-label") for m in differences.all() if m.get_attribute("aria-label")[:4] == "mean")
    numbers = [float(word.replace("−", "-")) for word in re.findall(r"[+−][\d.]+", told)]
    assert numbers == pytest.approx([100 * mean.effect, 100 * mean.low, 100 * mean.high], abs=0.06)
    page.locator("select.pick").nth(1).select_option("")
    assert marks.count() == 10


def test_no_mark_of_a_plot_is_without_area(content: Content, open_page: Open) -> None:
    every = [{**row, "method": name} for row in content.plot_data["points"] for name in (*SYMBOLS, "other")]
    methods = {name: {"colour": "#000000", "symbol": symbol} for name, symbol in SYMBOLS.items()}
    alone = {**content.plot_data, "contexts": [], "trials": [], "points": every, "methods": methods}
    page = open_page(replace(content, plot_data=alone))
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
    wanted = {
        f"{r['context']}{' (trained on)' * r['seen']}, {r['method']}: {r['share']:.1f} % of {r['images']:,} images"
        for r in rows
    }
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


def test_a_mark_of_the_search_opens_its_cell_and_a_probe_lies_over_its_own_penalty(
    content: Content, sources: Sources, open_page: Open
) -> None:
    tables = sources.tables()
    probe = tables["trials"].query("method == 'ft'").assign(method="linear_probe", lr=float("nan"), l2=1e-3)
    tables["trials"] = pd.concat([tables["trials"], probe], ignore_index=True)
    page = open_page(replace(content, plot_data=interactive_data(tables)))
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
    page.keyboard.press("Escape")
    page.locator("#tuning ~ .plot .tools .methods summary").first.click()
    page.locator("#tuning ~ .plot .tools .methods").get_by_label("linear probe", exact=True).check()
    assert trials.count() == len(content.plot_data["trials"]) + len(probe)
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
    assert page.locator("#plot-search .key svg").bounding_box()["height"] < 80  # a legend, not a banner


def test_the_choice_of_methods_holds_for_all_plots(content: Content, open_page: Open) -> None:
    others = [{**row, "method": "KD"} for row in content.plot_data["contexts"] if row["method"] == "FT"]
    drawn = {**content.plot_data, "contexts": [*content.plot_data["contexts"], *others]}
    page = open_page(replace(content, plot_data=drawn))
    marks, pickers = page.locator("#plot-contexts .markable"), page.locator(".methods")
    marks.first.wait_for()
    assert marks.count() == len(content.plot_data["contexts"])
    assert set(pickers.locator("summary").all_inner_texts()) == {"Methods (5 of 6)"}
    pickers.first.locator("summary").click()
    pickers.first.get_by_label("KD", exact=True).check()
    assert marks.count() == len(drawn["contexts"])
    pickers.first.get_by_label("FT", exact=True).uncheck()
    assert marks.count() == len(content.plot_data["contexts"])
    assert page.locator("#plot-id-ood .markable").count() == 8  # two tasks of four methods and interpolations
    assert page.locator("#plot-search .markable").count() == 6
    assert not pickers.last.locator("input[value=FT]").is_checked()


def test_panels_side_by_side_have_a_task_on_one_line_also_where_one_has_no_number(
    content: Content, open_page: Open
) -> None:
    rows = [r for r in content.plot_data["differences"] if (r["task"], r["where"]) != (TASK, "ID test")]
    long = {"icons/tools": "icons/tools-of-a-workshop-that-has-a-name-of-several-lines-beside-the-panel"}
    rows = [{**row, "task": long.get(row["task"], row["task"])} for row in rows]
    page = open_page(replace(content, plot_data={**content.plot_data, "differences": rows}))
    panels = page.locator("#plot-differences svg.plot-main")
    panels.first.wait_for()
    heights = []
    for panel in panels.all():
        marks = panel.locator(".markable").all()
        told = [(mark.get_attribute("aria-label").split(",")[0], mark.bounding_box()) for mark in marks]
        heights.append({task: box["y"] + box["height"] / 2 for task, box in told})
    inside, outside = heights
    assert set(inside) == set(outside) - {TASK}
    assert all(abs(inside[task] - outside[task]) < 1 for task in inside)
    assert [panels.nth(k).locator("text", has_text="transport").count() for k in (0, 1)] == [1, 0]


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.full)])
def test_marks_and_their_words_stand_out_from_the_ground_of_either_scheme(
    content: Content, open_page: Open, scheme: str
) -> None:
    page = open_page(content)
    page.emulate_media(color_scheme=scheme)
    for plot in ("contexts", "differences", "id-ood"):
        page.locator(f"#plot-{plot} .markable").first.wait_for()
        for part, least in ((".markable", 3), ("svg text", 4.5)):
            for element in page.locator(f"#plot-{plot} {part}").all():
                assert contrast(element, "fill") >= least, (plot, element.get_attribute("aria-label"))
