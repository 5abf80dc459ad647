"""A sweep that gets SIGTERM in the middle of a training, which goes on from its checkpoint."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from carft.store.record_files import Record
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.run import compute
from sweeps.ray_backend.stopping import GRACE_S, ending_with_driver, is_stopping, let_checkpoint
from sweeps.recipes.loading import load_recipe
from tests.support.faults import Sweep
from tests.support.gates import Gate
from tests.support.helpers import TASK

pytestmark = [pytest.mark.slow, pytest.mark.full]

AGAIN = re.compile(r"goes on after step \d+ from a checkpoint")


def own_recipe(tmp_path: Path) -> Path:
    """One trial and one confirm cell of two epochs."""
    recipe = load_recipe("miniature").changed([TASK], ["ft"], trials=1, seeds=1)
    training = replace(recipe.training, epochs=2)
    own = recipe.model_copy(update={"training": training}).model_dump(exclude_none=True)
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(own))
    return path


def stopped_and_resumed(begin: Callable[..., Sweep], gate: Gate, results: Path) -> Record:
    """Stop a sweep in the middle of its trial and run it again; returns the record of the trial."""
    sweep = begin(gate=gate)
    try:
        sweep.until(gate.held, "the trial is held")
        (trial,) = set(gate.held().values())
        os.kill(sweep.process.pid, signal.SIGTERM)
        gate.let_end(trial)
        assert sweep.end() == 128 + signal.SIGTERM, sweep.said
    finally:
        sweep.kill()
    (checkpoint,) = results.glob("checkpoints/*")
    assert checkpoint.stem == trial and not Store(results).is_done(trial)
    assert not list(results.glob("failures/*"))
    gate.open()
    again = begin()
    assert again.end() == 0, again.said
    assert any(AGAIN.search(log.read_text()) for log in results.glob(f"logs/search-{trial}*"))
    assert not list(results.glob("checkpoints/*"))
    return Store(results).read(trial)


def test_sigterm_reaches_the_trainings_on_other_nodes(
    nodes: Any, gate: Gate, tmp_path: Path, whole_bench: CellContext
) -> None:
    results, recipe = tmp_path / "results", own_recipe(tmp_path)
    nodes.add(cpus=2)
    record = stopped_and_resumed(partial(nodes.training, results, recipe), gate, results)
    assert dict(record.metrics) == compute(record.cell, whole_bench).metrics


@ray.remote(num_cpus=0)
def writing(path: str) -> None:
    """A training of which a checkpoint is still being written when its driver ends, and then the last one."""
    with ending_with_driver("cell"):
        while not is_stopping():
            time.sleep(0.05)
        Path(path).write_text("earlier")
        time.sleep(2)
        Path(path).write_text("last")
        raise SystemExit


def test_an_earlier_checkpoint_is_not_taken_for_the_last_one(store: Store) -> None:
    path = store.checkpoint_path("cell")
    path.parent.mkdir(parents=True)
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        running = writing.remote(str(path))  # noqa: F841  (it is cancelled where nobody holds it)
        began = time.monotonic()
        let_checkpoint(["cell"], store)
        assert path.read_text() == "last" and time.monotonic() - began < GRACE_S
    finally:
        ray.shutdown()
