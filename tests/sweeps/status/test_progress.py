"""What a sweep shows at its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from carft.store.records import Store
from sweeps.recipes import load_recipe
from sweeps.search.protocol import Protocol
from sweeps.status.progress import winners_table
from tests.support import dry

#: a task of each kind: (its test set is measured, its suites are measured)
MEASURED = {"icons/transport": (True, True), "cifar10": (True, False), "pacs/sketch": (False, True)}


@pytest.mark.parametrize("task", MEASURED)
def test_the_table_of_winners_shows_a_dash_for_what_a_task_does_not_have(task: str, tmp_path: Path) -> None:
    recipe = load_recipe("miniature").smoked().changed(tasks=[task], methods=["ft"])
    dry.undisturbed(recipe, tmp_path / "results")
    protocol = Protocol(recipe, Store(tmp_path / "results"))

    console = Console(width=80)
    with console.capture() as captured:
        console.print(winners_table(protocol))
    _, row = captured.get().splitlines()
    assert tuple(value != "-" for value in row.split()[-2:]) == MEASURED[task], row
    assert row.split()[-3] != "-"
