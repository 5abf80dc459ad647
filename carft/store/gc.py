"""Garbage collection: half-written files, checkpoints of finished cells and weights that nothing reads again.

Records, predictions, studies and failures are never removed.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from carft.config.registry import SoupRule
from carft.store.record_files import Record
from carft.store.records import Store

#: seconds without a change after which an unfinished file counts as abandoned by its writer
ABANDONED = 3600.0


class Leftover(NamedTuple):
    """A file or folder that can be removed."""

    path: Path
    size: int
    """Size in bytes, that of all files below a folder."""
    why: str
    """Why nothing needs it."""


def leftovers(store: Store) -> list[Leftover]:
    """What can be removed, by path. Unfinished files younger than :data:`ABANDONED` seconds are kept."""
    records = list(store.records())
    finished = {record.id for record in records}
    return sorted([*_unneeded_files(store, finished), *_unneeded_weights(store, records)])


def remove(store: Store, listed: list[Leftover]) -> None:
    """Remove leftovers. A cell's folder is kept when the cell has finished since it was listed."""
    for leftover in listed:
        name = leftover.path.relative_to(store.root).as_posix()
        if leftover.path.parent == store.root / "cells":
            store.refresh(name)
        if not (leftover.path / "record.json").is_file():
            store.remove(name)


def _unneeded_files(store: Store, finished: set[str]) -> Iterator[Leftover]:
    """Half-written files, unfinished cells, and checkpoints and logs of finished cells."""
    unfinished = []
    for folder in store.root.glob("cells/*"):
        if not (folder / "record.json").is_file():
            unfinished.append(folder)
    for path in [*store.root.rglob("*.part"), *store.root.glob(".probe-*")]:
        if _is_abandoned(path) and path.parent not in unfinished:  # an unfinished cell's folder goes as a whole
            yield Leftover(path, path.lstat().st_size, "half-written; its writer has ended")
    for folder in unfinished:
        inner = list(folder.rglob("*"))
        if all(map(_is_abandoned, [folder, *inner])):
            size = sum(path.lstat().st_size for path in inner if not path.is_dir())
            yield Leftover(folder, size, "no record: its writer was killed; the cell runs again in any case")
    for path in store.root.glob("checkpoints/*.safetensors"):
        if path.stem in finished:
            yield Leftover(path, path.lstat().st_size, "the checkpoint of a finished cell")
    failed = set(store.failed())
    for path in store.root.glob("logs/*.log"):
        cell = path.stem.rpartition("-")[2]
        if cell in finished - failed and _is_abandoned(path):
            yield Leftover(path, path.lstat().st_size, "the log of a finished cell")


def _unneeded_weights(store: Store, records: list[Record]) -> Iterator[Leftover]:
    """Weights of search cells whose soups by every rule are finished, and of superseded cells."""
    rules: dict[tuple[str, ...], set[float]] = {}  # members of a soup -> rules
    for record in records:
        if record.cell.method == "soup":
            rules.setdefault(record.cell.parents, set()).add(record.cell.hyperparameters["greedy"])
    every_rule = {rule.value for rule in SoupRule}
    used_up = set[str]()
    for parents, used in rules.items():
        if used >= every_rule:
            used_up.update(parents)
    for study in store.studies():
        used_up.difference_update(study.confirm)
    for name, size in store.kept_weights().items():
        path = store.root / name
        if path.is_relative_to(store.root / "superseded"):
            yield Leftover(path, size, "weights of an older NUMERICS")
        elif path.parent.name in used_up:
            yield Leftover(path, size, "search weights whose soups are made; trained again if needed")


def _is_abandoned(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime > ABANDONED
