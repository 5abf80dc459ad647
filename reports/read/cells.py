"""A row a cell: a results folder as one tidy frame, for the tables of a report and for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from carft.config.cell import Cell, display_form
from carft.config.registry import SoupRule
from carft.config.settings import UNTRAINED_RECIPE
from carft.core.errors import UserError
from carft.store.record_files import Record

if TYPE_CHECKING:
    from reports.read.folder import Folder

#: column -> what it holds; behind them stand ``hp/NAME`` and the metrics
COLUMNS: Mapping[str, str] = {
    "scope": "Name of what a report may pool the cell with; empty for a task that is not known here.",
    "scale": "`paper`, `miniature` or `own`.",
    "task": "Name of the task.",
    "method": "Name of the method.",
    "parent": "Method of the cells that a post-hoc cell is made of; else empty.",
    "alpha": "Weight of the fine-tuned model in an interpolation.",
    "rule": "`uniform` or `greedy`: rule of a soup; else empty.",
    "search": "Number of the independent search that the cell or its parents are of, from 1; 1 without a search. Of "
    "several studies, here and below, that of the first by id.",
    "seed": "Seed of the cell.",
    "role": "`search`, `confirm`, `grid`, `untrained`, `post-hoc`, or `single` for a cell of no study.",
    "reading": "Choices that differ from the default reading; `default` for none.",
    "trial": "Number of the trial, from 0.",
    "won": "Whether validation selected the trial in any study.",
    "study": "Id of the first study that names the cell; else empty.",
    "parents": "Ids of the cells that a post-hoc cell is made of, separated by blanks.",
    "data": "Version of the task's data.",
    "model": "Name of the model.",
    "pretrained": "Its weights; of a file the name and the first digits of the digest.",
    "precision": "Precision of training.",
    "batch_size": "Images of a step.",
    "epochs": "Epochs of training.",
    "seconds": "Time that training, validation and evaluation of a post-hoc cell took.",
    "machine": "Name of the GPU, or of the processor.",
    "torch": "Version of torch.",
    "code": "First digits of the digest of the code that ran the cell, by the journal.",
}
#: phases that others contain
INSIDE = ("data_wait",)
#: metric of context recognition; without the name of a set, the mean over the held-out sets that have it
CONTEXTS = "context_top1"


def cells_frame(folder: Folder) -> pd.DataFrame:
    """One row a cell that can be read, by id: :data:`COLUMNS`, ``hp/NAME`` of settings, and metrics as shares of 1."""
    places = _places(folder)
    rows = [_row(folder, record, places) for record in folder.records.values()]
    frame = pd.DataFrame(rows, index=pd.Index(folder.records, name="cell", dtype=str))
    frame = frame.reindex(columns=[*COLUMNS, *frame.columns.difference(list(COLUMNS))])
    return frame.astype({"trial": "Int64", "won": bool})


def reading_words(choices: Mapping[str, Any]) -> str:
    """The choices that differ from the default reading: ``crop 0.5, kl_direction reverse``, or ``default``."""
    return ", ".join(f"{name} {value}" for name, value in choices.items()) or "default"


def reading_choices(factors: Mapping[str, Any], crop: float | None) -> dict[str, Any]:
    """The choices that differ from the default reading, by name. crop: None for the default."""
    choices = dict(factors)
    if crop is not None and crop != UNTRAINED_RECIPE.crop:
        choices["crop"] = crop
    return dict(sorted(choices.items()))


def _places(folder: Folder) -> dict[str, dict[str, Any]]:
    """Cell of a study -> the columns that its study gives it.

    Of several studies, as of searches that try one setting, it is the first. A trial is one, whatever else it is.
    """
    trials: dict[str, dict[str, Any]] = {}
    others: dict[str, dict[str, Any]] = {}
    for study in folder.studies:
        named = {"study": study.id, "search": study.search}
        for trial in study.trials:
            place = trials.setdefault(trial.cell, {**named, "role": "search", "trial": trial.number, "won": False})
            place["won"] |= trial.cell == study.winner
        for role, cells in (("confirm", study.confirm), ("grid", study.grid)):
            for cell in cells:
                others.setdefault(cell, {**named, "role": role})
    return others | trials


def _row(folder: Folder, record: Record, places: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The row of a cell. places: as of :func:`_places`."""
    cell, made = record.cell, record.provenance
    crop = cell.training.crop
    model, weights = display_form(cell.model, cell.pretrained)
    machine, cpu = made.get("machine") or {}, made.get("cpu") or {}
    seconds = 0.0
    for name, of_phase in record.durations.items():
        if name not in INSIDE:
            seconds += of_phase
    row = {
        **_scope(folder, cell),
        "task": cell.task,
        "method": cell.method,
        "parent": "",
        "alpha": np.nan,
        "rule": "",
        "search": 1,
        "seed": cell.seed,
        "role": "single" if cell.hyperparameters else "untrained",
        "reading": reading_words(reading_choices(cell.reading.factors(), crop)),
        "trial": None,
        "won": False,
        "study": "",
        "parents": " ".join(cell.parents),
        "data": cell.data_version,
        "model": model,
        "pretrained": weights,
        "precision": cell.precision,
        "batch_size": cell.training.batch_size,
        "epochs": cell.training.epochs,
        "seconds": seconds,
        "machine": machine.get("gpu") or cpu.get("model") or "",
        "torch": str((made.get("packages") or {}).get("torch", "")),
        "code": " ".join(sorted(code[:8] for code in folder.code_of([record.id]))),
    }
    settings = dict(cell.hyperparameters)
    if cell.parents:
        row["role"] = "post-hoc"
        row["alpha"] = settings.pop("alpha", np.nan)
        if "greedy" in settings:
            row["rule"] = SoupRule(settings.pop("greedy")).name.lower()
        for parent in reversed(cell.parents):
            row["search"] = places.get(parent, row)["search"]
            if parent in folder.records:
                row["parent"] = folder.records[parent].cell.method
    for name, value in settings.items():
        row[f"hp/{name}"] = value
    metrics = folder.metrics(record.id)
    recognised = []
    for name, value in metrics.items():
        if is_recognition(name):
            recognised.append(value)
    if recognised:
        row[CONTEXTS] = float(np.mean(recognised))
    return {**row, **places.get(record.id, {}), **metrics}


def is_recognition(metric: str) -> bool:
    """Whether a metric is the context recognition on one held-out set."""
    name, _, what = metric.rpartition("/")
    return what == CONTEXTS and name not in ("val", "train", "ood")


def _scope(folder: Folder, cell: Cell) -> dict[str, str]:
    """The columns of a cell's scope; empty where its task is not known here."""
    try:
        scope = folder.scope_of(cell)
    except UserError:
        return {"scope": "", "scale": ""}
    return {"scope": folder.scope_names[scope], "scale": scope.scale}
