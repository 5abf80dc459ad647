"""Verdicts that were worked out by hand, and those on tasks whose card names another metric."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carft.catalog.catalog import BUILT_IN
from carft.catalog.families import DOWNSTREAM
from carft.catalog.resolve import specify
from carft.config.cell import Cell
from carft.config.registry import METHODS
from carft.core.metrics import Predictions
from carft.data.card import Card
from carft.store.records import Store
from reports.judge.claims.claim import Verdict
from reports.judge.findings import Findings
from reports.render.formatting import formatted
from reports.render.tables.table import table_card
from reports.render.words.verdict_words import reason_words
from tests.support import planted
from tests.support.helpers import made_up_study
from tests.support.planted import GOOD, HYPERPARAMETERS, Plan, by_claim, forget_journal, plant, write_hits
from tests.support.reading import judged_of, table_of

#: images of the first class, and of each other class
COMMON, RARE = 400, 4
#: what a method gets right of pets: of the common class and of the rare ones
RARE_GAIN = {"zeroshot": (0.5, 0.5), "ft": (0.9, 0.5), "car_ft": (0.6, 0.8)}


def unbalanced(shares: dict[str, tuple[float, float]]):
    """Predictions of pets in which a method is right on a share of the common class and another share of the rare."""
    ordinary, by_top1 = planted.predictions, {GOOD.top1[name]: share for name, share in shares.items()}

    def predictions(card: Card, name: str, top1: float, context: float, plan: Plan, rng: np.random.Generator):
        if card.name != "pets" or name == "val":
            return ordinary(card, name, top1, context, plan, rng)
        width = len(card.classes)
        labels = np.repeat(np.arange(width), [COMMON, *[RARE] * (width - 1)])
        place = np.concatenate([np.arange(COMMON) / COMMON, np.tile(np.arange(RARE) / RARE, width - 1)])
        common, rare = by_top1[top1]
        right = place + rng.normal(0, plan.spread, len(labels)) < np.where(labels == 0, common, rare)
        logits = np.zeros((len(labels), width), np.float32)
        logits[np.arange(len(labels)), np.where(right, labels, (labels + 1) % width)] = 5.0
        names = [f"{name}-{k}" for k in range(len(labels))]
        return Predictions(names, names, labels, np.full(len(labels), -1), logits, logits[:, :1])

    return predictions


def sources(store: Store, monkeypatch: pytest.MonkeyPatch, shares: dict[str, tuple[float, float]]) -> Findings:
    monkeypatch.setattr(planted, "predictions", unbalanced(shares))
    plant(store, DOWNSTREAM, GOOD)
    return judged_of(store)


def nine(found: Findings) -> Verdict:
    return next(v for v in found.verdicts if v.claim == "C5")


@pytest.fixture(scope="module")
def rare_gain(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Evidence in which CAR-FT gains on rare pets and loses on common ones; no test changes it."""
    with pytest.MonkeyPatch.context() as patched:
        return sources(Store(tmp_path_factory.mktemp("rare")), patched, RARE_GAIN)


@pytest.mark.usefixtures("few_figures")
def test_a_gain_in_mean_per_class_decides_where_top_1_falls(rare_gain: Findings) -> None:
    found = rare_gain
    verdict = nine(found)
    parts = {part.name: part for part in verdict.parts}
    ours, beside = parts["CAR-FT - FT, pets, mean per class"], parts["CAR-FT - FT, pets, top-1"]
    assert ours.deciding and ours.low > 0 and ours.metric == "mean_per_class"
    assert not beside.deciding and beside.high < 0 and beside.metric == "top1"
    assert (
        verdict.verdict == "suggested reproduced"
        and "Decided on mean per class, the usual metric of:" in reason_words(verdict)
    )
    assert sum(not p.deciding and p.name.endswith(", top-1") for p in verdict.parts) == 3  # pets, flowers, aircraft


@pytest.mark.usefixtures("few_figures")
def test_tables_and_page_show_both_metrics(rare_gain: Findings) -> None:
    found = rare_gain
    tasks = table_of(found, "tasks")
    row = tasks[(tasks["task"] == "pets") & (tasks["method"] == "car_ft")].iloc[0]
    assert row["card_metric"] == "mean_per_class"
    assert row["test_card_metric"] != row["test_top1"]
    assert row["card_low"] < row["test_card_metric"] < row["card_high"]
    plain = tasks[tasks["task"] == "dtd"].iloc[0]
    assert plain["card_metric"] == "top1" and plain["test_card_metric"] == plain["test_top1"]
    differences = table_of(found, "differences").set_index(["contrast", "task", "where"])["effect"]
    assert differences["CAR-FT - FT", "pets", "ID test"] < 0
    assert differences["CAR-FT - FT", "pets", "ID test, mean per class"] > 0
    assert ("CAR-FT - FT", "dtd", "ID test, mean per class") not in differences
    headings = [name for name, _ in formatted(table_card("tasks"), tasks, METHODS).columns]
    assert "usual metric" in headings and "ID test in it" in headings


CASES = json.loads((Path(__file__).parent / "golden_verdicts" / "cases.json").read_text(encoding="utf-8"))
TASK = "icons-3/all"  # a scope of its own: no further task can be missing


def build(store: Store, case: dict[str, Any]) -> None:
    """Confirm cells with the case's hits, the same on every sealed set, and studies that lead to them.

    An image whose class is right has its context recognised; there are 18 contexts to name.
    """
    for method, rows in case["hits"].items():
        confirm: list[Cell] = []
        for seed, hits in enumerate(rows, start=int(method != "zeroshot")):
            cell = specify(TASK, method, HYPERPARAMETERS[method], seed)
            names = ["test", *(f"ood/{suite}" for suite in BUILT_IN.card(TASK).suites)]
            write_hits(store, cell, dict.fromkeys(names, hits), [f"drawing {k}" for k in range(len(hits))])
            confirm.append(cell)
        if method == "zeroshot":
            continue
        trial = {"trial": 0, "parameters": HYPERPARAMETERS[method], "cell": confirm[0].id, "status": "done"}
        content = {
            "id": method,
            "task": TASK,
            "method": method,
            "data_version": confirm[0].data_version,
            "model": confirm[0].model,
            "pretrained": confirm[0].pretrained,
            "training": {"epochs": 5},
            "trials": [{**trial, "trial": number} for number in range(case.get("trials", {}).get(method, 1))],
            "winner": confirm[0].id,
            "confirm": [cell.id for cell in confirm],
        }
        store.write_study(method, made_up_study(**content))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_golden_folder_gives_the_verdicts_worked_out_by_hand(case: dict[str, Any], store: Store) -> None:
    build(store, case)
    forget_journal(store)
    found = by_claim(store)
    for claim, (answer, *numbers) in case["expected"].items():
        verdict = found[claim]
        assert verdict.verdict == answer, (claim, reason_words(verdict))
        for name, expected in zip(("effect", "low", "high"), numbers, strict=True):
            value = getattr(verdict.number, name)
            if expected is None:
                assert value is None or math.isnan(value)
            else:
                assert value == pytest.approx(expected, abs=2e-6), (claim, name)
