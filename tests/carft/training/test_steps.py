"""Budgets in steps, batches by domain, constant rates, and DomainBed's and CLIPood's recipes on a small tree."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carft.config.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.config.registry import METHODS
from carft.config.resolve import command, interpolation, specify
from carft.config.settings import Training
from carft.core.errors import UserError
from carft.data.domainbed.family import DATA_SETS
from carft.store.records import Store
from carft.training.checkpoint import Checkpoints
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.loop import Trainer, train
from carft.training.run import run_cell
from carft.training.schedule import drawn_rows, learning_rates
from sweeps.recipes import load_recipe
from sweeps.search.study import studies_of
from tests.support.folder import Folder

TASK = "pacs/sketch"
HYPERPARAMETERS = {"lr": 1e-3, "kl_weight": 1.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    DATA_SETS["pacs"].fixture(folder)
    return folder


@pytest.fixture
def few_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    card = BUILT_IN.card(TASK)
    few = {"standard": card.bank("standard")[:2]}
    monkeypatch.setitem(BUILT_IN.family(TASK).cards, TASK, replace(card, banks=few))


def cell_of(recipe: str, method: str = "car_ft", seed: int = 0) -> Cell:
    """A cell of a recipe at smoke size, with the built-in model."""
    chosen = load_recipe(recipe).smoked().changed([TASK], model="icons-resnet", pretrained="icons")
    if method == "zeroshot":
        return specify(TASK, method, {}, model="icons-resnet", pretrained="icons", **chosen.protocol())
    (study,) = studies_of(chosen, [METHODS[method]])
    return study.cell(HYPERPARAMETERS if method == "car_ft" else {"lr": 1e-3}, seed)


def test_a_cell_or_study_without_the_optional_fields_keeps_its_id() -> None:
    """The ids are those of the version before the fields existed."""
    cell = specify(TASK, "car_ft", {"lr": 1e-4, "kl_weight": 1.0}, 3, Training(epochs=2, batch_size=96))
    assert cell.id == "6de4a7de37c9c10d" and specify(TASK, "zeroshot", {}).id == "49c6c33bf6013b90"
    assert not {"eval_view", "holdout", "target_split"} & set(cell.as_dict())
    assert set(cell.as_dict()["training"]) == {"epochs", "batch_size", "weight_decay", "warmup", "clip", "crop"}
    (study, *_) = studies_of(load_recipe("miniature-domains").changed(), [METHODS["ft"]])
    assert study.id == "d583b7de0eedcbb0"


@pytest.mark.parametrize(
    "change",
    [{"steps": 50}, {"domain_balanced": True}, {"augmentation": "domainbed"}, {"schedule": "constant"}],
)
def test_every_optional_field_of_the_recipe_changes_the_id_and_survives_json(change: dict) -> None:
    plain = specify(TASK, "ft", {"lr": 1e-4})
    cell = specify(TASK, "ft", {"lr": 1e-4}, training=Training(**change))
    assert cell.id != plain.id
    assert Cell.from_dict(json.loads(json.dumps(cell.as_dict()))) == cell
    (name,) = change
    assert f"--{name.replace('_', '-')}" in command(cell, "results", catalog=BUILT_IN)


def test_an_interpolation_is_evaluated_in_the_view_of_its_parent() -> None:
    parent = cell_of("domainbed")
    curve = interpolation(parent, 0.5)
    assert (curve.eval_view, curve.holdout, curve.target_split) == ("stretch", "domainbed", "in")


def test_steps_are_divided_into_parts_and_fewer_steps_than_parts_are_refused() -> None:
    assert Training(epochs=3, steps=10).bounds(1000) == [0, 3, 6, 10]
    assert Training(epochs=2, batch_size=10).bounds(95) == [0, 10, 20]
    balanced = Training(epochs=2, batch_size=10, domain_balanced=True)
    assert balanced.bounds(95, domains=3) == [0, 4, 8] and balanced.images_seen(95, 3) == 8 * 30
    assert Training(epochs=2, steps=7, batch_size=4).images_seen(95) == 28
    with pytest.raises(UserError, match="at least as many steps"):
        Training(epochs=5, steps=4)


def test_every_balanced_batch_holds_the_same_number_of_images_of_each_domain() -> None:
    domains = np.repeat([0, 1, 3], [5, 50, 500])
    training = Training(epochs=2, steps=200, batch_size=8, domain_balanced=True)
    rows = drawn_rows(training, 0, 1, training.bounds(len(domains)), domains).reshape(100, 24)
    for batch in rows:
        assert Counter(domains[batch].tolist()) == {0: 8, 1: 8, 3: 8}
    small = Counter(rows[domains[rows] == 0].tolist())  # with replacement, each image as often as any other
    assert min(small.values()) > 120 and max(small.values()) < 200
    assert not np.array_equal(rows, drawn_rows(training, 1, 1, training.bounds(555), domains).reshape(100, 24))


def test_pooled_steps_pass_over_the_set_again_and_again() -> None:
    training, domains = Training(epochs=3, steps=10, batch_size=7), np.zeros(20, int)
    bounds = training.bounds(20)
    rows = np.concatenate([drawn_rows(training, 4, epoch, bounds, domains) for epoch in range(3)])
    assert len(rows) == 70
    for first in (0, 20, 40):
        assert sorted(rows[first : first + 20]) == list(range(20))


def test_a_constant_rate_stays_after_the_warm_up() -> None:
    rates = list(learning_rates(Training(schedule="constant", warmup=0.2), 1.0, 10))
    assert rates == [0.5, *[1.0] * 9]
    assert list(learning_rates(Training(schedule="constant", warmup=0.0), 1.0, 3)) == [1.0] * 3


@pytest.mark.usefixtures("few_prompts")
@pytest.mark.parametrize("recipe", ["domainbed", "clipood"])
def test_a_recipe_trains_and_evaluates_as_its_source_does(recipe: str, root: Path, store: Store) -> None:
    cell, execution = cell_of(recipe), Execution(data=str(root))
    run_cell(cell, store, execution, unseal=True)
    history = store.history(cell.id)
    assert len(history["train/loss"]) == cell.training.steps == 4
    side = {"domainbed": "in", "clipood": "out"}[recipe]
    validation = BUILT_IN.open(TASK, Folder(root), "domainbed").val
    expected = BUILT_IN.unseal(TASK, Folder(root), side).suites["sketch"]
    assert set(store.predictions(cell.id, "ood/sketch").images) == set(expected.names)
    assert set(store.predictions(cell.id, "val").images) == set(validation.names)
    zero_shot = cell_of(recipe, "zeroshot")
    run_cell(zero_shot, store, execution, unseal=True)
    assert list(store.predictions(zero_shot.id, "ood/sketch").images) == list(expected.names)


@pytest.mark.usefixtures("few_prompts")
def test_a_training_in_steps_resumes_with_the_same_bits(root: Path, tmp_path: Path) -> None:
    cell = cell_of("domainbed", "ft")
    cell = replace(cell, precision="float32", training=replace(cell.training, epochs=2, steps=5))
    execution = Execution(data=str(root))
    execution.prepare()
    context = CellContext.of(cell, execution, catalog=BUILT_IN)

    def run(checkpoints: Checkpoints, until: int | None = None) -> list:
        network = context.network()
        method = METHODS["ft"].load()(cell, context.pretrained, context.prompts)
        if until is None:
            return train(cell, context, network, method, checkpoints).history
        trainer = Trainer(cell, context, network, method, checkpoints)
        trainer.train_epoch(0)
        trainer.save()
        assert trainer.progress.step == until
        return trainer.progress.history

    whole = run(Checkpoints(tmp_path / "none"))
    checkpoints = Checkpoints(tmp_path / "part.safetensors", every=1)
    run(checkpoints, until=2)
    assert [row["train/loss"] for row in run(checkpoints)] == [row["train/loss"] for row in whole]
