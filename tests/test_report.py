"""The report as files: tables that scripts rely on, a page that stands alone, names that cannot inject."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carft.data.catalog import DOWNSTREAM_ICONS
from carft.errors import Refusal
from carft.records import Store
from carft.specify import specify
from reports.build import Built, build_report
from reports.verdicts import ledger
from tests.planted import Plan, plant

PLAN = Plan(
    top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.65},
    context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8},
    spread=0.1,
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("planted"))
    plant(made, DOWNSTREAM_ICONS, PLAN)
    made.write_failure(specify("icons/body", "ft", {"lr": 1.0}), "<script>alert('reason')</script>", "")
    return made


@pytest.fixture(scope="module")
def built(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_report(store, tmp_path_factory.mktemp("report"))


def test_every_file_is_there_and_not_empty(built: Built) -> None:
    names = {path.name for path in built.paths}
    assert {"index.html", "report.md", "tasks.csv", "differences.csv", "verdicts.csv", "cells.csv"} <= names
    assert {path.suffix for path in built.paths} == {".html", ".md", ".csv", ".png", ".svg"}
    assert all(path.stat().st_size > 0 for path in built.paths)


def test_task_table_has_the_columns_scripts_rely_on(built: Built) -> None:
    table = pd.read_csv(built.page.parent / "tables" / "tasks.csv")
    wanted = ["task", "method", "n_seeds", "n_groups", "test_top1", "low", "high", "context_top1"]
    assert set(wanted) <= set(table.columns)
    assert {"ood/hands", "ood/renditions", "ood/sketches", "ood/adversarial", "ood/viewpoint"} <= set(table.columns)
    assert len(table) == 9 * 5
    inside = (table["low"] <= table["test_top1"]) & (table["test_top1"] <= table["high"])
    assert inside.all()


def test_table_numbers_follow_from_the_predictions(built: Built, store: Store) -> None:
    table = pd.read_csv(built.page.parent / "tables" / "tasks.csv")
    for row in table.itertuples():
        means = []
        for cell in str(row.cells).split():
            predictions = store.predictions(cell, "test")
            means.append(np.mean(predictions.logits.argmax(1) == predictions.labels))
        assert row.test_top1 == pytest.approx(np.mean(means))


def test_verdicts_have_the_fields_scripts_rely_on(built: Built) -> None:
    assert [v.claim for v in built.verdicts] == list(ledger())
    wanted = {"claim", "verdict", "scale", "effect", "low", "high", "n_seeds", "n_groups"}
    assert all(wanted <= set(v.as_dict()) for v in built.verdicts)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_page_stands_alone_and_escapes_what_came_from_data(built: Built) -> None:
    text = built.page.read_text(encoding="utf-8")
    parser = _Links()
    parser.feed(text)
    assert parser.scripts == 1
    assert all(source.startswith(("data:", "#")) for source in parser.sources)
    assert "&lt;script&gt;alert" in text
    assert len(text) < 3_000_000
    assert text.count("<figcaption>") == text.count("<figure ")


def test_page_says_scale_and_what_the_trials_are_worth(built: Built) -> None:
    for path in (built.page, built.page.with_name("report.md")):
        text = path.read_text(encoding="utf-8")
        assert "miniature" in text
        assert "one trial" in text


def test_same_records_give_the_same_tables(built: Built, store: Store, tmp_path: Path) -> None:
    again = build_report(store, tmp_path)
    for path in built.paths:
        if path.suffix in (".csv", ".md", ".html", ".svg"):
            other = again.page.parent / path.relative_to(built.page.parent)
            assert other.read_bytes() == path.read_bytes(), path.name


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    with pytest.raises(Refusal, match="no study"):
        build_report(Store(tmp_path), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium installed")
def test_script_runs_in_a_real_browser(built: Built, tmp_path: Path) -> None:
    """The page's script replaces every sortable heading by a button; without it, or with an error, none is there."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    command = [str(CHROMIUM), *flags, f"--user-data-dir={tmp_path}", "--dump-dom", built.page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert dom.count("<th><button>task</button></th>") == 1
    assert dom.count("<button>") > 30
