"""A default may change in settings.py: records keep their ids and what they say."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carft.config import frozen_defaults
from carft.config.cell import Cell
from carft.config.settings import ProtocolSettings, Reading, Training
from carft.store.archive import unpack
from tests.support.helpers import ROOT, run_cli

PHOTOGRAPHS = ROOT / "audit" / "photographs"
HEADS = ROOT / "audit" / "strength" / "heads" / "records.zip"
#: setting -> a default that it does not have today
FLIPPED: Mapping[str, Any] = {
    "eval_view": "stretch",
    "holdout": "domainbed",
    "target_split": "out",
    "precision": "bfloat16",
    "epochs": 7,
    "batch_size": 48,
    "weight_decay": 0.3,
    "warmup": 0.3,
    "clip": 3.0,
    "crop": 0.5,
    "steps": 77,
    "domain_balanced": True,
    "augmentation": "clipood",
    "schedule": "constant",
    "kl_direction": "symmetric",
    "context_temperature": 2.0,
    "context_scale": "one",
    "context_templates": "none",
    "class_head": "frozen",
}


def of(kind: type) -> set[str]:
    return {one.name for one in dataclasses.fields(kind)}


def test_every_setting_is_frozen_and_has_its_default() -> None:
    """Those of today; a default that changes leaves this list, and the frozen table as it is."""
    assert of(ProtocolSettings) == set(frozen_defaults.STUDY)
    assert of(Training) == set(frozen_defaults.UNTRAINED) and of(Reading) == set(frozen_defaults.READING)
    assert set(FLIPPED) == {*frozen_defaults.STUDY, *frozen_defaults.UNTRAINED, *frozen_defaults.READING}
    assert Training() == Training(**frozen_defaults.UNTRAINED) and Reading() == Reading(**frozen_defaults.READING)
    assert ProtocolSettings() == ProtocolSettings(**frozen_defaults.STUDY)


def test_a_specification_that_leaves_settings_out_means_the_frozen_ones(cells: dict[str, Cell]) -> None:
    for cell in cells.values():
        spec = cell.as_dict()
        assert not set(frozen_defaults.PROTOCOL) & spec.keys()
        assert not set(frozen_defaults.TRAINING) & spec["training"].keys()
        assert Cell.from_dict(spec) == cell
        changed = dataclasses.replace(cell, reading=Reading(kl_direction="symmetric"), eval_view="stretch")
        assert changed.id != cell.id and Cell.from_dict(changed.as_dict()).as_dict() == changed.as_dict()


@pytest.fixture(scope="module")
def other_defaults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program in which each setting of cells has another default."""
    copy = tmp_path_factory.mktemp("other") / "carft"
    leave = shutil.ignore_patterns("__pycache__", ".*", "tests", "audit", "build", "results")
    shutil.copytree(ROOT, copy, ignore=leave)
    path = copy / "carft" / "config" / "settings.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    flipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name in {"ProtocolSettings", "Training", "Reading"}:
            for one in node.body:
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
                    one.value = ast.Constant(FLIPPED[one.target.id])
                    flipped.add(one.target.id)
    assert flipped == set(FLIPPED)
    path.write_text(ast.unparse(tree), encoding="utf-8")
    return copy


def said_by(copy: Path, *arguments: object) -> str:
    command = [sys.executable, copy / "cli.py", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    said = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_records_have_their_ids_and_are_listed_alike_under_other_defaults(other_defaults: Path, tmp_path: Path) -> None:
    unpack(HEADS, tmp_path / "results")
    of_folder = "--results", tmp_path / "results"
    listed = "ls", "cells", *of_folder, "--json"
    listing = run_cli(*listed).stdout
    assert len(json.loads(listing)) > 100 and said_by(other_defaults, *listed) == listing


@pytest.mark.full
def test_a_report_of_published_records_is_the_published_one_under_other_defaults(
    other_defaults: Path, tmp_path: Path
) -> None:
    unpack(PHOTOGRAPHS / "records.zip", tmp_path / "results")
    said_by(other_defaults, "report", "--results", tmp_path / "results", "--out", tmp_path / "report")
    tables = sorted(PHOTOGRAPHS.glob("tables/*.csv"))
    assert len(tables) >= 7
    for path in tables:
        pd.testing.assert_frame_equal(pd.read_csv(path), pd.read_csv(tmp_path / "report" / "tables" / path.name))
