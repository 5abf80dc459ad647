"""Plants a folder of search cells and about a thousand unsealed ones: nine tasks, two methods, nine seeds and WiSE-FT's
curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from unittest.mock import patch

import numpy as np

from carft.data.icons.world import nine_tasks
from carft.store.records import Store
from carft.store.study_file import Trial
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
        plant(store, tasks, plan, curves=True)
        studies = {name: store.study(name) for name in store.study_names()}
        more = (cells - len(store.ids())) // len(studies)
        for name, study in studies.items():
            assert study is not None and study.winner is not None
            winner = store.read(study.winner).cell
            low, high, _ = study.space["lr"]
            for trial, lr in enumerate(np.geomspace(low, high, more), start=1):
                parameters = {**HYPERPARAMETERS[study.method], "lr": float(lr)}
                cell = replace(winner, hyperparameters=parameters)
                share = plan.top1[study.method] - 0.3  # so that the first trial wins
                write(store, cell, share, plan.context[study.method], plan, unseal=False)
                study.trials.append(Trial(number=trial, parameters=parameters, cell=cell.id, status="done"))
            store.write_study(name, study)
