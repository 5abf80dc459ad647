"""The report of the published records: it holds, its tables are those that texts link to, and its page works.

Its size and its many searches are those that planted results do not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carft.store.archive import unpack
from reports.render.manifest import Manifest
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
