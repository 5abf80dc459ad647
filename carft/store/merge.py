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


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge: the cells that were copied."""

    first: set[str]
    second: set[str]

    @property
    def shared(self) -> set[str]:
        """Cells that both folders had."""
        return self.first & self.second


def merge(first: Store, second: Store, target: Path) -> Merged:
    """Write a new folder with the cells of both folders; of a cell that both have, all files that one of them has.

    Raises ``UserError`` if the folders disagree on a cell or a study, or a record cannot be read; nothing is written
    then.
    """
    stores = (first, second)
    for store in stores:
        if (store.root / SHARED).is_dir():
            words = f"'{store.name}' comes from a compact archive, which cannot be merged."
            raise UserError(words, "Merge the originals.")
    merged = Merged(set(first.ids()), set(second.ids()))
    for cell in sorted(merged.shared):
        _require_same_results(stores, cell)
    for study in second.studies():
        if first.study(study.id) not in (None, study):
            raise _disagreement(stores, f"study {study.id}, {study.method} on {study.task}, is another in the second")
    with new_folder(target) as folder:
        made = Store(folder)
        made.make(folder / "cells")
        for store in stores:
            _copy_files(store, made)
        merge_paths_and_suites(stores, made)
        for failure in [*failures(first), *failures(second)]:
            if not (made.is_done(failure.cell) and failure.job in ("", "search")):
                made.put(f"failures/{failure.cell}.json", failure.content())
    return merged


def _copy_files(source: Store, target: Store) -> None:
    """Copy the files of finished cells, studies, the catalog and the journal that the target lacks."""
    cells = [f"cells/{cell}" for cell in source.ids()]
    for name in files_below(source.root, (*cells, "studies", *CATALOG, JOURNAL)):
        file, copy = source.root / name, target.root / name
        is_new = not copy.exists()
        has_grown = name.startswith(JOURNAL) and not is_new and file.stat().st_size > copy.stat().st_size
        if is_new or has_grown:  # the longer chain begins with the shorter one
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)


def _require_same_results(stores: tuple[Store, Store], cell: str) -> None:
    """Raise ``UserError`` if two records of a cell are of other NUMERICS, or disagree on a set."""
    if stores[0].read(cell).numerics != stores[1].read(cell).numerics:
        raise _disagreement(stores, f"cell {cell} is of another NUMERICS in the second")
    first, second = _metrics_by_set(stores[0], cell), _metrics_by_set(stores[1], cell)
    for name in sorted(first.keys() & second.keys()):
        if first[name] != second[name]:  # among them the loss, which other predictions change
            raise _disagreement(stores, f"cell {cell} has other metrics on {name} in the second")


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
