"""A sweep that gets SIGTERM in the middle of a training, which goes on from its checkpoint."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
import yaml

from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.run import compute
from sweeps.recipes import load_recipe
from tests.support.faults import Sweep, finished
from tests.support.gates import Gate
from tests.support.helpers import TASK

pytestmark = [pytest.mark.slow, pytest.mark.full]

AGAIN = re.compile(r"goes on after step \d+ from a checkpoint")


def own_recipe(tmp_path: Path) -> Path:
    """Zero-shot, one trial and one confirm cell, of enough epochs that the signal arrives before the end."""
    recipe = load_recipe("miniature").changed([TASK], ["zeroshot", "ft"], trials=1, seeds=1)
    training = recipe.training.model_copy(update={"epochs": 6})
    own = recipe.model_copy(update={"training": training}).model_dump(exclude_none=True)
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(own))
    return path


def test_a_sweep_that_gets_sigterm_leaves_checkpoints_and_goes_on_from_them(
    gate: Gate, tmp_path: Path, bench: CellContext
) -> None:
    results, recipe = tmp_path / "results", own_recipe(tmp_path)
    sweep = Sweep(results, recipe, gate=gate)
    try:
        sweep.until(lambda: gate.held() and finished(results), "zero-shot is finished and the trial is held")
        (trial,) = gate.held().values()
        os.kill(sweep.process.pid, signal.SIGTERM)
        gate.let(trial)
        assert sweep.end() == 128 + signal.SIGTERM, sweep.said
    finally:
        sweep.kill()
    (checkpoint,) = results.glob("checkpoints/*")
    assert checkpoint.stem == trial and not Store(results).is_done(trial)
    gate.open()
    again = Sweep(results, recipe)
    assert again.end() == 0, again.said
    assert AGAIN.search((results / "logs" / f"search-{trial}.log").read_text())
    assert not list(results.glob("checkpoints/*"))
    record = Store(results).read(trial)
    assert dict(record.metrics) == compute(record.cell, bench).metrics
