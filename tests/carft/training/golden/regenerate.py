"""Write the golden records again: python tests/carft/training/golden/regenerate.py

Do so only after raising ``carft.NUMERICS``: the file's name holds its number, and old records become stale with it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[3]))


def main() -> None:
    """Run the three golden cells and write tests/carft/training/golden/NUMERICS-<number>.json."""
    from carft import NUMERICS
    from carft.catalog.resolve import specify
    from carft.config.cell import Training
    from carft.store.records import Store
    from carft.training.execution import Execution
    from carft.training.run import run_cell

    recipes = {"zeroshot": {}, "ft": {"lr": 3e-4}, "car_ft": {"lr": 3e-4, "kl_weight": 1.0}}
    # every field by value, so that a change of a default is no change of a golden cell
    training = Training(epochs=1, batch_size=32, weight_decay=0.1, warmup=0.1, clip=1.0, crop=0.9)
    golden = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for method, hyperparameters in recipes.items():
            cell = specify("icons-3/mix-7", method, hyperparameters, seed=0, training=training)
            run_cell(cell, store, Execution(), unseal=True)
            sets = ("val", *store.evaluated(cell.id))
            predicted = {name: store.predictions(cell.id, name).predicted for name in sets}
            golden.append(
                {
                    "spec": cell.as_dict(),
                    "metrics": dict(sorted(store.metrics(cell.id).items())),
                    "predicted": {name: classes.tolist() for name, classes in sorted(predicted.items())},
                    "sha256": {
                        k: hashlib.sha256(v.astype("int64").tobytes()).hexdigest() for k, v in sorted(predicted.items())
                    },
                }
            )
        provenance = store.read(cell.id).provenance
    made_with = {"packages": provenance["packages"], "machine": provenance["machine"]}
    path = HERE / f"NUMERICS-{NUMERICS}.json"
    path.write_text(json.dumps({"made_with": made_with, "cells": golden}) + "\n", encoding="utf-8")
    sys.stdout.write(f"Written: {path}\n")


if __name__ == "__main__":
    main()
