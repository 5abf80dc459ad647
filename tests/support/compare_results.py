"""Compare two results folders cell by cell: ids, metrics, histories, predictions and weights, bit for bit.

    python -m tests.support.compare_results FIRST SECOND

Prints one line per difference. Exit code: 0 when there is none, 1 otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from carft.store.records import Store
from tests.support.helpers import same_predictions


def differences(first: Store, second: Store) -> Iterator[str]:
    """Every difference between two folders, as a line of text."""
    ids = set(first.ids()), set(second.ids())
    if not ids[0] | ids[1]:
        yield "there are no cells"
    for name, cells in (("first", ids[0] - ids[1]), ("second", ids[1] - ids[0])):
        yield from (f"{cell}: only in the {name} folder" for cell in sorted(cells))
    for cell in sorted(ids[0] & ids[1]):
        method = first.read(cell).cell.method
        yield from (f"{cell} {method}: {line}" for line in _of_cell(first, second, cell))


def _of_cell(first: Store, second: Store, cell: str) -> Iterator[str]:
    yield from _of_values("metric", first.metrics(cell), second.metrics(cell))
    yield from _of_values("history column", first.history(cell), second.history(cell))
    sets = first.evaluated(cell) | {"val"}
    if sets != second.evaluated(cell) | {"val"}:
        yield "evaluated on other sets"
        return
    for name in sorted(sets):
        if not same_predictions(first.predictions(cell, name), second.predictions(cell, name)):
            yield f"predictions on {name} differ"
    weights = [store.find_weights(cell) for store in (first, second)]
    if weights[0].is_file() != weights[1].is_file():
        yield "weights in one folder only"
    elif weights[0].is_file():
        yield from _of_values("weight", *map(load_file, weights))


def _of_values(kind: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            yield f"{kind} {name} in one folder only"
        elif np.asarray(first[name]).tobytes() != np.asarray(second[name]).tobytes():
            yield f"{kind} {name} differs"


if __name__ == "__main__":
    found = list(differences(*map(Store, sys.argv[1:3])))
    cells = len(Store(sys.argv[1]).ids())
    print("\n".join(found) or f"{cells} cells are identical in both folders")
    sys.exit(bool(found))
