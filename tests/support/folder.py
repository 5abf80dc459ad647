"""A data root as the options of opening a task, and results folders that keep named tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from carft.config.catalog import BUILT_IN, Catalog
from carft.core.array_cache import ArrayCache
from carft.data.folder.named import NamedTask
from carft.data.folder.reading import OwnFiles
from carft.store.records import Store
from carft.store.stored_catalog import keep_catalog


@dataclass(frozen=True)
class Folder:
    """A data root with default options."""

    root: Path | None = None
    skip_unreadable: bool = False
    cache: ArrayCache | None = None


def draw_pets(root: Path) -> Path:
    """Draw the example tree of one's own data as ``pets`` below a folder; its path."""
    OwnFiles("pets", "pets", "", (), {}, "", "").fixture(root)
    return root / "pets"


def keep_tasks(store: Store, tasks: Sequence[NamedTask]) -> None:
    """Write named tasks into a results folder, as a command that names them does."""
    keep_catalog(store, BUILT_IN.with_tasks(tasks), [task.name for task in tasks])


def compared_pictures(task: str, root: Path | None, catalog: Catalog = BUILT_IN) -> int:
    """Compare the first and last picture of every held-out set with the image of that name; how many there were."""
    count = 0
    for name, images in catalog.unseal(task, Folder(root)).sets().items():
        for row in (0, len(images) - 1):
            opened: torch.Tensor = images.images[row]
            found = catalog.family(task).picture(catalog.card(task), name, images.names[row], root)
            assert np.array_equal(found, opened.permute(1, 2, 0).numpy()), (task, name, images.names[row])
            count += 1
    return count
