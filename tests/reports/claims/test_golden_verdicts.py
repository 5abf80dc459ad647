"""Small folders whose effects, intervals and verdicts were worked out by hand (golden_verdicts/cases.json)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from carft.config.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.config.resolve import specify
from carft.store.records import Store
from tests.support.helpers import made_up_study
from tests.support.planted import HYPERPARAMETERS, by_claim, write_hits

CASES = json.loads((Path(__file__).parent / "golden_verdicts" / "cases.json").read_text(encoding="utf-8"))
TASK = "icons/all"  # a scope of its own: no further task can be missing


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
            "trials": [trial] * case.get("trials", {}).get(method, 1),
            "winner": confirm[0].id,
            "confirm": [cell.id for cell in confirm],
        }
        store.write_study(method, made_up_study(**content))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_golden_folder_gives_the_verdicts_worked_out_by_hand(case: dict[str, Any], store: Store) -> None:
    build(store, case)
    found = by_claim(store)
    for claim, (answer, *numbers) in case["expected"].items():
        verdict = found[claim]
        assert verdict.verdict == answer, (claim, verdict.reason)
        for name, expected in zip(("effect", "low", "high"), numbers, strict=True):
            value = getattr(verdict, name)
            if expected is None:
                assert value is None or math.isnan(value)
            else:
                assert value == pytest.approx(expected, abs=2e-6), (claim, name)
