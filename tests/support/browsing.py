"""What tests of the page in a browser share: the browser, and how a table is read."""

from __future__ import annotations

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
#: longest wait in milliseconds, which only ends a hang
PATIENCE_MS = 600_000
#: opens a content, with a fragment of its address
Open = Callable[..., Any]

NEEDS_A_BROWSER = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed, so the page was not tried in a browser"
)
IN_A_BROWSER = [pytest.mark.slow, NEEDS_A_BROWSER]


def column(page: Any, table: str, number: int) -> list[str]:
    cells = page.locator(f"table[data-table={table}] tbody tr:visible > :nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def values(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-")) for text in texts if text != "–"]
