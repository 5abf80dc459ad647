"""An exported model is an ordinary open_clip model with the features of the cell it came from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from carft.config.cell import Cell
from carft.config.resolve import interpolation
from carft.core.errors import UserError
from carft.posthoc.export import export, load_finished
from carft.posthoc.wise_ft import run_curve
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution


def test_open_clip_loads_an_export_and_gives_the_cell_s_features(
    finished: Store, bench: CellContext, execution: Execution, cells: dict[str, Cell], tmp_path: Path
) -> None:
    cell, folder = cells["car_ft"], tmp_path / "shared"
    export(cell.id, finished, folder, execution)
    loaded, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    images = bench.pretrained.normalise(bench.task.val.images[:16])
    with torch.inference_mode():
        features = F.normalize(loaded.eval().encode_image(images), dim=-1)
        logits, expected = load_finished(cell, bench, finished)(images)
    torch.testing.assert_close(features, expected, atol=1e-6, rtol=1e-5)
    head = load_file(folder / "class_head.safetensors")
    torch.testing.assert_close(features @ head["weight"].T + head["bias"], logits, atol=1e-4, rtol=1e-5)
    assert json.loads((folder / "classes.json").read_text())["classes"] == list(bench.card.classes)
    card = (folder / "README.md").read_text()
    assert cell.id in card and "miniature" in card and "python cli.py train" in card


def test_an_exported_model_can_be_fine_tuned_again(
    finished: Store, bench: CellContext, execution: Execution, cells: dict[str, Cell], tmp_path: Path
) -> None:
    from carft.models.clip import load_pretrained

    export(cells["ft"].id, finished, tmp_path / "shared", execution)
    address = f"local-dir:{tmp_path / 'shared'}"
    again = load_pretrained(address, address)
    tuned = load_finished(cells["ft"], bench, finished).visual.state_dict()
    for name, value in again.clip.visual.state_dict().items():
        assert torch.equal(value, tuned[name])
    assert len(again.digest) == 64


def test_an_interpolation_can_be_exported_too(
    finished: Store, bench: CellContext, execution: Execution, cells: dict[str, Cell], tmp_path: Path
) -> None:
    store = Store(shutil.copytree(finished.root, tmp_path / "results"))
    run_curve(cells["ft"], store, execution)
    half = interpolation(cells["ft"], 0.5)
    export(half.id, store, tmp_path / "half", execution)
    weights = load_file(tmp_path / "half" / "open_clip_model.safetensors")
    start, end = bench.network().state_dict(), load_finished(cells["ft"], bench, store).state_dict()
    name = "visual.conv1.weight"
    torch.testing.assert_close(weights[name], (start[name] + end[name]) / 2)


def test_a_folder_that_holds_something_is_left_alone(
    finished: Store, execution: Execution, cells: dict[str, Cell], tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        export(cells["ft"].id, finished, tmp_path, execution)
