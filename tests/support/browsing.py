"""What tests of the page in a browser share: the browser, and how a table is read."""

from __future__ import annotations

import base64
import gzip
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: a part of a page that its script unpacks
PACKED = re.compile(r'"packed:([A-Za-z0-9+/=]*)"')
#: longest wait in milliseconds, which only ends a hang
PATIENCE_MS = 600_000
#: opens a content, with a fragment of its address
Open = Callable[..., Any]

NEEDS_A_BROWSER = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed, so the page was not tried in a browser"
)
IN_A_BROWSER = [pytest.mark.slow, NEEDS_A_BROWSER]


#: WCAG's contrast ratio of an element's colour with the ground of the page
RATIO = """element => {
  const light = text => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255);
    const [r, g, b] = parts.map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pair = [getComputedStyle(element).color, getComputedStyle(document.body).backgroundColor].map(light);
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""


def contrast(element: Any) -> float:
    """How far a locator's first element stands out from the ground of the page."""
    return element.first.evaluate(RATIO)


def contrasts(page: Any, selectors: list[str]) -> list[float]:
    """The same of the first element of each selector."""
    return page.evaluate(f"names => names.map(name => document.querySelector(name)).map({RATIO})", selectors)


def signed(share: float) -> str:
    """A share of 1 in points, as the page writes it."""
    return f"{100 * share:+.1f}".replace("-", "−")


def column(page: Any, table: str, number: int) -> list[str]:
    cells = page.locator(f"table[data-table={table}] tbody tr:visible > :nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def values(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-")) for text in texts if text != "–"]


def unpacked(page: str) -> str:
    """A page with the text of its packed parts."""
    return PACKED.sub(lambda found: gzip.decompress(base64.b64decode(found[1])).decode(), page)
