"""What a report keeps of a results folder while it is made."""

from __future__ import annotations

import tracemalloc
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest

from carft.store.records import Store
from reports.read import files
from reports.read.files import CellFiles

IMAGES, CELLS = 50_000, 100
NAMES = [str(number) for number in range(IMAGES)]
FRAME = pa.table({"image": NAMES, "group": NAMES, "label": np.zeros(IMAGES, int), "context": np.zeros(IMAGES, int)})


def table_of(store: Store, cell: str, name: str) -> pa.Table:
    """Made-up predictions of a cell on many images."""
    drawn = np.random.default_rng(int(cell)).integers(0, 9, (2, IMAGES))
    return FRAME.append_column("pred", pa.array(drawn[0])).append_column("context_pred", pa.array(drawn[1]))


def test_predictions_of_all_cells_are_not_in_memory_at_once_and_are_the_same_when_read_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "KEPT", 2 * 2**20)
    reader = CellFiles(store)
    with patch.object(Store, "prediction_table", table_of):
        first = reader.outcomes("0", "icons-3/mix-7", ["test"])[0]
        tracemalloc.start()
        for cell in range(1, CELLS):
            reader.outcomes(str(cell), "icons-3/mix-7", ["test"])
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        again = reader.outcomes("0", "icons-3/mix-7", ["test"])[0]
    assert CELLS * first.nbytes > 30 * 2**20
    assert held < 4 * 2**20
    assert again is not first and again.frame is first.frame
    assert np.array_equal(again.predicted, first.predicted)
    assert np.array_equal(again.predicted_contexts, first.predicted_contexts)
