"""What a sweep shows while it runs, and at its end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from carft.store.records import Store
from sweeps.recipes import load_recipe
from sweeps.search.protocol import Protocol
from sweeps.search.study import Job, Kind
from sweeps.status.progress import ProgressDisplay, winners_table
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


def test_a_running_sweep_says_in_words_what_happens_and_how_long_it_takes() -> None:
    recipe = load_recipe("miniature")
    kinds: tuple[Kind, ...] = ("curve", "confirm", "confirm", "search")
    jobs = {str(k): Job(kind, recipe.cell("icons/tools", "ft", {"lr": 1e-3})) for k, kind in enumerate(kinds)}
    console = Console(width=200, force_terminal=False)
    protocol = SimpleNamespace(running=jobs, failed={}, done={}, total=lambda: 9)
    with console.capture() as captured:
        ProgressDisplay(console).watch(cast(Protocol, protocol), lambda: 300.0)()
    assert captured.get() == (
        "0/9 cells  searching, confirming winners and opening their test sets, "
        "opening the test sets of interpolations, about 5 min left\n"
    )
