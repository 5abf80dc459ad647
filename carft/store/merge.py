"""Merging of two results folders into one. Conflicting cells and studies are reported. No torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from carft import NUMERICS
from carft.core.errors import UserError
from carft.core.files import file_digest, files_below, new_folder
from carft.store.failures import failures, put_failure
from carft.store.journal import FOLDER as JOURNAL
from carft.store.journal import as_line
from carft.store.records import Store
from carft.store.shared_predictions import FOLDER as SHARED
from carft.store.stored_catalog import copy_catalog, merge_suites
from carft.store.study import Extension, StudyFile

Keep = Literal["first", "second"]


@dataclass(frozen=True)
class Conflict:
    """A cell or study that differs between the two folders."""

    what: Literal["cell", "study"]
    """What differs."""
    name: str
    """Id of the cell or study."""
    where: str
    """Name of the set, or method and task of the study."""
    words: str
    """The difference in one sentence."""


@dataclass
class Merged:
    """The outcome of a merge."""

    sources: dict[str, int] = field(default_factory=dict)
    """Cell -> index of the folder that it is taken from, 0 or 1."""
    shared: int = 0
    """Number of cells that both folders have."""
    conflicts: list[Conflict] = field(default_factory=list)
    """Every difference between the folders."""
    corrupt: dict[str, str] = field(default_factory=dict)
    """Cell -> why it is left out."""
    written: bool = False
    """Whether the new folder was written."""


def merge(first: Store, second: Store, target: Path, keep: Keep | None = None) -> Merged:
    """Write a new folder with the cells of both folders.

    Evaluations and weights of a shared cell that only one folder has are added if the two records agree.

    Args:
        first: The first folder.
        second: The second folder.
        target: The folder to write.
        keep: Whose version of a conflicting cell or study is taken. By default nothing is written on a conflict.
    """
    stores = (first, second)
    for store in stores:
        if (store.root / SHARED).is_dir():
            raise UserError(
                f"'{store.name}' comes from a compact archive, which cannot be merged.", "Merge the originals."
            )
    merged = Merged()
    agreeing = _fill_merged(stores, merged, 1 if keep == "second" else 0)
    studies = _studies(stores, merged, 1 if keep == "second" else 0)
    if merged.conflicts and keep is None:
        return merged
    with new_folder(target) as folder:
        for cell, source in merged.sources.items():
            _copy_cell(stores[source], cell, folder)
            if cell in agreeing:
                _copy_cell(stores[1 - source], cell, folder)
        made = Store(folder)
        for store in stores[::-1]:
            copy_catalog(store, made)
        merge_suites(stores, made)
        _write_studies(made, studies, merged.sources)
        _write_failures(made, stores)
        _write_log(made, stores)
        _write_journal(made, stores)
        (folder / "cells").mkdir(exist_ok=True)
    merged.written = True
    return merged


def _fill_merged(stores: tuple[Store, Store], merged: Merged, kept: int) -> set[str]:
    """Fill in sources, conflicts and corrupt cells of ``merged``; returns the shared cells that agree."""
    numerics = [_readable(store, merged) for store in stores]
    agreeing = set()
    for cell in sorted({*numerics[0], *numerics[1]}):
        merged.corrupt.pop(cell, None)
        owners = [k for k in (0, 1) if cell in numerics[k]]
        current = [k for k in owners if numerics[k][cell] == NUMERICS]
        if len(owners) == 1 or len(current) == 1:  # current NUMERICS take precedence
            merged.sources[cell] = (current or owners)[0]
            continue
        merged.shared += 1
        merged.sources[cell] = kept
        conflicts = list(_differences(stores, cell))
        merged.conflicts += conflicts
        if not conflicts:
            agreeing.add(cell)
    return agreeing


def _readable(store: Store, merged: Merged) -> dict[str, int]:
    """Cell -> NUMERICS of every valid record. Corrupt records are added to ``merged``."""
    numerics = {}
    for cell in store.ids():
        try:
            numerics[cell] = store.read(cell).numerics
        except UserError as refusal:
            merged.corrupt[cell] = refusal.message
    return numerics


def _differences(stores: tuple[Store, Store], cell: str) -> Iterator[Conflict]:
    """Every set on which two records of a cell disagree, in metrics or in predictions."""
    first, second = (
        {"val": s.read(cell).metrics, **{name: evaluation.metrics for name, evaluation in s.evaluations(cell).items()}}
        for s in stores
    )
    for name in sorted(set(first) & set(second)):
        if moved := _most_moved(first[name], second[name]):
            yield Conflict("cell", cell, name, moved)
        elif not _same_predictions(stores, cell, name):
            yield Conflict("cell", cell, name, "the same metrics from other predictions")


def _most_moved(first: Mapping[str, float], second: Mapping[str, float]) -> str:
    """The metric that differs most, in one sentence; empty when none does."""
    if set(first) != set(second):
        return f"only one of them has {', '.join(sorted(set(first) ^ set(second)))}"
    moved = {name: abs(first[name] - second[name]) for name in first if first[name] != second[name]}
    if not moved:
        return ""
    name = max(sorted(moved), key=lambda metric: moved[metric])
    return f"{name} is {first[name]:.6g} in the first and {second[name]:.6g} in the second"


def _same_predictions(stores: tuple[Store, Store], cell: str, name: str) -> bool:
    first, second = (store.prediction_table(cell, name) for store in stores)  # equal ones can differ in their bytes
    return first.equals(second)


def _copy_cell(store: Store, cell: str, folder: Path) -> None:
    """Copy the files of a cell that are not there yet, the record last."""
    names = files_below(store.root, (f"cells/{cell}",))
    for name in sorted(names, key=lambda name: name.endswith("/record.json")):
        if not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(store.root / name, folder / name)


def _studies(stores: tuple[Store, Store], merged: Merged, kept: int) -> dict[str, StudyFile]:
    """Study id -> study: of two versions the larger one, with the confirm cells of both.

    It is marked as extended if the other one has another winner that was tested.
    """
    by_id = [{study.id: study for study in store.studies()} for store in stores]
    studies = {**by_id[1], **by_id[0]}
    for name in set(by_id[0]) & set(by_id[1]):
        pair = (by_id[0][name], by_id[1][name])
        if words := _disagreement(*pair):
            where = f"{pair[0].method} on {pair[0].task}"
            merged.conflicts.append(Conflict("study", name, where, words))
            seen = pair[kept].extended_from or _seen_before(pair[1 - kept], pair[kept], stores)
            studies[name] = pair[kept].model_copy(update={"extended_from": seen})
            continue
        larger, smaller = sorted(
            pair, key=lambda s: (len(s.trials), s.winner is not None, len(s.confirm)), reverse=True
        )
        confirm = dict.fromkeys(c for s in pair if s.winner == larger.winner for c in s.confirm)
        seen = larger.extended_from or _seen_before(smaller, larger, stores)
        changes = {"confirm": list(confirm), "grid": [*dict.fromkeys(c for s in pair for c in s.grid)]}
        studies[name] = larger.model_copy(update={**changes, "extended_from": seen})
    return studies


def _seen_before(other: StudyFile, taken: StudyFile, stores: tuple[Store, Store]) -> Extension | None:
    """The size of the state of a study that is not taken, where another winner of it was tested; else None."""
    tested = any(store.is_unsealed(cell) for store in stores for cell in other.confirm)
    if other.extended_from is not None or not tested or other.winner == taken.winner:
        return other.extended_from
    return Extension(trials=len(other.trials), confirm=len(other.confirm))


def _disagreement(first: StudyFile, second: StudyFile) -> str:
    """Why two versions of a study are not two states of one search; empty when they are."""
    tried = [{trial.number: trial.cell for trial in study.trials} for study in (first, second)]
    for trial in sorted(set(tried[0]) & set(tried[1])):
        if tried[0][trial] != tried[1][trial]:
            return f"trial {trial} is cell {tried[0][trial]} in the first and {tried[1][trial]} in the second"
    winners = (first.winner, second.winner)
    if None not in winners and winners[0] != winners[1] and len(tried[0]) == len(tried[1]):
        return f"the winner is {winners[0]} in the first and {winners[1]} in the second"
    return ""


def _write_studies(made: Store, studies: Mapping[str, StudyFile], cells: Mapping[str, int]) -> None:
    for name, study in studies.items():
        ended = {t.cell for t in study.trials if t.cell in cells and t.status != "stopped"}
        trials = [t.model_copy(update={"status": "done"}) if t.cell in ended else t for t in study.trials]
        made.write_study(name, study.model_copy(update={"trials": trials}))


def _write_failures(made: Store, stores: tuple[Store, Store]) -> None:
    """Write the failures of cells that neither folder has done; of two failures the later one."""
    by_key = [{f.key: f for f in failures(store)} for store in stores]
    for key in {*by_key[0], *by_key[1]}:
        said = [f[key] for f in by_key if key in f]
        done_elsewhere = len(said) == 1 and made.is_done(said[0].cell) and said[0].job in ("", "search")
        if not done_elsewhere:
            put_failure(made, max(said, key=lambda failure: failure.when))


def _write_log(made: Store, stores: tuple[Store, Store]) -> None:
    lines = {as_line(access): access.when for store in stores for access in store.logged_unsealings()}
    if lines:
        text = "".join(sorted(lines, key=lambda line: (lines[line], line)))
        (made.root / "unsealed.jsonl").write_text(text, encoding="utf-8")


def _write_journal(made: Store, stores: tuple[Store, Store]) -> None:
    """Keep the chains of both folders; one line follows all of them, and names the records of neither."""
    for store in stores:
        for path in sorted((store.root / JOURNAL).glob("*.jsonl")):
            (made.root / JOURNAL).mkdir(exist_ok=True)
            shutil.copy2(path, made.root / JOURNAL / path.name)
    journal = made.journal()
    named = {line.cell for line in journal.of("finished")}.union(*(line.found for line in journal.lines.values()))
    found = {cell: file_digest(made.folder(cell) / "record.json") for cell in made.ids() if cell not in named}
    if journal.lines:
        made.note("merged", found=found)
