"""A whole sweep on Ray that prunes its trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from carft.store.records import Store
from tests.support.helpers import TASK, run_cli

pytestmark = [pytest.mark.slow, pytest.mark.full]

SEARCH = ("--trials", 6, "--seeds", 1, "--epochs", 3, "--steps", 9, "--space", "lr=1e-4:1e-1", "--pruner", "halving")
SWEEP = ("sweep", "miniature", "--tasks", TASK, "--methods", "ft", *SEARCH)


def test_a_sweep_that_prunes_ends_with_a_winner_among_whole_trials_and_a_report(tmp_path: Path) -> None:
    results = tmp_path / "results"

    def ok(*arguments: object) -> Any:
        done = run_cli(*arguments, "--json", "--results", results, in_process=True)
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    first = ok(*SWEEP)
    (study,) = Store(results).studies()
    pruned = [trial for trial in study.trials if trial.status == "pruned"]
    whole = [trial.cell for trial in study.trials if trial.status == "done"]
    assert pruned and len(pruned) + len(whole) == 6 and study.winner in whole
    assert all(0 < len(trial.validated) < 3 for trial in pruned)
    counted = [first[f"cells_{kind}"] for kind in ("done", "failed", "pruned")]
    assert counted == [len(whole) + 1, 0, len(pruned)] and not list(results.glob("checkpoints/*"))
    for trial in pruned:
        log = (results / "logs" / f"search-{trial.cell}.log").read_text()
        assert f"pruned after epoch {len(trial.validated)}" in log
    (state,) = ok("status")["sweeps"]
    assert (state["counts"]["pruned"], state["counts"]["total"]) == (len(pruned), 7)
    report = ("--out", tmp_path / "report")
    assert not ok("report", *report, "--no-images")["warnings"]
    assert ok("report", "verify", *report)["holds"]
    again = ok(*SWEEP)
    assert (again["cells_done"], again["cells_reused"], again["cells_pruned"]) == (0, len(whole) + 1, len(pruned))
