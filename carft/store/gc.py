"""Garbage collection: half-written files, checkpoints of finished cells and weights that nothing reads again.

Records, predictions, studies and failures are never removed.
"""

import time
from pathlib import Path
from typing import NamedTuple

from carft.config.registry import SoupRule
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
    found = []
    for folder in store.root.glob("cells/*"):
        if not (folder / "record.json").is_file():
            found.append((folder, "no record: its writer was killed; the cell runs again in any case"))
    unfinished = [folder for folder, _ in found]
    for path in (*store.root.rglob("*.part"), *store.root.glob(".probe-*")):
        if path.parent not in unfinished:  # an unfinished cell's folder goes as a whole
            found.append((path, "half-written; its writer has ended"))
    found = [(path, why) for path, why in found if _is_abandoned(path)]
    for path in store.root.glob("checkpoints/*.safetensors"):
        if store.is_done(path.stem):
            found.append((path, "the checkpoint of a finished cell"))
    listed = [Leftover(path, _size(path), why) for path, why in found]
    used_up = _cells_of_made_soups(store)
    for name, size in store.kept_weights().items():
        path = store.root / name
        if name.startswith("superseded/"):
            listed.append(Leftover(path, size, "weights of an older NUMERICS"))
        elif path.parent.name in used_up:
            listed.append(Leftover(path, size, "search weights whose soups are made; trained again if needed"))
    return sorted(listed)


def remove(store: Store, listed: list[Leftover]) -> None:
    """Remove leftovers. A cell's folder is kept when the cell has finished since it was listed."""
    for leftover in listed:
        name = leftover.path.relative_to(store.root).as_posix()
        if leftover.path.parent == store.root / "cells":
            store.refresh(name)
        if not (leftover.path / "record.json").is_file():
            store.remove(name)


def _cells_of_made_soups(store: Store) -> set[str]:
    """Search cells whose soups by every rule are finished, and which confirm nothing."""
    rules: dict[tuple[str, ...], set[float]] = {}  # members of a soup -> rules
    for record in store.records():
        if record.cell.method == "soup":
            rules.setdefault(record.cell.parents, set()).add(record.cell.hyperparameters["greedy"])
    used_up = set[str]()
    for parents, used in rules.items():
        if used >= {rule.value for rule in SoupRule}:
            used_up.update(parents)
    for study in store.studies():
        used_up.difference_update(study.confirm)
    return used_up


def _is_abandoned(path: Path) -> bool:
    newest = max(file.lstat().st_mtime for file in [path, *path.rglob("*")])
    return time.time() - newest > ABANDONED


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in [path, *path.rglob("*")] if not file.is_dir())
