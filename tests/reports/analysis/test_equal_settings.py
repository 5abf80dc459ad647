"""Differences at equal settings: which cells are pairs, how they are averaged, and the first audit's contrasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from carft.config.cell import Cell, Reading, Training
from carft.config.registry import METHODS
from reports.analysis.equal_settings import MEASURES, EvaluatedCell, differences_by_setting
from tests.support.helpers import ROOT

#: trial 0 of every search of ``icons-full`` with ``icons-resnet`` in the first audit, and zero-shot
FIRST_TRIALS = ROOT / "tests" / "reports" / "analysis" / "first_audit_trials.csv"
#: (contrast, measure) -> points, low, high; computed apart from this code, from the same records
SIX_CONTRASTS = {
    ("CAR-FT - FT", "ID test"): (-0.51, -0.85, -0.17),
    ("CAR-FT - FT", "mean OOD"): (-0.10, -0.48, 0.28),
    ("CAR-FT - FT", "contexts of the suites"): (5.69, 3.72, 7.65),
    ("CAR-FT - CAR-FT, random", "ID test"): (-0.48, -0.71, -0.24),
    ("CAR-FT - CAR-FT, random", "mean OOD"): (-1.00, -1.44, -0.56),
    ("FT - zero-shot", "contexts of the suites"): (-8.07, -11.55, -4.58),
}


def first_trials() -> Iterator[EvaluatedCell]:
    for row in pd.read_csv(FIRST_TRIALS).to_dict("records"):
        values = {name: row[name] for name in ("lr", "kl_weight") if not np.isnan(row[name])}
        cell = Cell(row["task"], "1", "icons-resnet", "icons", row["method"], values, row["seed"])
        yield EvaluatedCell(cell, {metric: row[metric] for metric in ("val/top1", *MEASURES.values())})


@pytest.fixture(scope="module")
def contrasts() -> pd.DataFrame:
    return differences_by_setting(first_trials(), METHODS).set_index(["contrast", "where"])


@pytest.mark.parametrize(("contrast", "expected"), SIX_CONTRASTS.items(), ids=map(" ".join, SIX_CONTRASTS))
def test_the_first_audit_gives_its_six_contrasts(
    contrast: tuple[str, str], expected: tuple[float, ...], contrasts: pd.DataFrame
) -> None:
    row = contrasts.loc[contrast]
    assert tuple(round(100 * float(row[name]), 2) for name in ("effect", "low", "high")) == expected
    assert (row["n_tasks"], row["n_searches"], row["n_pairs"]) == (9, 5, 45)
    assert row["registered"] == (contrast[0] == "CAR-FT - FT")


def evaluated(
    task: str, method: str, values: Mapping[str, float], seed: int, top1: float, val: float = 0.5, **more: object
) -> EvaluatedCell:
    """A cell of which every measure is ``top1``."""
    cell = Cell(f"icons/{task}", "1", "icons-resnet", "icons", method, values, seed, **more)  # type: ignore[arg-type]
    return EvaluatedCell(cell, {**dict.fromkeys(MEASURES.values(), top1), "val/top1": val})


def grid(effects: Mapping[tuple[str, int], float], lr: float = 1e-3, val: float = 0.5) -> list[EvaluatedCell]:
    """FT at 0.5, CAR-FT and KD that much above it at KL weight 1. effects: (task, seed) -> difference."""
    cells = []
    for (task, seed), effect in effects.items():
        cells.append(evaluated(task, "ft", {"lr": lr}, seed, 0.5, val))
        cells += [evaluated(task, name, {"lr": lr, "kl_weight": 1.0}, seed, 0.5 + effect) for name in ("car_ft", "kd")]
    return cells


EFFECTS = {("body", 0): 0.1, ("body", 1): 0.3, ("body", 1000): 0.4, ("tools", 0): 0.1}


@pytest.mark.parametrize(
    "other",
    [
        evaluated("body", "car_ft", {"lr": 2e-3, "kl_weight": 1.0}, 0, 0.9),
        evaluated("body", "car_ft", {"lr": 1e-3, "kl_weight": 1.0}, 2, 0.9),
        evaluated("body", "car_ft", {"lr": 1e-3, "kl_weight": 1.0}, 0, 0.9, training=Training(epochs=9)),
        evaluated("body", "car_ft", {"lr": 1e-3, "kl_weight": 1.0}, 0, 0.9, reading=Reading(class_head="frozen")),
        evaluated("body", "car_ft", {"lr": 1e-3, "kl_weight": 1.0}, 0, 0.9, precision="bfloat16"),
        evaluated("body", "flyp", {"lr": 1e-3}, 0, 0.9),  # its learning rate is another one
        evaluated("body", "car_ft_random", {"lr": 1e-3, "kl_weight": 2.0}, 0, 0.9),
    ],
    ids=("learning rate", "seed", "training", "reading", "precision", "nothing in common", "KL weight"),
)
def test_cells_that_differ_in_more_than_the_method_are_no_pair(other: EvaluatedCell) -> None:
    pd.testing.assert_frame_equal(
        differences_by_setting([*grid(EFFECTS), other], METHODS), differences_by_setting(grid(EFFECTS), METHODS)
    )


def test_searches_are_averaged_before_tasks_and_every_method_is_compared_with_ft() -> None:
    table = differences_by_setting(grid(EFFECTS), METHODS).set_index(["contrast", "where"])
    assert {*table.index.get_level_values(0)} == {"CAR-FT - FT", "KD - FT"}
    row = table.loc[("CAR-FT - FT", "mean OOD")]
    assert row["effect"] == pytest.approx(((0.2 + 0.4) / 2 + 0.1) / 2)
    assert (row["high"] - row["low"]) / 2 == pytest.approx(scipy.stats.t.ppf(0.975, 1) * 0.1)
    assert (row["interval_over"], row["n_tasks"], row["n_pairs"], row["n_searches"]) == ("tasks", 2, 4, 2)


@pytest.mark.parametrize(
    ("effects", "over", "effect"),
    [
        ({("body", 0): 0.1, ("body", 1): 0.3}, "seeds", 0.2),
        ({("body", 0): 0.1, ("body", 1): 0.3, ("body", 1000): 0.4}, "searches", 0.3),
    ],
)
def test_of_one_task_the_interval_is_over_searches_or_seeds(effects: dict, over: str, effect: float) -> None:
    row = differences_by_setting(grid(effects), METHODS).iloc[0]
    assert (row["interval_over"], row["effect"]) == (over, pytest.approx(effect))
    assert differences_by_setting(grid({("body", 0): 0.1}), METHODS).empty


def test_bands_hold_for_all_points_together() -> None:
    rng = np.random.default_rng(0)
    lines = [grid({(task, 0): rng.normal() for task in ("body", "tools", "media")}, lr) for lr in (1e-3, 2e-3, 4e-3)]
    table = differences_by_setting([cell for line in lines for cell in line], METHODS)
    assert {*table["n_points"]} == {3}
    ratio = (table["band_high"] - table["effect"]) / (table["high"] - table["effect"])
    assert ratio.to_numpy() == pytest.approx(scipy.stats.t.ppf(1 - 0.025 / 3, 2) / scipy.stats.t.ppf(0.975, 2))


def test_the_registered_learning_rate_is_the_one_that_validation_prefers_on_all_tasks() -> None:
    two, three = ({(task, 0): 0.1 for task in tasks} for tasks in (("body", "tools"), ("body", "tools", "media")))
    cells = [*grid(three, 1e-3, val=0.6), *grid(three, 2e-3, val=0.7), *grid(two, 4e-3, val=0.9)]
    table = differences_by_setting(cells, METHODS)
    registered = table[table["registered"]]
    assert {*registered["contrast"]} == {"CAR-FT - FT"} and {*registered["lr"]} == {2e-3}
    assert len(registered) == len(MEASURES)
