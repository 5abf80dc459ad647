"""Fake images: seeded, told apart by class and domain, and never mixed with real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from carft.core.errors import UserError
from carft.data.fixtures import begin, is_fixture, picture


def test_the_same_arguments_give_the_same_pixels() -> None:
    assert picture(3, 1, 2, 24).tobytes() == picture(3, 1, 2, 24).tobytes()
    assert picture(3, 1, 2, 24).size == (24, 24)
    assert picture(3, 1, 2, 24).mode == "RGB"


@pytest.mark.parametrize("other", [(4, 1, 2), (3, 2, 2), (3, 1, 3)])
def test_class_domain_and_number_each_change_the_picture(other: tuple[int, int, int]) -> None:
    assert picture(3, 1, 2).tobytes() != picture(*other).tobytes()


def test_pictures_of_a_class_are_nearer_to_each_other_than_to_another_class() -> None:
    def colour(label: int, number: int) -> np.ndarray:
        return np.asarray(picture(label, 0, number), dtype=float).mean((0, 1))

    for label in range(5):
        own = np.abs(colour(label, 0) - colour(label, 1)).sum()
        assert own < min(np.abs(colour(label, 0) - colour(other, 1)).sum() for other in range(5) if other != label)


def test_a_fixture_is_marked_and_may_be_drawn_again(tmp_path: Path) -> None:
    begin(tmp_path / "set", "made-up")
    assert is_fixture(tmp_path / "set")
    begin(tmp_path / "set", "made-up")


def test_a_folder_with_other_files_is_never_made_a_fixture(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"real")
    with pytest.raises(UserError, match="is not a fixture"):
        begin(tmp_path, "made-up")
    assert not is_fixture(tmp_path)
