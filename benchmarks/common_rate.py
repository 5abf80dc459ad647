"""``python -m benchmarks.common_rate RESULTS FOLDER``: CAR-FT minus FT where both have the settings that FT selected.

RESULTS holds the records of the audit (``results import audit/records.zip --to RESULTS``). In each search, FT and
CAR-FT try the same learning rates. Here CAR-FT is given its trial with the number of FT's winner, so the two sides of a
pair differ in the KL term alone, whatever learning rate validation selected for CAR-FT. Both sides are trained again on
this machine, with both confirm seeds of every task and search.

The comparison was thought of after test results were known. It decides no claim.

FOLDER is a results folder: a stopped run goes on. ``--task`` runs the cells of one task and writes no table.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from carft.store.records import Store
from carft.store.study_file import StudyFile, Trial
from carft.training.execution import Execution
from carft.training.run import run_cell
from reports.judge.contrasts.contrast import Contrast, every_set, every_suite, id_test, pool
from reports.judge.entry import CAR_FT, FT
from reports.judge.evidence import Evidence
from reports.judge.views import evidence_of
from reports.read.folder import read_folder

TABLE = Path(__file__).with_name("common_rate.csv")
FAMILY, MODEL = "icons-3-full/", "icons-resnet"
CONTRASTS = {
    "in distribution": Contrast(CAR_FT, FT, "top1", id_test),
    "out of distribution": Contrast(CAR_FT, FT, "top1", every_suite),
    "contexts": Contrast(CAR_FT, FT, "context", every_set),
}


def main() -> None:
    """Train the cells that the folder lacks, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.common_rate", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", help="train the cells of this task alone")
    asked = parser.parse_args()
    audit, folder = Store(asked.results), Store(asked.folder)
    pairs = pairs_of(audit)
    for (task, _), (ft, car_ft) in sorted(pairs.items()):
        if asked.task in (None, task):
            confirm_again(ft, winner_of(ft), audit, folder)
            confirm_again(car_ft, trial_of(car_ft, winner_of(ft).number), audit, folder)
    if not asked.task:
        own = sum(winner_of(ft).number == winner_of(car_ft).number for ft, car_ft in pairs.values())
        table = measured(evidence_of(read_folder(folder)), len(pairs), own)
        table.to_csv(TABLE, index=False)
        print(table.to_string(index=False))


def pairs_of(audit: Store) -> dict[tuple[str, int], tuple[StudyFile, StudyFile]]:
    """(task, search) -> the studies of FT and of CAR-FT, under the default reading."""
    studies: dict[tuple[str, int], dict[str, StudyFile]] = {}
    for study in audit.studies():
        if study.task.startswith(FAMILY) and study.model == MODEL and study.winner and not study.reading:
            studies.setdefault((study.task, study.search), {})[study.method] = study
    pairs = {}
    for key, by_method in studies.items():
        if FT.method in by_method and CAR_FT.method in by_method:
            pairs[key] = by_method[FT.method], by_method[CAR_FT.method]
    return pairs


def winner_of(study: StudyFile) -> Trial:
    """The trial that validation selected."""
    return next(trial for trial in study.trials if trial.cell == study.winner)


def trial_of(study: StudyFile, number: int) -> Trial:
    """The trial with a number."""
    return next(trial for trial in study.trials if trial.number == number)


def confirm_again(study: StudyFile, trial: Trial, audit: Store, folder: Store) -> None:
    """Train and evaluate a trial's settings with the study's confirm seeds, and write the study that they make."""
    confirm = []
    for name in study.confirm:
        cell = replace(audit.read(name).cell, hyperparameters=dict(trial.parameters))
        run_cell(cell, folder, Execution(), unseal=True)
        confirm.append(cell.id)
    folder.write_study(study.id, study.model_copy(update={"winner": trial.cell, "confirm": confirm}))


def measured(evidence: Evidence, pairs: int, own: int) -> pd.DataFrame:
    """A row for each contrast, in points, by the rule that decides. own: pairs in which CAR-FT selected this trial."""
    rows: list[Mapping[str, object]] = []
    for name, contrast in CONTRASTS.items():
        part = pool(evidence, contrast, name)
        assert part is not None
        effect, bounds = 100 * part.estimate.effect, (100 * part.low, 100 * part.high)
        sizes = {"tasks": len(part.tasks), "searches": part.estimate.n_searches, "seeds": part.estimate.n_seeds}
        numbers = {"effect": round(effect, 2), "low": round(bounds[0], 2), "high": round(bounds[1], 2)}
        rows.append({"where": name, **numbers, **sizes, "pairs": pairs, "own_winner": own})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
