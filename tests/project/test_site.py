"""The documentation as a site: every page is in it, its links hold, and its search works from files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.browsing import IN_A_BROWSER
from tests.support.helpers import environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. MkDocs is strict: a broken link or anchor between pages is an error."""
    target = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", target],
        cwd=ROOT,
        env=environment() | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return target


def test_every_page_is_in_the_navigation_and_no_link_leads_out_of_the_site(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} | {"index"}
    opened = (site / "index.html").read_text(encoding="utf-8")
    for name in pages:
        text = (site / f"{name}.html").read_text(encoding="utf-8")
        assert name == "index" or f'href="{name}.html"' in opened + text
        for link in re.findall(r'(?:href|src)="([^"#]+)', text):
            if not link.startswith(("http", "mailto:", ".", "javascript:")):
                assert (site / link).exists(), (name, link)
        assert "https://unpkg" not in text and "\\frac" not in re.sub(r"<annotation.*?</annotation>", "", text)


@IN_A_BROWSER[0]
@IN_A_BROWSER[1]
@pytest.mark.parametrize("width", [1280, 390])
def test_search_finds_a_page_without_a_network_and_no_page_is_wider_than_the_screen(
    site: Path, browser: Any, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    page = context.new_page()
    page.goto((site / "statistics.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width < 900:
        page.locator("label.md-header__button[for=__search]").click()
    page.locator("input.md-search__input").press_sequentially("extended after test")
    # the list is rendered again with each letter
    found = page.locator(".md-search-result__item a[href*='statistics.html']").first
    found.wait_for(state="attached", timeout=120_000)
    context.close()
