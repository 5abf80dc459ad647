"""The report as files: tables that scripts rely on, a page that stands alone, names that cannot inject."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.catalog.resolve import specify
from carft.core.errors import UserError
from carft.data.icons.world import nine_tasks
from carft.store.failures import write_failure
from carft.store.records import Store
from reports.judge.claims.ledger import ledger
from reports.pipeline import build_report
from reports.render.formatting import latex, markdown
from reports.render.report import Report
from reports.render.words.verdict_words import as_dict
from tests.support.browsing import unpacked
from tests.support.helpers import run_cli
from tests.support.planted import HALF, QUICK, Plan, plant
from tests.support.reading import table_of

PLAN = replace(QUICK, groups=24)
HOSTILE = "</script><script>alert('reason')</script>"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("planted"))
    plant(made, nine_tasks(), PLAN, curves=True, alphas=HALF)
    write_failure(made, specify("icons-3/mix-1", "ft", {"lr": 1.0}), "diverged", HOSTILE)
    return made


@pytest.fixture
def small(tmp_path: Path) -> Store:
    """Results of one task."""
    made = Store(tmp_path / "small")
    plant(made, ["icons-3/mix-7"], QUICK)
    return made


@pytest.fixture
def built_before(built: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """For commands of which only what they print is of interest."""
    monkeypatch.setattr("reports.pipeline.build_report", lambda *arguments: built)


@pytest.fixture(scope="module")
def built(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return build_report(store, tmp_path_factory.mktemp("report"))


def test_the_files_columns_and_fields_that_scripts_rely_on_are_there(built: Report) -> None:
    names = {path.name for path in built.paths}
    assert {"index.html", "report.md", "tasks.csv", "differences.csv", "verdicts.csv", "cells.csv"} <= names
    assert {"manifest.json", "tables.tex"} <= names
    assert {path.suffix for path in built.paths} == {".html", ".md", ".csv", ".png", ".svg", ".tex", ".json"}
    assert all(path.stat().st_size > 0 for path in built.paths)
    assert [v.claim for v in built.findings.verdicts] == list(ledger())
    fields = {"claim", "verdict", "scale", "effect", "low", "high", "n_seeds", "n_groups"}
    assert all(fields <= set(as_dict(v)) for v in built.findings.verdicts)
    table = pd.read_csv(built.page.parent / "tables" / "tasks.csv")
    wanted = ["task", "method", "n_seeds", "n_groups", "test_top1", "low", "high", "context_top1"]
    assert set(wanted) <= set(table.columns)
    assert {"ood/hands", "ood/renditions", "ood/sketches", "ood/adversarial", "ood/viewpoint"} <= set(table.columns)
    assert len(table) == 9 * 5
    inside = (table["low"] <= table["test_top1"]) & (table["test_top1"] <= table["high"])
    assert inside.all()


def test_table_numbers_follow_from_the_predictions(built: Report, store: Store) -> None:
    table = pd.read_csv(built.page.parent / "tables" / "tasks.csv")
    for row in table.itertuples():
        means = []
        for cell in str(row.cells).split():
            predictions = store.predictions(cell, "test")
            means.append(np.mean(predictions.logits.argmax(1) == predictions.labels))
        assert row.test_top1 == pytest.approx(np.mean(means))


class _Links(HTMLParser):
    """Links, the kinds of scripts, and what stands in the blocks of data."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.scripts: list[str] = []
        self.blocks: list[str] = []
        self._in_block = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script":
            self.scripts.append(given.get("type") or "code")
            self._in_block = self.scripts[-1] == "application/json"
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self._in_block:
            self.blocks.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_block = False


def parsed(page: Path) -> _Links:
    parser = _Links()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def cells_of(found: _Links) -> dict[str, Any]:
    """The block of cells, with its details opened."""
    block = next(json.loads(text) for text in found.blocks if '"details"' in text)
    return {**block, "details": json.loads(unpacked(f'"{block["details"]}"'))}


def test_page_stands_alone_and_escapes_what_came_from_data(built: Report) -> None:
    found = parsed(built.page)
    assert found.scripts.count("code") == 1
    assert all(source.startswith(("data:", "#")) for source in found.sources)
    text = built.page.read_text(encoding="utf-8")
    assert "&lt;/script&gt;&lt;script&gt;alert" in text
    assert HOSTILE not in text
    assert len(text) < 3_000_000
    assert text.count("<figcaption>") == text.count("<figure")


def test_every_cell_can_be_opened_on_the_page(built: Report, store: Store) -> None:
    block = cells_of(parsed(built.page))
    assert {row[0] for row in block["rows"]} == set(store.ids())
    assert all(detail["command"].startswith("python cli.py ") for detail in block["details"])
    row, detail = next(pair for pair in zip(block["rows"], block["details"], strict=True) if pair[0][5] == "confirm")
    assert detail["metrics"]["test/top1"] == pytest.approx(store.metrics(row[0])["test/top1"], abs=1e-4)


def test_the_paper_tables_are_latex(built: Report) -> None:
    text = built.page.with_name("tables.tex").read_text(encoding="utf-8")
    bare = re.sub(r"\\[\\&%$#_{}]", "", text)
    for line in bare.splitlines():
        assert line.startswith("%") or "%" not in line
        assert line.count("{") == line.count("}")
    assert text.count(r"\begin{") == text.count(r"\end{")
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    claims = [line for line in text.splitlines() if re.match(r"C\d", line)]
    assert len(claims) == len(ledger())
    assert all(len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1 for line in claims)


@given(st.text(max_size=30))
def test_escaped_names_are_one_line_without_commands(name: str) -> None:
    for escape in (latex, markdown):
        assert "\n" not in escape(name)
    assert not re.search(r"(?<!\\)[&%#_]", latex(name))
    assert not re.search(r"(?<!\\)[|`\[\]<>]", markdown(name).replace("\\\\", ""))


@pytest.mark.usefixtures("few_figures_here")
def test_a_report_leaves_nothing_of_an_earlier_one(built: Report, small: Store, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    shutil.copytree(built.page.parent, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    old, outside = folder / "tables" / "old.csv", tmp_path / "mine.csv"
    for path in (old, outside):
        path.write_text("old")
    manifest["report"].update({"tables/old.csv": "", "../mine.csv": ""})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    made = build_report(small, folder)
    assert not old.exists() and outside.exists()
    assert {path for path in folder.rglob("*") if path.is_file()} == set(made.paths)


def test_a_page_that_no_report_wrote_is_not_replaced(small: Store, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text("<title>My home page</title>")
    (folder / "manifest.json").write_text('{"name": "My application"}')
    done = run_cli("report", "--results", small.root.absolute(), "--out", folder)
    assert done.returncode == 2 and "is not the page of a report" in done.stderr
    assert {path.name: path.stat().st_size for path in folder.iterdir()} == {"index.html": 27, "manifest.json": 26}


@pytest.mark.usefixtures("built_before")
def test_page_markdown_and_json_say_the_same_three_sentences(built: Report, store: Store, tmp_path: Path) -> None:
    answer = [sentence.text for sentence in built.answer.sentences]
    assert len(answer) == 3
    page = html.unescape(re.sub("<[^>]+>", "", built.page.read_text(encoding="utf-8"))).replace("−", "-")
    text = built.page.with_name("report.md").read_text(encoding="utf-8").replace("**", "")
    assert all(sentence in page and sentence in text for sentence in answer)
    found = json.loads(run_cli("report", "--results", store.root, "--out", tmp_path, "--json").stdout)
    assert set(found) == {"paths", "verdicts", "warnings", "answer", "scope"}
    assert found["answer"] == answer


@pytest.mark.usefixtures("built_before")
def test_a_terminal_of_80_columns_says_the_same_and_cuts_nothing(built: Report, store: Store, tmp_path: Path) -> None:
    said = run_cli("report", "--results", store.root, "--out", tmp_path, columns=80).stdout
    assert "…" not in said
    joined = " ".join(said.split())
    places = [joined.index(f"{what}: {' '.join(words.split())}") for what, words in built.answer.summary]
    assert joined.index("C1 Fine-tuning") < min(places) and [*places, joined.index("Open: ")] == sorted(
        [*places, joined.index("Open: ")]
    )
    assert "≈ inconclusive" in said and "○ holds in others' numbers" in said


@pytest.mark.usefixtures("few_figures_here")
def test_where_weights_lie_is_in_no_file(tmp_path: Path) -> None:
    weights = tmp_path / "home" / "tuned.pt"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    store = Store(tmp_path / "results")
    for pretrained in (None, str(weights)):
        plant(store, ["icons-3/all"], PLAN, pretrained=pretrained)
    built = build_report(store, tmp_path / "report")
    page = unpacked(built.page.read_text())
    assert "tuned.pt sha256:" in page and "--pretrained FILE" in page
    told = [path.read_text() for path in built.paths if path.suffix in (".md", ".csv", ".tex", ".json")]
    assert str(weights.parent) not in "".join([page, *told])


@pytest.mark.usefixtures("few_figures_here")
def test_searches_of_which_no_cell_was_evaluated_are_reported_and_an_unknown_method_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    plant(store, ["icons-3/all"], PLAN)
    for folder in list(tmp_path.rglob("evaluations")):
        shutil.rmtree(folder)
    study = next(study for study in store.studies() if study.method == "car_ft")
    store.write_study(study.id, study.model_copy(update={"method": "gone"}))
    built = build_report(Store(store.root), tmp_path / "report")
    assert set(table_of(built.findings, "studies")["method"]) >= {"gone"}
    assert all("evaluated yet" in sentence.words for sentence in built.answer.sentences)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    with pytest.raises(UserError, match="no study"):
        build_report(Store(tmp_path), tmp_path / "out")


@pytest.mark.usefixtures("few_figures_here")
def test_a_folder_with_neither_ft_nor_car_ft_is_reported(tmp_path: Path) -> None:
    plan = Plan({"zeroshot": 0.5, "l2_sp": 0.6}, {"zeroshot": 0.9, "l2_sp": 0.6}, seeds=(1, 2), groups=8)
    plant(Store(tmp_path / "results"), ["icons-3/mix-7"], plan)
    built = build_report(Store(tmp_path / "results"), tmp_path / "report")
    assert built.page.is_file() and "l2_sp" in (tmp_path / "report" / "tables" / "tasks.csv").read_text()
