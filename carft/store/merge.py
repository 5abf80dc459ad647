"""Merging of two results folders into one. They must have the same results for each shared cell and study. No torch."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from carft.core.errors import UserError
from carft.core.files import file_digest, files_below, new_folder
from carft.store.failures import failures
from carft.store.journal import JOURNAL, LOG
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
            cells = [f"cells/{cell}" for cell, sources in merged.sources.items() if k in sources]
            for name in files_below(store.root, (*cells, *CATALOG, JOURNAL)):
                source, copy = store.root / name, folder / name
                is_longer = name.startswith(JOURNAL) and copy.exists() and source.stat().st_size > copy.stat().st_size
                if is_longer or not copy.exists():  # a chain that went on since an earlier merge holds its beginning
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(source, copy)
        merge_paths_and_suites(stores, made)
        for study in studies:
            trials = list(study.trials)
            for place, trial in enumerate(trials):
                if trial.cell in merged.sources:
                    trials[place] = trial.model_copy(update={"status": "done"})
            made.write_study(study.id, study.model_copy(update={"trials": trials}))
        for failure in sorted(chain(*map(failures, stores)), key=lambda failure: failure.when):
            if not (made.is_done(failure.cell) and failure.job in ("", "search")):
                made.put(f"failures/{failure.cell}.json", failure.content())
        lines = set[bytes]()
        for store in stores:
            log = store.root / LOG
            if log.is_file():
                lines.update(log.read_bytes().splitlines())
        if lines:
            (folder / LOG).write_bytes(b"".join(line + b"\n" for line in sorted(lines)))
        _note_merge(made)
    return merged


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
            merged.sources[cell] = [k for k, number in numerics.items() if number == max(numerics.values())]
            if len(merged.sources[cell]) == 2:
                _require_same_results(stores, cell)
    return merged


def _require_same_results(stores: tuple[Store, Store], cell: str) -> None:
    """Raise ``UserError`` if two records of a cell disagree on a set, in metrics or in predictions."""
    first, second = (_metrics_by_set(store, cell) for store in stores)
    for name in sorted(first.keys() & second.keys()):
        if first[name] != second[name]:
            raise _disagreement(stores, f"cell {cell} has other metrics on {name} in the second")
        predictions = [store.prediction_table(cell, name) for store in stores]  # equal ones can differ in their bytes
        if not predictions[0].equals(predictions[1]):
            raise _disagreement(stores, f"cell {cell} has other predictions on {name} in the second")


def _metrics_by_set(store: Store, cell: str) -> dict[str, Mapping[str, float]]:
    metrics = {"val": store.read(cell).metrics}
    for name, evaluation in store.evaluations(cell).items():
        metrics[name] = evaluation.metrics
    return metrics


def _disagreement(stores: tuple[Store, Store], words: str) -> UserError:
    first, second = (store.name for store in stores)
    return UserError(
        f"'{first}' and '{second}' disagree: {words}.",
        "They are not one set of results. To compare them, write a report of each, and join their tables "
        "(docs/report.md#two-folders).",
    )


def _merge_studies(stores: tuple[Store, Store]) -> list[StudyFile]:
    """Return all studies: of two states of one the larger, with the confirm cells of both."""
    by_id = [{study.id: study for study in store.studies()} for store in stores]
    studies = {**by_id[1], **by_id[0]}
    for name in by_id[0].keys() & by_id[1].keys():
        pair = (by_id[0][name], by_id[1][name])
        larger = max(pair, key=lambda s: (len(s.trials), s.winner is not None, len(s.confirm)))
        tried = [{trial.number: trial.cell for trial in study.trials} for study in pair]
        if any(tried[0][trial] != tried[1][trial] for trial in tried[0].keys() & tried[1].keys()):
            raise _disagreement(stores, f"study {name}, {larger.method} on {larger.task}, tried other settings")
        if len({study.winner for study in pair} - {None}) == 2:
            raise _disagreement(stores, f"study {name}, {larger.method} on {larger.task}, has other winners")
        changes = {
            "confirm": list(dict.fromkeys([*pair[0].confirm, *pair[1].confirm])),
            "grid": list(dict.fromkeys([*pair[0].grid, *pair[1].grid])),
            "extended_from": pair[0].extended_from or pair[1].extended_from,
        }
        studies[name] = larger.model_copy(update=changes)
    return list(studies.values())


def _note_merge(made: Store) -> None:
    """Add a line to the journal, if there is one, that follows both chains, and names the records of neither."""
    journal = made.journal()
    named = {line.cell for line in journal.of("finished")}.union(*(line.found for line in journal.lines.values()))
    found = {cell: file_digest(made.folder(cell) / "record.json") for cell in made.ids() if cell not in named}
    if journal.lines:
        made.note("merged", found=found)
