"""The validation set that is held out of training images: stable, whole in its groups, kept and checked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.core.errors import UserError
from carft.data.sets import Index
from carft.data.splitting import RECORD, hold_out

NOWHERE = Path("/dev/null")  # no file can be written under it


def index(counts: list[int], place: Path = NOWHERE, per_group: int = 1) -> Index:
    rows = [(label, i) for label, count in enumerate(counts) for i in range(count)]
    return Index(
        tuple(place / str(label) / f"{i}.jpg" for label, i in rows),
        tuple(label for label, _ in rows),
        tuple(f"{label}/{i // per_group}" for label, i in rows),
    )


@given(st.lists(st.integers(2, 60), min_size=1, max_size=5), st.randoms())
def test_a_tenth_of_every_class_is_held_out_whatever_the_order(counts: list[int], random) -> None:
    whole = index(counts)
    train, val = hold_out(whole, NOWHERE)
    assert sorted(train.paths + val.paths) == sorted(whole.paths)
    assert Counter(val.labels) == {label: max(1, round(0.1 * count)) for label, count in enumerate(counts)}
    order = random.sample(range(len(whole)), len(whole))
    assert set(hold_out(whole.rows(order), NOWHERE)[1].paths) == set(val.paths)


def test_images_of_a_group_stay_together() -> None:
    train, val = hold_out(index([30, 30], per_group=3), NOWHERE)
    assert not set(train.groups) & set(val.groups)
    assert Counter(val.groups) == dict.fromkeys(val.groups, 3)


def test_a_group_in_two_classes_lies_on_one_side() -> None:
    shared = Index(tuple(NOWHERE / str(i) for i in range(40)), (0,) * 20 + (1,) * 20, tuple(map(str, range(20))) * 2)
    train, val = hold_out(shared, NOWHERE)
    assert not set(train.groups) & set(val.groups)


def test_a_class_of_one_image_cannot_be_held_out() -> None:
    with pytest.raises(UserError, match="label 1"):
        hold_out(index([5, 1]), NOWHERE)


def test_the_choice_is_kept_and_found_again(tmp_path: Path) -> None:
    first = hold_out(index([30, 30], tmp_path), tmp_path)
    kept = json.loads((tmp_path / RECORD).read_text())
    assert kept["validation"] == sorted(path.relative_to(tmp_path).as_posix() for path in first[1].paths)
    assert kept["images"] == 60
    assert hold_out(index([30, 30], tmp_path), tmp_path) == first


def test_files_that_came_later_are_refused(tmp_path: Path) -> None:
    hold_out(index([30], tmp_path), tmp_path)
    with pytest.raises(UserError, match=RECORD):
        hold_out(index([31], tmp_path), tmp_path)


@pytest.mark.parametrize("edited", ["{", '{"validation": []}', "[]"])
def test_an_edited_record_is_refused(tmp_path: Path, edited: str) -> None:
    hold_out(index([30], tmp_path), tmp_path)
    (tmp_path / RECORD).write_text(edited)
    with pytest.raises(UserError, match="not the one"):
        hold_out(index([30], tmp_path), tmp_path)
