"""Golden records: numbers move only together with ``carft.NUMERICS``.

Another processor or torch gives other last bits, so losses are compared within 1e-3 and predictions up to two images.
After an intended change: raise NUMERICS, delete the old file and run ``golden/regenerate.py`` beside this file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carft import NUMERICS
from carft.config.cell import Cell
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell

pytestmark = pytest.mark.usefixtures("whole_world")

FOLDER = Path(__file__).parent / "golden"
IMAGES_THAT_MAY_DIFFER = 2
#: metrics that records have since; they changed no number of these
ADDED = {"train/displacement"}
METHODS = ("zeroshot", "ft", "car_ft")


def golden(method: str) -> dict[str, Any]:
    cells = json.loads((FOLDER / f"NUMERICS-{NUMERICS}.json").read_text(encoding="utf-8"))["cells"]
    return next(entry for entry in cells if entry["spec"]["method"] == method)


def test_there_are_golden_records_of_the_current_numerics_and_no_others() -> None:
    assert [path.name for path in FOLDER.glob("*.json")] == [f"NUMERICS-{NUMERICS}.json"]


@pytest.mark.parametrize("method", METHODS)
def test_the_kept_predictions_are_what_their_digests_say(method: str) -> None:
    entry = golden(method)
    for name, classes in entry["predicted"].items():
        assert hashlib.sha256(np.array(classes, np.int64).tobytes()).hexdigest() == entry["sha256"][name], name


@pytest.mark.parametrize("method", METHODS)
def test_a_golden_cell_gives_its_golden_numbers(method: str, store: Store, execution: Execution) -> None:
    entry = golden(method)
    cell = Cell.from_dict(entry["spec"])
    run_cell(cell, store, execution, unseal=True)
    found = store.metrics(cell.id)
    assert found.keys() - ADDED == entry["metrics"].keys()
    for name, value in entry["metrics"].items():
        if name.endswith(("loss", "kl")):
            assert found[name] == pytest.approx(value, rel=1e-3), name
    for name, classes in entry["predicted"].items():
        predicted = store.predictions(cell.id, name).predicted
        assert len(predicted) == len(classes), f"{name} holds other images than before"
        assert int((predicted != np.array(classes)).sum()) <= IMAGES_THAT_MAY_DIFFER, name
