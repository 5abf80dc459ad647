"""Options of commands: each reaches the settings, none is declared twice or lost."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field
from pydantic.dataclasses import dataclass

from carft.config import frozen_defaults
from carft.config.cell import Cell
from carft.config.settings import ProtocolSettings, Training
from carft.core.declaration import STRICT
from carft.core.errors import UserError
from carft.core.yaml_file import parse_yaml
from carft.store.study_file import StudyFile
from carft_cli.declare import RUN, Options, arguments_of, parameters_of
from carft_cli.plan import plan
from carft_cli.sweep import sweep
from carft_cli.sweep_settings import SweepSettings
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.progress import State, StudyProgress
from sweeps.search.study import Study
from tests.support.helpers import ROOT


def test_sweep_and_plan_take_the_same_settings() -> None:
    sweeps, plans = (set(inspect.signature(command).parameters) for command in (sweep, plan))
    assert sweeps | {"measure"} == plans


def test_an_option_that_is_missing_is_an_error() -> None:
    values = {parameter.name: None for parameter in parameters_of(SweepSettings) if parameter.name != "patience"}
    with pytest.raises(KeyError, match="patience"):
        arguments_of(SweepSettings, values)


def test_every_setting_of_an_execution_comes_from_the_settings(tmp_path: Path) -> None:
    """Device, workers and threads are chosen elsewhere; everything else that changes reaches the execution."""
    compute = {"accumulation": 2, "compile": True, "checkpoint_minutes": 5.0, "checkpoint_every": 3}
    compute |= {"feature_cache_size": 20.0}
    given = {p.name: p.default for p in parameters_of(SweepSettings)} | compute
    given |= {"recipe": "miniature", "data": tmp_path, "feature_cache": "none"}
    given |= {"gpus": 2, "cells_per_gpu": 2, "workers_per_cell": 1}
    settings = SweepSettings(**arguments_of(SweepSettings, given))
    execution = settings.resources(settings.chosen_recipe()).execution
    assert {name: getattr(execution, name) for name in compute} == compute
    assert execution.cells_per_gpu == 2 and execution.data == str(tmp_path) and execution.feature_cache is None


@pytest.mark.parametrize(
    ("name", "value", "section"),
    [
        ("epochs", 7, "training"),
        ("schedule", "constant", "training"),
        ("precision", "bfloat16", "protocol"),
        ("eval_view", "stretch", "protocol"),
    ],
)
def test_a_setting_is_one_of_sweep_cell_and_study(name: str, value: object, section: str) -> None:
    given = {p.name: p.default for p in parameters_of(SweepSettings)} | {"recipe": "downstream", "smoke": True}
    plain = SweepSettings(**arguments_of(SweepSettings, given)).chosen_recipe()
    changed = SweepSettings(**arguments_of(SweepSettings, given | {name: value})).chosen_recipe()
    task, hyperparameters = plain.tasks[0], {"lr": 1e-3}
    cell = changed.cell(task, "ft", hyperparameters, training=changed.training)
    assert getattr(cell.training if section == "training" else cell, name) == value
    assert cell.id != plain.cell(task, "ft", hyperparameters, training=plain.training).id
    before, after = (Study(task, recipe.catalog.method("ft"), recipe) for recipe in (plain, changed))
    file = StudyProgress(after, State(), []).file((), oracle=False)
    content = file.training.content() if section == "training" else file.content()
    assert content[name] == value and before.id != after.id


def test_a_setting_of_the_protocol_is_declared_once_and_checked_everywhere() -> None:
    settings = ProtocolSettings().protocol()
    assert settings.keys() <= Recipe.model_fields.keys() & StudyFile.model_fields.keys()
    assert settings.keys() <= {f.name for f in fields(Cell)}
    assert settings.keys() <= inspect.signature(sweep).parameters.keys()
    with pytest.raises(UserError, match="The eval view must be 'centre'"):
        load_recipe("downstream").changed(eval_view="upside-down")


@dataclass(frozen=True)
class Smoothed(Training):
    """The example of docs/extending.md."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1, description="Label smoothing of the cross-entropy.")] = 0.0


class SmoothedRecipe(BaseModel):
    model_config = STRICT

    training: Smoothed


def test_a_declaration_makes_the_option_the_refusal_and_the_key_and_keeps_ids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frozen_defaults, "TRAINING", {**frozen_defaults.TRAINING, "label_smoothing": 0.0})
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    assert inspect.getsource(Smoothed).strip().splitlines()[-1].strip() in text
    options = {made.name: made.annotation for made in Options(Smoothed, RUN).parameters()}
    assert "smoothing of the cross" in options["label_smoothing"].__metadata__[0].help
    assert Smoothed().as_dict() == Training().as_dict() != Smoothed(label_smoothing=0.1).as_dict()
    with pytest.raises(UserError, match="The label smoothing must be less than 1, not 2"):
        Smoothed(label_smoothing=2)
    with pytest.raises(UserError, match=r"training\.label_smoothing: it must be less than 1"):
        parse_yaml(SmoothedRecipe, "training:\n  label_smoothing: 2\n", "mine.yaml", "recipe")
    read = parse_yaml(SmoothedRecipe, "training: {label_smoothing: 0.1}\n", "mine.yaml", "recipe")
    assert read.training == Smoothed(label_smoothing=0.1)
    assert read.model_dump()["training"] == read.training.as_dict()
