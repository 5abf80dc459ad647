"""The report of the published records: its tables are those that texts link to, and its page works.

Its size and its many searches are those that planted results do not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carft.store.archive import unpack
from carft.store.records import Store
from reports.render.manifest import Manifest, fingerprint, record_digests
from tests.support.browsing import NEEDS_A_BROWSER
from tests.support.helpers import ROOT, run_cli

pytestmark = pytest.mark.full

AUDIT = ROOT / "audit"
OPEN = ("contexts", "differences", "search")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the records of the audit in ``results`` and their report, made by this code, in ``report``."""
    return report_of(AUDIT, tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the second world."""
    return report_of(AUDIT / "photographs", tmp_path_factory.mktemp("photographs"))


def report_of(archive: Path, folder: Path) -> Path:
    unpack(archive / "records.zip", folder / "results")
    said = run_cli("report", "--results", folder / "results", "--out", folder / "report")
    assert said.returncode == 0, said.stderr
    return folder


def test_the_records_are_those_that_are_named(published: Path, photographs: Path) -> None:
    for folder in (published, photographs):
        assert_named(Manifest.read(folder / "report").records)


@pytest.mark.parametrize("path", sorted(AUDIT.glob("tables/*.csv")), ids=lambda path: path.stem)
def test_the_tables_that_texts_link_to_are_those_of_the_records(path: Path, published: Path) -> None:
    assert_same_table(path, published)


@pytest.mark.parametrize("path", sorted(AUDIT.glob("photographs/tables/*.csv")), ids=lambda path: path.stem)
def test_the_tables_of_the_second_world_are_those_of_its_records(path: Path, photographs: Path) -> None:
    assert_same_table(path, photographs)


def test_records_of_a_removed_method_and_of_arms_are_listed_and_reported(tmp_path: Path) -> None:
    """Those of a model that was pretrained from another seed, at equal strength."""
    unpack(AUDIT / "strength" / "seed-2" / "records.zip", tmp_path / "results")
    listed = run_cli("ls", "cells", "--results", tmp_path / "results", "--json")
    assert listed.returncode == 0 and "car_ft_rotated" in listed.stdout
    said = run_cli("report", "--results", tmp_path / "results", "--out", tmp_path / "report")
    assert said.returncode == 0, said.stderr
    assert "car_ft_rotated" in set(pd.read_csv(tmp_path / "report" / "tables" / "cells.csv")["method"])


def test_the_fingerprint_of_the_second_question_is_that_of_its_records(tmp_path: Path) -> None:
    unpack(AUDIT / "strength" / "records.zip", tmp_path / "results")
    assert_named(record_digests(Store(tmp_path / "results")))


def assert_named(records: Mapping[str, str]) -> None:
    """Assert that the documentation names the fingerprint of these digests."""
    assert f"`{fingerprint(records)}`" in (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")


def assert_same_table(path: Path, folder: Path) -> None:
    made = pd.read_csv(folder / "report" / "tables" / path.name)
    pd.testing.assert_frame_equal(pd.read_csv(path), made, rtol=1e-9, atol=1e-12)


def test_what_the_findings_say_of_single_suites_is_in_the_records(published: Path) -> None:
    store, rows = Store(published / "results"), []
    methods = {cell: study.method for study in store.studies() for cell in study.confirm}
    for record in store.records():
        cell = record.cell
        name = "zeroshot" if cell.method == "zeroshot" else methods.get(record.id)
        if cell.hyperparameters.get("alpha") == 0.5:
            name = f"WiSE-FT of {methods[cell.parents[0]]}"
        if name and cell.task.startswith("icons-3-full/") and cell.model == "icons-resnet":
            rows.append({"name": name, **store.metrics(record.id)})
    levels = 100 * pd.DataFrame(rows).groupby("name").mean()
    hands = levels["ood/hands/top1"]
    findings = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    assert f"FT gains {hands['ft'] - hands['zeroshot']:.0f} points" in findings
    behind = levels.loc["ft", "test/top1"] - levels.loc["WiSE-FT of ft", "test/top1"]
    assert f"WiSE-FT is {behind:.1f} points behind FT in distribution" in findings


def test_what_the_example_says_of_strength_and_of_curves_is_in_the_report(photographs: Path) -> None:
    tables = photographs / "report" / "tables"
    text = (ROOT / "examples" / "photographs" / "README.md").read_text(encoding="utf-8")
    history = pd.read_csv(tables / "history.csv")
    moved = history[history["epoch"] == history["epoch"].max()].set_index("method")["train/displacement"]
    assert f"moved by {moved['car_ft']:.2f} (CAR-FT) and {moved['car_ft_random']:.2f} (random vectors" in text
    trials = pd.read_csv(tables / "trials.csv")
    fast = trials[(trials["won"].astype(str) == "True") & (trials["lr"] > 6.5e-4)].groupby("method").size()
    words = f"{fast['car_ft_random']} of 24 winners of random vectors have a learning rate above 6.5e-4"
    assert f"{words}, {fast['ft']} of FT, {fast['car_ft']} of CAR-FT." in text
    curves = pd.read_csv(tables / "wise.csv").query("alpha == 0.5 and parent == 'car_ft'")
    levels = 100 * curves[["test/top1", "ood/mean/top1"]].mean()
    contexts = 100 * curves[["test/context_top1", "ood/context_top1"]].mean().mean()
    assert f"is at {levels.iloc[0]:.1f}, {levels.iloc[1]:.1f} and {contexts:.1f} %" in text


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
def test_the_first_figures_of_the_published_page_are_open_and_it_is_short_and_fits_the_screen(page: Any) -> None:
    for name in OPEN:
        picture = page.locator(f"#figure-{name} img[src]")
        picture.wait_for()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 500
    for width, height, screens in ((1280, 800, 13), (390, 844, 15)):
        page.set_viewport_size({"width": width, "height": height})
        page.reload()
        page.locator("#figure-search img[src]").wait_for()
        assert page.evaluate("document.documentElement.scrollHeight") <= screens * height
        assert page.evaluate("document.documentElement.scrollWidth") <= width
