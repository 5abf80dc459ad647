"""my method trains, and its penalty does what it says. Run: python -m pytest test_my_method.py"""

from pathlib import Path

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.cell import Training
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell

CATALOG = BUILT_IN.with_plugins([Path(__file__).with_name("my_method.py")])


def metrics(folder: Path, method: str, **hyperparameters: float) -> dict[str, float]:
    cell = specify("icons-3/mix-7", method, hyperparameters, training=Training(epochs=1), catalog=CATALOG)
    store = Store(folder, catalog=CATALOG)
    run_cell(cell, store, Execution("cpu"))
    return dict(store.read(cell.id).metrics)


def test_at_weight_0_it_is_fine_tuning(tmp_path: Path) -> None:
    fine_tuned = metrics(tmp_path, "ft", lr=3e-4)
    mine = metrics(tmp_path, "my_method", lr=3e-4, weight=0.0)
    assert mine["val/loss"] == fine_tuned["val/loss"]


def test_a_larger_weight_keeps_the_features_nearer(tmp_path: Path) -> None:
    free, held = (metrics(tmp_path, "my_method", lr=3e-4, weight=weight) for weight in (0.0, 100.0))
    assert held["train/distance"] < free["train/distance"]
