"""Searches that use results, killed and started again: by a sampler that learns, and with trials that are pruned."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from carft.store.records import Store
from carft.store.study_file import StudyFile
from tests.support import dry
from tests.support.faults import Sweep, began, below, records, repeated_jobs, require_gone
from tests.support.gates import closed_gate
from tests.support.helpers import TASK

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.ray]

TRIALS = 12
ASKED = ("miniature", "--tasks", TASK, "--methods", "zeroshot,ft", "--sampler", "tpe", "--trials", TRIALS, "--seeds", 1)
PRUNING = ("miniature", "--tasks", TASK, "--methods", "ft", "--pruner", "halving", "--trials", 6, "--seeds", 1,
           "--epochs", 3, "--steps", 9, "--space", "lr=1e-4:1e-1")  # fmt: skip


def written(results: Path) -> dict[str, int]:
    """Finished cell -> when its record was written."""
    return {cell: (results / "cells" / cell / "record.json").stat().st_mtime_ns for cell in records(results)}


def gone_on(results: Path, before: StudyFile, done: dict[str, int], sweep: Sweep) -> StudyFile:
    """The study once a second sweep has ended: it kept its trials and ran no finished cell again."""
    try:
        assert sweep.end() == 0, sweep.said
    finally:
        sweep.kill()
    (after,) = Store(results).studies()
    for kept, stored in zip(before.trials, after.trials, strict=False):
        assert (kept.parameters, kept.cell, kept.finished) == (stored.parameters, stored.cell, stored.finished)
    assert len(after.confirm) == 1
    now = written(results)
    for cell, when in done.items():
        assert now[cell] == when and not repeated_jobs(results) & {f"search-{cell}", f"confirm-{cell}"}
    return after


def test_a_killed_search_by_tpe_goes_on_with_its_trials_and_runs_no_cell_twice(tmp_path: Path) -> None:
    results = tmp_path / "results"
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
    (before,) = Store(results).studies()
    done = written(results)
    assert 1 + TRIALS // 3 <= len(done) < TRIALS and len(before.trials) < TRIALS and before.winner is None
    assert len(before.trials) > len(done) - 1  # also those whose cells were running
    after = gone_on(results, before, done, Sweep(results, *ASKED, env=dry.ENVIRONMENT))
    assert len(after.trials) == TRIALS and after.winner and len(records(results)) == 1 + TRIALS + 1


@pytest.mark.parametrize(("how", "sampler"), [(signal.SIGKILL, "sobol"), (signal.SIGTERM, "tpe")])
def test_a_killed_search_keeps_its_pruned_trials_and_a_whole_trial_wins(
    tmp_path: Path, how: signal.Signals, sampler: str
) -> None:
    results, asked = tmp_path / "results", (*PRUNING, "--sampler", sampler)
    store = Store(results)
    with closed_gate(tmp_path / "gate") as gate:
        sweep = Sweep(results, *asked, gate=gate)
        try:
            while not any(study.pruned for study in store.studies()):
                sweep.until(gate.held, "a cell is held")
                gate.let_held()
            sweep.until(gate.held, "a cell is held")
            begun = {process: began(process) for process in below(sweep.process.pid)}
            os.kill(sweep.process.pid, how)
            if how is signal.SIGTERM:
                for cell in gate.held().values():
                    gate.let_end(cell)
            assert sweep.end() == (128 + how if how is signal.SIGTERM else -how), sweep.said
            require_gone(begun)
        finally:
            sweep.kill()
    (before,) = store.studies()
    assert before.pruned and not list(results.glob("failures/*"))
    after = gone_on(results, before, written(results), Sweep(results, *asked))
    for number, trial in before.pruned.items():
        assert after.pruned[number] == trial and 0 < len(trial.validated) < 3
    statuses = Counter(trial.status for trial in after.trials)
    assert statuses["pruned"] + statuses["done"] == 6 and statuses["done"] > 0
    whole = {trial.cell for trial in after.trials if trial.status == "done"}
    assert after.winner in whole and records(results) == {*whole, *after.confirm}
    assert store.metrics(after.winner)["val/top1"] == max(store.metrics(cell)["val/top1"] for cell in whole)
    assert not list(results.glob("checkpoints/*"))
