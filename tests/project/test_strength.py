"""The experiment at equal strength, whose code is in audit/strength: its tables, its method and its recipe."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize

from carft.catalog.catalog import BUILT_IN
from sweeps.recipes.loading import load_recipe
from sweeps.search.study import studies_of
from tests.support.helpers import ROOT

STRENGTH = ROOT / "audit" / "strength"
TABLE = Path("tables") / "matched_strength.csv"
#: the smallest alone is for make test
ARCHIVES = [
    pytest.param(path, id=path.parent.name, marks=[pytest.mark.full] * (path.parent.name != "photographs"))
    for path in sorted(STRENGTH.rglob("records.zip"))
]


@pytest.mark.parametrize("archive", ARCHIVES)
def test_the_script_makes_the_published_table_from_the_records_alone(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    given = shutil.copy(archive, tmp_path)
    # isolated, from elsewhere: neither this package nor the tests can be imported
    subprocess.run([sys.executable, "-I", STRENGTH / "tables.py", given], cwd=tmp_path, check=True)
    made, published = pd.read_csv(tmp_path / TABLE), pd.read_csv(archive.parent / TABLE)
    assert len(published) >= 8
    pd.testing.assert_frame_equal(made, published, rtol=1e-12, atol=1e-15)


def test_the_recipe_holds_the_registered_cells_at_temperature_1_and_the_plugin_its_method() -> None:
    catalog = BUILT_IN.with_plugins([STRENGTH / "rotated.py"])
    recipe = load_recipe(str(STRENGTH / "recipe.yaml"), catalog=catalog).with_catalog(catalog).changed()
    cells = {}
    for study in studies_of(recipe, [catalog.method(name) for name in recipe.methods]):
        cells.update({cell.id: cell for cell in study.grid_cells})
    assert len(cells) == 9 * 10 * 13
    rows = pd.read_csv(STRENGTH / TABLE).set_index("what")
    registered = rows.loc["contexts", "cells"].str.split().explode()
    assert len(registered) == 270 and set(registered) <= cells.keys()
    weights = {cell.hyperparameters["kl_weight"] for cell in cells.values() if cell.method == "car_ft_rotated"}
    assert set(rows.loc["rotated", "kl_weight"]) <= weights


def test_rotated_contexts_keep_their_angles_and_are_those_of_their_seed() -> None:
    (card,) = BUILT_IN.with_plugins([STRENGTH / "rotated.py"]).of_files.values()
    rotated_rows = sys.modules[card.load().__module__].rotated_rows
    head = normalize(torch.randn(5, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    rotated = rotated_rows(head, 3)
    torch.testing.assert_close(rotated @ rotated.T, head @ head.T)
    assert torch.equal(rotated, rotated_rows(head, 3)) and (rotated - rotated_rows(head, 4)).abs().max() > 0.1
