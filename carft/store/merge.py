"""Merging of two results folders into one. They must have the same results for each shared cell and study. No torch."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from carft.core.errors import UserError
from carft.core.files import files_below, new_folder
from carft.store.failures import failures
from carft.store.journal import JOURNAL
from carft.store.predictions import SHARED
from carft.store.records import Store
from carft.store.stored_catalog import CATALOG, merge_paths_and_suites
from carft.store.study_file import StudyFile


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge."""

    sources: dict[str, list[int]]
    """Cell -> indices, 0 or 1, of the folders that its files are taken from, the first of them first."""
    corrupt: dict[str, str]
    """Cell that is left out -> why."""


def merge(first: Store, second: Store, target: Path) -> Merged:
    """Write a new folder with the cells of both folders.

    Of a cell that both have, the record of the newer NUMERICS is taken. If the two records are of one NUMERICS,
    evaluations and weights that only one folder has are added. Raises ``UserError`` if the folders disagree on a cell
    or a study; nothing is written then.
    """
    stores = (first, second)
    for store in stores:
        if (store.root / SHARED).is_dir():
            words = f"'{store.name}' comes from a compact archive, which cannot be merged."
            raise UserError(words, "Merge the originals.")
    merged = _compare_cells(stores)
    studies = _merge_studies(stores)
    with new_folder(target) as folder:
        made = Store(folder)
        made.make(folder / "cells")
        for k, store in enumerate(stores):
            cells = []
            for cell, sources in merged.sources.items():
                if k in sources:
                    cells.append(f"cells/{cell}")
            _copy_files(store, made, cells)
        merge_paths_and_suites(stores, made)
        for study in studies:
            made.put(f"studies/{study.id}/study.json", _with_done_trials(study, merged).content())
        by_time = sorted([*failures(first), *failures(second)], key=lambda failure: failure.when)
        for failure in by_time:
            if not (made.is_done(failure.cell) and failure.job in ("", "search")):
                made.put(f"failures/{failure.cell}.json", failure.content())
    return merged


def _copy_files(source: Store, target: Store, cells: list[str]) -> None:
    """Copy the files of a folder that the target lacks: those of some cells, of the catalog and of the journal."""
    for name in files_below(source.root, (*cells, *CATALOG, JOURNAL)):
        file, copy = source.root / name, target.root / name
        is_new = not copy.exists()
        has_grown = name.startswith(JOURNAL) and not is_new and file.stat().st_size > copy.stat().st_size
        if is_new or has_grown:  # the longer chain begins with the shorter one
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)


def _with_done_trials(study: StudyFile, merged: Merged) -> StudyFile:
    """The study; every trial whose cell is in the merged folder is done."""
    trials = list(study.trials)
    for place, trial in enumerate(trials):
        if trial.cell in merged.sources:
            trials[place] = trial.model_copy(update={"status": "done"})
    return study.model_copy(update={"trials": trials})


def _compare_cells(stores: tuple[Store, Store]) -> Merged:
    merged = Merged({}, {})
    for cell in sorted({*stores[0].ids(), *stores[1].ids()}):
        numerics = {}  # index of a folder -> NUMERICS of its valid record
        for k, store in enumerate(stores):
            if store.is_done(cell):
                try:
                    numerics[k] = store.read(cell).numerics
                except UserError as refusal:
                    merged.corrupt[cell] = refusal.message
        if numerics:
            merged.corrupt.pop(cell, None)
            newest = max(numerics.values())
            merged.sources[cell] = [k for k, number in numerics.items() if number == newest]
            if len(merged.sources[cell]) == 2:
                _require_same_results(stores, cell)
    return merged


def _require_same_results(stores: tuple[Store, Store], cell: str) -> None:
    """Raise ``UserError`` if two records of a cell disagree on a set, in metrics or in predictions."""
    first, second = _metrics_by_set(stores[0], cell), _metrics_by_set(stores[1], cell)
    for name in sorted(first.keys() & second.keys()):
        if first[name] != second[name]:
            raise _disagreement(stores, f"cell {cell} has other metrics on {name} in the second")
        predictions = stores[0].prediction_table(cell, name)  # equal ones can differ in their bytes
        if not predictions.equals(stores[1].prediction_table(cell, name)):
            raise _disagreement(stores, f"cell {cell} has other predictions on {name} in the second")


def _metrics_by_set(store: Store, cell: str) -> dict[str, Mapping[str, float]]:
    metrics = {"val": store.read(cell).metrics}
    for name, evaluation in store.evaluations(cell).items():
        metrics[name] = evaluation.metrics
    return metrics


def _disagreement(stores: tuple[Store, Store], words: str) -> UserError:
    first, second = stores
    return UserError(
        f"'{first.name}' and '{second.name}' disagree: {words}.",
        "They are not one set of results. To compare them, write a report of each, and join their tables "
        "(docs/report.md#two-folders).",
    )


def _merge_studies(stores: tuple[Store, Store]) -> list[StudyFile]:
    """Return all studies: of two states of one the larger, with the confirm cells of both."""
    first = {study.id: study for study in stores[0].studies()}
    second = {study.id: study for study in stores[1].studies()}
    merged = {**second, **first}
    for name in first.keys() & second.keys():
        merged[name] = _merge_states(stores, first[name], second[name])
    return list(merged.values())


def _merge_states(stores: tuple[Store, Store], first: StudyFile, second: StudyFile) -> StudyFile:
    """Return one study for two states of it; ``UserError`` if they tried other settings or have other winners."""
    larger = max((first, second), key=lambda study: (len(study.trials), study.winner is not None, len(study.confirm)))
    where = f"study {larger.id}, {larger.method} on {larger.task}"
    tried = {trial.number: trial.cell for trial in first.trials}
    tried_too = {trial.number: trial.cell for trial in second.trials}
    for number in tried.keys() & tried_too.keys():
        if tried[number] != tried_too[number]:
            raise _disagreement(stores, f"{where}, tried other settings")
    if None not in (first.winner, second.winner) and first.winner != second.winner:
        raise _disagreement(stores, f"{where}, has other winners")
    changes = {
        "confirm": list(dict.fromkeys([*first.confirm, *second.confirm])),
        "grid": list(dict.fromkeys([*first.grid, *second.grid])),
        "extended_from": first.extended_from or second.extended_from,
    }
    return larger.model_copy(update=changes)
