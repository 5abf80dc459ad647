"""The registered experiment at equal strength: its arms are those that the pilot froze, and its parts are all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from benchmarks.strength_pilot import Curve
from carft.config.registry import MethodCard
from carft.store.records import Store
from sweeps.recipes.audit import load_audit
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from sweeps.search.study import studies_of
from tests.support.helpers import ROOT, run_cli

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
MEASURED, PILOT = (
    yaml.safe_load((BENCHMARKS / f"strength_{name}.yaml").read_text(encoding="utf-8")) for name in ("measured", "pilot")
)


def test_the_arms_are_those_that_the_pilot_froze() -> None:
    recipe = load_recipe("strength")
    assert [arm.model_dump() for arm in recipe.arms] == MEASURED["arms"]
    assert recipe.grid == {"lr": [PILOT["lr"]]}
    assert PILOT["seed"] not in recipe.confirm_seeds()


@pytest.mark.parametrize(
    ("recipe", "measured", "pilot"),
    [
        ("benchmarks/strength_seed_1", "benchmarks/strength_seed_1_measured", "benchmarks/strength_worlds_pilot"),
        ("benchmarks/strength_seed_2", "benchmarks/strength_seed_2_measured", "benchmarks/strength_worlds_pilot"),
        (
            "examples/photographs/strength",
            "examples/photographs/strength_measured",
            "examples/photographs/strength_pilot",
        ),
    ],
)
def test_the_arms_of_other_models_are_those_that_their_pilots_froze(recipe: str, measured: str, pilot: str) -> None:
    of_recipe, of_measured, of_pilot = (
        yaml.safe_load((ROOT / f"{name}.yaml").read_text(encoding="utf-8")) for name in (recipe, measured, pilot)
    )
    assert of_recipe["arms"] == of_measured["arms"]
    inherited = {"lr": [PILOT["lr"]]}
    assert of_recipe.get("grid", inherited) == {"lr": [of_pilot["lr"]]}
    targets = [share * of_measured["fine_tuning"]["train"] for share in of_pilot["shares"]]
    for arm in of_recipe["arms"]:
        for strength in arm["strengths"]:
            assert min(abs(strength["displacement"] - target) for target in targets) < 0.001


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


def test_a_weight_is_read_from_the_part_of_the_curve_that_falls() -> None:
    """A context term at a large weight moves the features more again."""
    curve = Curve([0.01, 0.1, 1.0, 10.0, 100.0], [0.6, 0.5, 0.4, 0.45, 0.6])
    assert curve.weight_at(0.5) == pytest.approx(0.1, rel=0.01)
    assert 0.1 < curve.weight_at(0.45) < 1.0
    assert curve.weight_at(0.39) is None and curve.weight_at(0.61) is None


def test_plan_shows_the_arms_with_their_weights(tmp_path: Path) -> None:
    shown = run_cli("plan", "strength", "--results", tmp_path / "none")
    assert "1440 cells" in shown.stdout
    for arm in MEASURED["arms"]:
        weights = ", ".join(f"{one['kl_weight']:g}" for one in arm["strengths"])
        assert weights in " ".join(shown.stdout.split())


def _trained(recipe: Recipe) -> list[MethodCard]:
    return [recipe.catalog.method(name) for name in recipe.methods]
