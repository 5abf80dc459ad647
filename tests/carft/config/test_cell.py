"""A cell's id is a hash of exactly what the cell is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import command, interpolation, specify
from carft.config.cell import Cell, Reading, Training, display_form
from carft.config.settings import DIRECTIONS
from carft.core.errors import UserError

TRAINING = Training(epochs=3, batch_size=16, weight_decay=0.1, warmup=0.1, clip=1.0, crop=0.9)
CELL = Cell(
    task="icons/transport",
    data_version="icons-1",
    model="icons-resnet",
    pretrained="icons",
    method="car_ft",
    hyperparameters={"lr": 3e-4, "kl_weight": 1.0},
    seed=4,
    training=TRAINING,
)
BAD_NUMBERS = (float("nan"), float("inf"), float("-inf"), -1.0)

positive = st.floats(min_value=1e-9, max_value=1e9)
words = st.text(alphabet="abcdefgh/-_0123", min_size=1, max_size=12)
trainings = st.builds(
    Training,
    epochs=st.integers(1, 500),
    batch_size=st.integers(1, 4096),
    weight_decay=st.floats(0, 10),
    warmup=st.floats(0, 0.99),
    clip=positive,
    crop=st.floats(0.01, 1),
)
readings = st.builds(Reading, kl_direction=st.sampled_from(DIRECTIONS), context_temperature=positive)
cells = st.builds(
    Cell,
    task=words,
    data_version=words,
    model=words,
    pretrained=words,
    method=words,
    hyperparameters=st.dictionaries(words, positive, max_size=4),
    seed=st.integers(0, 2**31),
    training=trainings,
    reading=readings,
)


@given(cells)
def test_a_cell_survives_the_round_trip_through_json(cell: Cell) -> None:
    again = Cell.from_dict(json.loads(json.dumps(cell.as_dict())))
    assert again == cell
    assert again.id == cell.id
    assert len(cell.id) == 16
    assert int(cell.id, 16) >= 0


@given(cells, st.integers(1, 10**6))
def test_a_whole_number_and_the_same_float_give_the_same_id(cell: Cell, number: int) -> None:
    as_int = replace(cell, hyperparameters={"lr": number}, training=replace(TRAINING, weight_decay=1))
    as_float = replace(cell, hyperparameters={"lr": float(number)}, training=replace(TRAINING, weight_decay=1.0))
    assert as_int.id == as_float.id


@given(st.dictionaries(words, positive, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(values: dict[str, float], random: Any) -> None:
    shuffled = list(values.items())
    random.shuffle(shuffled)
    assert replace(CELL, hyperparameters=dict(shuffled)).id == replace(CELL, hyperparameters=values).id
    spec = list(CELL.as_dict().items())
    random.shuffle(spec)
    assert Cell.from_dict(dict(spec)).id == CELL.id


CHANGES: dict[str, Any] = {
    "task": "icons/weather",
    "data_version": "icons-2",
    "model": "ViT-B-16",
    "pretrained": "openai",
    "method": "ft",
    "hyperparameters": {"lr": 3e-4, "kl_weight": 1.0000000001},
    "seed": 5,
    "reading": Reading(kl_direction="symmetric"),
    "precision": "bfloat16",
    "eval_view": "stretch",
    "holdout": "domainbed",
    "plugin": "0123456789abcdef",
}
RECIPES = {"epochs": 4, "batch_size": 17, "weight_decay": 0.0, "warmup": 0.2, "clip": 2.0, "crop": 0.8}


def test_a_change_of_any_field_changes_the_id() -> None:
    others = [replace(CELL, **{name: value}) for name, value in CHANGES.items()]
    others += [replace(CELL, training=replace(TRAINING, **{name: value})) for name, value in RECIPES.items()]
    assert len({CELL.id, *(other.id for other in others)}) == 1 + len(others)


def test_ids_on_disk_stay_valid_when_the_code_moves_on() -> None:
    """An id that moves makes every record on disk an orphan."""
    assert CELL.id == "437a65e5f6affa05"


def test_a_reading_left_at_its_default_is_not_part_of_the_id() -> None:
    """So a factor that is added to the readings later leaves the ids of old cells alone."""
    without = CELL.as_dict()
    del without["reading"]
    explicit = Reading(kl_direction="pretrained-to-tuned", context_temperature=1)
    assert Cell.from_dict(without).id == replace(CELL, reading=explicit).id == CELL.id


@pytest.mark.parametrize("value", BAD_NUMBERS)
def test_a_hyperparameter_that_is_negative_or_endless_is_refused(value: float) -> None:
    assert specify("icons-3/mix-7", "car_ft", {"lr": 1e-4, "kl_weight": 0}).hyperparameters["kl_weight"] == 0
    with pytest.raises(UserError, match="KL weight"):
        specify("icons-3/mix-7", "car_ft", {"lr": 1e-4, "kl_weight": value})


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"clip": float("inf")}, {"epochs": 5, "steps": 4}], ids=str)
def test_a_training_recipe_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Training(**wrong)


def test_a_reading_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="temperature"):
        Reading(context_temperature=0.0)
    with pytest.raises(UserError, match="kl direction"):
        Reading(kl_direction="sideways")  # type: ignore[arg-type]


def test_hyperparameters_that_a_method_does_not_have_or_lacks_are_refused() -> None:
    with pytest.raises(UserError, match="no KL weight"):
        specify("icons-3/mix-7", "ft", {"lr": 1e-4, "kl_weight": 1.0})
    with pytest.raises(UserError, match="needs its learning rate"):
        specify("icons-3/mix-7", "ft", {})
    with pytest.raises(UserError, match="learning rate"):
        specify("icons-3/mix-7", "ft", {"lr": 0.0})


def test_a_specification_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(UserError, match="colour"):
        Cell.from_dict({**CELL.as_dict(), "colour": "blue"})
    with pytest.raises(UserError):
        Cell.from_dict({**CELL.as_dict(), "training": {"colour": "blue"}})


def test_an_untrained_cell_is_the_same_whatever_seed_and_budget_were_asked_for() -> None:
    assert specify("icons-3/mix-7", "zeroshot", {}, 7, TRAINING).id == specify("icons-3/mix-7", "zeroshot", {}).id


def test_a_post_hoc_cell_is_named_by_its_parents_and_alpha_alone() -> None:
    half = interpolation(CELL, 0.5)
    assert half.id != interpolation(CELL, 0.25).id
    assert half.id != interpolation(replace(CELL, seed=5), 0.5).id
    assert interpolation(CELL, 1).id == interpolation(CELL, 1.0).id
    assert replace(half, task="another", seed=99, training=Training(epochs=77)).id == half.id
    assert Cell.from_dict(half.as_dict()) == half


def test_where_weights_lie_is_left_out_of_what_is_published(tmp_path: Path) -> None:
    weights = tmp_path / "tuned.pt"
    weights.write_bytes(b"weights")
    cell = specify("icons-3/mix-6", "ft", {"lr": 1e-3}, pretrained=str(weights))
    told = command(cell, "again", catalog=BUILT_IN)
    assert str(tmp_path) not in told and "--pretrained FILE" in told
    assert display_form(cell.model, cell.pretrained) == ("icons-resnet", f"tuned.pt sha256:{cell.pretrained[-64:][:8]}")
    assert (
        display_form("local-dir:/home/lab/clip", "local-dir:/home/lab/clip#sha256:" + 64 * "a")[0] == "local-dir:clip"
    )
    assert display_form("ViT-B-16", "openai") == ("ViT-B-16", "openai")


def test_a_relative_path_of_weights_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("tuned.pt", "mine/open_clip_model.safetensors"):
        (tmp_path / name).write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    relative = specify("icons-3/mix-6", "ft", {"lr": 1e-3}, model="icons-resnet", pretrained="tuned.pt")
    assert relative.pretrained.startswith(f"{tmp_path}/tuned.pt#")
    absolute = specify("icons-3/mix-6", "ft", {"lr": 1e-3}, model="icons-resnet", pretrained=f"{tmp_path}/tuned.pt")
    assert relative == absolute
    folder = specify("icons-3/mix-6", "ft", {"lr": 1e-3}, model="local-dir:mine")
    assert folder.model == f"local-dir:{tmp_path}/mine" and folder.pretrained.startswith(f"{folder.model}#")
