"""A page on two models that were tuned on the same tasks: what is of one is never drawn or told as of the other."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carft.store.records import Store
from reports.judge.claims.ledger import ledger
from reports.judge.findings import Findings
from reports.pipeline import build_report
from reports.read.scopes import BUILT_IN_POOLS, Scope, named
from reports.render.page import Content
from reports.render.tables.table import make_tables
from reports.render.words.answer_words import PageAnswer
from tests.support.browsing import NEEDS_A_BROWSER
from tests.support.helpers import ROOT
from tests.support.planted import Plan, plant
from tests.support.reading import judged_of

TASKS = ("icons-3/mix-7", "icons-3/mix-6")
WEIGHTS = ROOT / "carft" / "data" / "icons" / "weights" / "icons-3-resnet.safetensors"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("two")
    shutil.copy(WEIGHTS, folder / "mine.safetensors")
    (folder / "mine.safetensors").open("ab").write(b" ")  # other weights by their digest
    store = Store(folder / "results")
    context = {"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8}
    plant(store, TASKS, Plan({"zeroshot": 0.3, "ft": 0.4, "car_ft": 0.4}, context), trials=3)
    other = Plan({"zeroshot": 0.7, "ft": 0.9, "car_ft": 0.8}, context)
    plant(store, TASKS, other, trials=3, pretrained=str(folder / "mine.safetensors"))
    return store


@pytest.fixture(scope="module")
def two(store: Store) -> Findings:
    return judged_of(store)


def test_a_claim_stands_once_in_the_table_and_its_other_scopes_below_it(two: Findings) -> None:
    content = Content(two, make_tables(two), PageAnswer.of(two), [], "fingerprint")
    once = Counter(verdict.claim for verdict in content.first)
    assert set(once.values()) == {1}
    further = [verdict for verdicts in content.further.values() for verdict in verdicts]
    assert "C8" in {verdict.claim for verdict in further}
    assert sorted(map(id, [*content.first, *further])) == sorted(map(id, content.verdicts))


@NEEDS_A_BROWSER
@pytest.mark.full
def test_the_first_scope_leads_and_the_matrix_leads_to_every_verdict(
    store: Store, browser: Any, tmp_path: Path
) -> None:
    build_report(store, tmp_path / "report")
    page = browser.new_page()
    page.goto((tmp_path / "report" / "index.html").as_uri())
    found = pd.read_csv(tmp_path / "report" / "tables" / "claims.csv", keep_default_na=False)
    ran = found[found["verdict"] != "not run"]
    first = ~ran.duplicated("claim")
    told = page.locator("#answers tr.asked th > a").all_inner_texts()
    assert told == [ledger()[claim].title for claim in ran[first]["claim"]]
    further = page.locator("details.further")
    assert further.locator("tr.asked").count() == (~first).sum() and not further.locator("tr").first.is_visible()
    untested = found[found["verdict"] == "not run"]
    leading = set(untested["claim"]) - set(ran["claim"])
    assert further.locator("tr.untested").count() == len(untested) - len(leading) > 0
    cells = page.locator(".matrix td a")
    assert cells.count() == len(found)
    for cell in (cells.first, cells.nth(1), page.locator(".matrix td a", has_text="not run").last):
        cell.click()
        assert page.locator(f"[id='{cell.get_attribute('href')[1:]}']").is_visible()
    page.close()


RESNET = Scope(BUILT_IN_POOLS["icons-3-full"], "miniature", "icons-resnet", "icons-3")
VIT = Scope(BUILT_IN_POOLS["icons-3-full"], "miniature", "icons-vit", "icons-3")
RANDOM = Scope(BUILT_IN_POOLS["icons-3-full"], "miniature", "icons-resnet", "random")
OTHER = Scope(BUILT_IN_POOLS["icons-3/domains"], "miniature", "icons-vit", "icons-3")


def test_a_second_model_changes_no_name() -> None:
    for scopes in permutations([RESNET, VIT, RANDOM, OTHER]):
        names = named(scopes)
        assert names[RESNET] == named([RESNET])[RESNET] == "icons-3-full"
        assert names[VIT] == "icons-3-full with icons-vit"
        assert names[RANDOM] == "icons-3-full with icons-resnet random"
        assert names[OTHER] == "icons-3/domains"
