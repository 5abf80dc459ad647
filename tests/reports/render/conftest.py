"""The page of planted results in a real headless Chromium, shared by all tests of this folder.

Skipped where no browser is installed, and only there; CI installs Debian's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from carft.data.sets import picture
from carft.store.records import Store
from reports.judge.findings import Findings
from reports.render.figures.figure import draw_figures
from reports.render.page import Content, rendered
from reports.render.pictures import PictureOptions, make_pictures
from reports.render.tables.table import make_tables
from reports.render.words.answer_words import PageAnswer
from tests.support.browsing import PATIENCE_MS, Open
from tests.support.helpers import TASK
from tests.support.planted import QUICK, plant
from tests.support.reading import judged_of

PLAN = replace(QUICK, groups=12, spread=0.3)
#: enough that there are more cells than a page shows on paper
ALPHAS = (0.0, 0.25, 0.5, 1.0)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    store = Store(tmp_path_factory.mktemp("results"))
    plant(store, [TASK, "icons-3/mix-6"], PLAN, trials=3, curves=True, alphas=ALPHAS)
    return judged_of(store)


@pytest.fixture(scope="session")
def content(sources: Findings, tmp_path_factory: pytest.TempPathFactory) -> Content:
    root = tmp_path_factory.mktemp("page")
    numbers = count()
    with patch("reports.render.pictures._pixels", lambda *of_image: np.asarray(picture(next(numbers)))):
        pictures = make_pictures(sources.evidence, PictureOptions(), root)  # planted images exist as predictions only
    tables = make_tables(sources)
    drawn = draw_figures(tables, sources.evidence.scale, root / "figures")
    return Content(sources, tables, PageAnswer.of(sources), drawn, "fingerprint", pictures)


def changed(content: Content, **values: Any) -> Content:
    """The content with other values in place of what its sources give."""
    other = copy(content)
    vars(other).update(values)
    return other


@pytest.fixture(scope="session")
def html() -> Callable[[Content], str]:
    """The page of a content, rendered once. The content is kept, so that no other one gets its id."""
    known: dict[int, tuple[Content, str]] = {}

    def page(content: Content) -> str:
        if id(content) not in known:
            known[id(content)] = (content, rendered("index.html", content))
        return known[id(content)][1]

    return page


@pytest.fixture(scope="session")
def tab(browser: Any) -> Iterator[SimpleNamespace]:
    """The one page of all tests, with what it complained of and asked for."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    page, complaints, asked = context.new_page(), [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    yield SimpleNamespace(page=page, complaints=complaints, asked=asked)
    context.close()


@pytest.fixture
def open_page(tab: SimpleNamespace, tmp_path: Path, html: Callable[[Content], str]) -> Iterator[Open]:
    """Opens a page from a file and sees to it that nothing was asked of a network and no error was reported."""

    def opened(content: Content, fragment: str = "") -> Any:
        path = tmp_path / "index.html"
        path.write_text(html(content), encoding="utf-8")
        tab.page.set_viewport_size({"width": 1400, "height": 1000})
        tab.page.emulate_media(media="screen", color_scheme="light")
        tab.page.goto(path.as_uri() + fragment)
        return tab.page

    yield opened
    tab.page.goto("about:blank")
    assert not tab.complaints
    assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in tab.asked)
