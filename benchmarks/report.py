"""How long a report of many cells takes, and how much memory: python -m benchmarks.report --cells 10000

Plants a folder of search cells and about a thousand unsealed ones (nine tasks, two methods, nine seeds and WiSE-FT's
curves), then builds, and on request verifies, its report. Prints seconds and peak memory as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.measuring import memory_mib
from carft.data.icons.world import nine_tasks
from carft.store.records import Store
from carft.store.study_file import Trial
from reports.build import build_report
from reports.evidence.study_check import trial_cell
from reports.verify import verify
from tests.support.planted import HYPERPARAMETERS, Plan, plant, write

PLAN = Plan(
    top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.62},
    context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8},
    seeds=range(1, 10),
    groups=40,
    spread=0.1,
)


def plant_many(store: Store, cells: int, plan: Plan = PLAN, tasks: Sequence[str] = nine_tasks()) -> None:
    """A folder of about as many cells; nothing is flushed to disk, since it is thrown away.

    The trials are those of their studies, and ended before any cell was unsealed.
    """
    with patch("os.fsync"), patch("carft.store.records.utc_now", lambda: "2026-01-01T00:00:00Z"):
        plant(store, tasks, plan)
        studies = {name: store.study(name) for name in store.study_names()}
        more = (cells - len(store.ids())) // len(studies)
        for name, study in studies.items():
            assert study is not None and study.winner is not None
            winner = store.read(study.winner).cell
            low, high, _ = study.space["lr"]
            for trial, lr in enumerate(np.geomspace(low, high, more), start=1):
                parameters = {**HYPERPARAMETERS[study.method], "lr": float(lr)}
                cell = trial_cell(winner, parameters)
                share = plan.top1[study.method] - 0.3  # so that the first trial wins
                write(store, cell, share, plan.context[study.method], plan, unseal=False)
                study.trials.append(Trial(number=trial, parameters=parameters, cell=cell.id, status="done"))
            store.write_study(name, study)


def main() -> None:
    """Plant, build, verify; print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--results", type=Path, help="Where to plant, or an earlier folder to use again.")
    parser.add_argument("--plant", action="store_true", help="Only plant; memory is then the next call's own.")
    parser.add_argument("--verify", action="store_true", help="Also verify.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(options.results or Path(scratch) / "results")
        if not store.root.exists():
            plant_many(store, options.cells)
        if options.plant:
            return
        started, worked = time.perf_counter(), time.process_time()
        built = build_report(store, Path(scratch) / "report")
        taken = {"cells": len(store.ids()), "report_s": round(time.perf_counter() - started, 1)}
        taken["report_cpu_s"] = round(time.process_time() - worked, 1)
        taken["page_mb"] = round(built.page.stat().st_size / 1e6, 2)
        if options.verify:
            started = time.perf_counter()
            taken["holds"] = verify(store, Path(scratch) / "report").holds
            taken["verify_s"] = round(time.perf_counter() - started, 1)
    taken["peak_mb"] = round(memory_mib("VmHWM"))  # getrusage counts the memory of the parent process too
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
