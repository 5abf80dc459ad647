"""A search whose sampler learns from results, killed with -9 and started again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from carft.store.records import Store
from tests.support import dry
from tests.support.faults import Sweep, began, below, records, repeated_jobs, require_gone
from tests.support.gates import closed_gate
from tests.support.helpers import TASK

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.ray]

TRIALS = 12
ASKED = ("miniature", "--tasks", TASK, "--methods", "zeroshot,ft", "--sampler", "tpe", "--trials", TRIALS, "--seeds", 1)


def test_a_killed_search_by_tpe_goes_on_with_its_trials_and_runs_no_cell_twice(tmp_path: Path) -> None:
    results = tmp_path / "results"
    store = Store(results)
    with closed_gate(tmp_path / "gate") as gate:
        sweep = Sweep(results, *ASKED, gate=gate, env=dry.ENVIRONMENT)
        try:
            while len(records(results)) < 1 + TRIALS // 3:  # with zero-shot
                sweep.until(gate.held, "a cell is held")
                gate.let_held()
            sweep.until(gate.held, "a cell is held")
            begun = {process: began(process) for process in below(sweep.process.pid)}
            os.kill(sweep.process.pid, signal.SIGKILL)
            assert sweep.end() == -signal.SIGKILL
            require_gone(begun)
        finally:
            sweep.kill()
    (before,) = store.studies()
    done = {cell: (results / "cells" / cell / "record.json").stat().st_mtime_ns for cell in records(results)}
    assert 1 + TRIALS // 3 <= len(done) < TRIALS and len(before.trials) < TRIALS and before.winner is None
    assert len(before.trials) > len(done) - 1  # also those whose cells were running
    again = Sweep(results, *ASKED, env=dry.ENVIRONMENT)
    try:
        assert again.end() == 0, again.said
    finally:
        again.kill()
    (after,) = store.studies()
    for kept, stored in zip(before.trials, after.trials, strict=False):
        assert (kept.parameters, kept.cell, kept.finished) == (stored.parameters, stored.cell, stored.finished)
    assert len(after.trials) == TRIALS and after.winner and after.is_in_order
    assert len(records(results)) == 1 + TRIALS + 1
    for cell, changed in done.items():
        assert (results / "cells" / cell / "record.json").stat().st_mtime_ns == changed
        assert not repeated_jobs(results) & {f"search-{cell}", f"confirm-{cell}"}
