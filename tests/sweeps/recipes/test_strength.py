"""The registered experiment at equal strength: its arms are those that the pilot froze, and its parts are all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from carft.config.registry import MethodCard
from carft.store.records import Store
from sweeps.recipes import Recipe, load_recipe
from sweeps.recipes.audit import load_audit
from sweeps.search.protocol import Protocol
from sweeps.search.study import studies_of

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
MEASURED, PILOT = (
    yaml.safe_load((BENCHMARKS / f"strength_{name}.yaml").read_text(encoding="utf-8")) for name in ("measured", "pilot")
)


def test_the_arms_are_those_that_the_pilot_froze() -> None:
    recipe = load_recipe("strength")
    assert [arm.model_dump() for arm in recipe.arms] == MEASURED["arms"]
    assert recipe.grid == {"lr": [PILOT["lr"]]}
    assert PILOT["seed"] not in recipe.confirm_seeds()


def test_the_targets_are_shares_of_the_displacement_of_fine_tuning() -> None:
    asked = {one["displacement"] for arm in MEASURED["arms"] for one in arm["strengths"]}
    expected = [share * MEASURED["fine_tuning"]["train"] for share in PILOT["shares"]]
    assert sorted(asked, reverse=True) == pytest.approx(expected, rel=0.005)


def test_each_weight_lies_where_the_points_of_its_arm_say() -> None:
    for arm in MEASURED["arms"]:
        points = {point["kl_weight"]: point["train"] for point in MEASURED["points"][arm["name"]]}
        for one in arm["strengths"]:
            below = [reached for weight, reached in points.items() if weight >= one["kl_weight"]]
            above = [reached for weight, reached in points.items() if weight <= one["kl_weight"]]
            assert min(below) <= one["displacement"] * 1.01 and max(above) >= one["displacement"] * 0.99


def test_the_parts_are_all_cells_each_once_with_seeds_of_their_own(tmp_path: Path) -> None:
    recipe = load_recipe("strength").changed()
    cells = {cell.id for study in studies_of(recipe, _trained(recipe)) for cell in study.grid_cells}
    strengths = sum(len(arm.strengths) for arm in recipe.arms)
    assert len(cells) == 9 * 10 * (1 + strengths)
    sweeps = [chosen for _, chosen in load_audit("strength").sweeps()]
    assert sum(Protocol(chosen, Store(tmp_path / "none")).total() for chosen in sweeps) == len(cells)
    parts = [
        cell.id for chosen in sweeps for study in studies_of(chosen, _trained(chosen)) for cell in study.grid_cells
    ]
    assert sorted(parts) == sorted(cells)
    assert recipe.confirm_seeds() == list(range(101, 111))


def _trained(recipe: Recipe) -> list[MethodCard]:
    return [recipe.catalog.method(name) for name in recipe.methods]
