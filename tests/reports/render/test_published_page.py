"""The report of the published records: it holds, its tables are those that texts link to, and its page works.

The page has many methods and two families, which planted results do not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carft.store.archive import unpack
from reports.claims.rules import ledger
from reports.render.manifest import Manifest
from sweeps.recipes import load_recipe
from tests.support.browsing import NEEDS_A_BROWSER
from tests.support.helpers import ROOT, run_cli

pytestmark = pytest.mark.full

AUDIT = ROOT / "audit"
PLOTS = ("plot-contexts", "plot-differences", "plot-id-ood", "plot-search")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the published records in ``results`` and their report, made by this code, in ``report``."""
    folder = tmp_path_factory.mktemp("published")
    unpack(AUDIT / "records.zip", folder / "results")
    said = run_cli("report", "--results", folder / "results", "--out", folder / "report")
    assert said.returncode == 0, said.stderr
    return folder


def test_every_number_of_the_report_holds_and_the_records_are_those_that_are_named(published: Path) -> None:
    said = run_cli("report", "verify", "--results", published / "results", "--out", published / "report")
    assert said.returncode == 0, said.stdout
    assert "Every number holds." in said.stdout
    fingerprint = Manifest.read(published / "report").fingerprint
    assert f"`{fingerprint}`" in (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(AUDIT.glob("tables/*.csv")), ids=lambda path: path.stem)
def test_the_tables_that_texts_link_to_are_those_of_the_records(path: Path, published: Path) -> None:
    made = pd.read_csv(published / "report" / "tables" / path.name)
    pd.testing.assert_frame_equal(pd.read_csv(path), made, rtol=1e-9, atol=1e-12)


def test_the_recipe_of_readings_names_the_number_of_its_cells(published: Path) -> None:
    cells = pd.read_csv(published / "report" / "tables" / "cells.csv")
    assert f"{(cells['task'] == 'icons/all').sum()} cells" in load_recipe("readings").expect


@pytest.fixture
def page(browser: Any, published: Path) -> Iterator[Any]:
    """The published page in a window of its own, in which nothing complains."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((published / "report" / "index.html").as_uri())
    yield page
    context.close()
    assert not complaints


@NEEDS_A_BROWSER
def test_every_plot_of_the_published_page_is_drawn_and_it_is_short_and_fits_the_screen(page: Any) -> None:
    for plot in PLOTS:
        page.locator(f"#{plot} .markable").first.wait_for()
    for width, height, screens in ((1280, 800, 13), (390, 844, 15)):
        page.set_viewport_size({"width": width, "height": height})
        page.reload()
        page.locator("#plot-contexts .markable").first.wait_for()
        assert page.evaluate("document.documentElement.scrollHeight") <= screens * height
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@NEEDS_A_BROWSER
def test_the_first_scope_leads_and_the_matrix_leads_to_every_verdict(page: Any, published: Path) -> None:
    found = pd.read_csv(published / "report" / "tables" / "claims.csv", keep_default_na=False)
    ran = found[found["verdict"] != "not run"]
    first = ~ran.duplicated("claim")
    told = page.locator("#answers tr.asked th > a").all_inner_texts()
    assert told == [ledger()[claim].title for claim in ran[first]["claim"]]
    further = page.locator("details.further")
    assert further.locator("tr.asked").count() == (~first).sum() and not further.locator("tr").first.is_visible()
    elsewhere = found[(found["verdict"] == "not run") & found["claim"].isin(set(ran["claim"]))]
    assert further.locator("tr.untested").count() == len(elsewhere) > 0
    cells = page.locator(".matrix td a")
    assert cells.count() == len(found)
    for cell in (cells.first, cells.nth(1), page.locator(".matrix td a", has_text="not run").last):
        cell.click()
        assert page.locator(f"[id='{cell.get_attribute('href')[1:]}']").is_visible()
