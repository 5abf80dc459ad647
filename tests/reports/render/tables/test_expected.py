"""A run of a recipe is compared with what others measured with its settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from carft.catalog.resolve import interpolation
from carft.config.cell import Cell
from carft.store.record_files import Record
from carft.store.records import Store
from reports.read.expected_numbers import expected_numbers
from sweeps.recipes.loading import load_recipe
from sweeps.search.protocol import Protocol
from tests.support.helpers import made_up_predictions
from tests.support.planted import PROVENANCE
from tests.support.reading import judged_of, table_of


def run_of(cell: Cell, store: Store, **top1: float) -> None:
    """The records of a fine-tuned cell and of its interpolation, which reaches so much on each set."""
    half = interpolation(cell, 0.5)
    for one in (cell, half):
        metrics = {"val/top1": 0.7, "val/loss": 1.0}
        store.write(Record(one, metrics, PROVENANCE, {"train": 1.0}), [], made_up_predictions())
    for name, value in top1.items():
        place = "test" if name == "test" else f"ood/imagenet-{name}"
        store.add_evaluation(half.id, place, {f"{place}/top1": value}, made_up_predictions(), {})
    Protocol(load_recipe("first-number"), store).write_studies()


def confirm_cell(store: Store, **change: object) -> Cell:
    """The confirm cell that the recipe of the expected numbers trains."""
    (study,) = [study for study in Protocol(load_recipe("first-number"), store).studies if study.method.name == "ft"]
    return replace(study.cell(study.first_guesses, 1), **change)  # type: ignore[arg-type]


def test_a_run_is_inside_or_outside_of_what_others_measured_with_its_settings(store: Store) -> None:
    run_of(confirm_cell(store), store, test=0.7605, r=0.6950, a=0.3450)
    run_of(confirm_cell(store, hyperparameters={"lr": 1e-5}), store, test=0.76)  # other settings
    table = table_of(judged_of(store), "expected").set_index("set")
    assert table["answer"].to_dict() == {"test": "inside", "ood/imagenet-r": "outside", "ood/imagenet-a": "inside"}
    assert table.loc["test", "value"] == pytest.approx(0.7605) and table.loc["test", "expected"] == 75.5
    assert set(table["recipe"]) == {"first-number"}


def test_every_expected_number_is_one_that_its_recipe_measures(store: Store) -> None:
    for expected in expected_numbers():
        recipe = load_recipe(expected.recipe)
        cell = confirm_cell(store)
        trained = (cell.task, cell.model, cell.pretrained, cell.training.batch_size, cell.training.epochs)
        assert trained == (expected.task, expected.model, expected.pretrained, expected.batch_size, expected.epochs)
        assert cell.hyperparameters["lr"] == expected.lr and expected.alpha in recipe.alphas
        assert expected.set == "test" or expected.set.removeprefix("ood/") in recipe.suites
        assert expected.method in recipe.methods and expected.within > 0
