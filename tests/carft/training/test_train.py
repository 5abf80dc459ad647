"""A cell from a program."""

from __future__ import annotations

from pathlib import Path

import pytest

import carft
from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.store.records import Store
from tests.support.helpers import LR, TASK, quick_cell


def test_a_program_trains_as_the_command_does(tmp_path: Path) -> None:
    cell, announced = quick_cell("ft", lr=LR), list[Cell]()
    asked = {"training": cell.training, "results": tmp_path / "results", "announce": announced.append}
    done = carft.train(TASK, "ft", {"lr": LR}, **asked)
    again = carft.train(TASK, "ft", {"lr": LR}, **asked)
    assert (done.status, again.status) == ("done", "reused") and announced == [cell, cell]
    assert again.metrics == done.metrics == Store(tmp_path / "results").metrics(cell.id)
    with pytest.raises(UserError, match="needs its learning rate"):
        carft.train(TASK, "ft", results=tmp_path / "none")
    assert not (tmp_path / "none").exists()
