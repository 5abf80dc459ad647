"""A sweep from a program."""

from __future__ import annotations

import io

from rich.console import Console

from carft.store.records import Store
from sweeps import sweep
from sweeps.plan.planning import Plan
from sweeps.plan.resources import Resources
from sweeps.recipes.loading import load_recipe
from tests.support.helpers import TASK
from tests.support.serial import without_ray


def test_a_program_sweeps_as_the_command_does(store: Store) -> None:
    recipe = load_recipe("miniature").smoked().changed([TASK], ["zeroshot", "ft"], 1, 1)
    console, plans = Console(file=io.StringIO()), list[Plan]()
    with without_ray():
        done = sweep(recipe, store, Resources(), console=console, announce=plans.append)
        again = sweep(recipe, store, Resources(), console=console, announce=plans.append)
    assert done.summary.cells_done == plans[0].cells == len(store.ids()) == 3
    assert not done.protocol.failed and done.state is not None and done.state.outcome == "done"
    assert (again.summary.cells_done, again.summary.cells_reused, again.state, len(plans)) == (0, 3, None, 1)
