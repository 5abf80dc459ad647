"""The documentation as a site: every page is in it, and its links hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.helpers import ROOT, environment


@pytest.mark.full
def test_every_page_is_in_the_navigation_and_no_link_leads_out_of_the_site(tmp_path: Path) -> None:
    """MkDocs is strict: a broken link or anchor between pages is an error."""
    site = tmp_path / "site"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", site],
        cwd=ROOT,
        env=environment() | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} | {"index"}
    opened = (site / "index.html").read_text(encoding="utf-8")
    for name in pages:
        text = (site / f"{name}.html").read_text(encoding="utf-8")
        assert name == "index" or f'href="{name}.html"' in opened + text
        for link in re.findall(r'(?:href|src)="([^"#]+)', text):
            if not link.startswith(("http", "mailto:", ".", "javascript:")):
                assert (site / link).exists(), (name, link)
        assert "https://unpkg" not in text and "\\frac" not in re.sub(r"<annotation.*?</annotation>", "", text)
