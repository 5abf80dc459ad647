"""A data root as the options of opening a task, and results folders that keep named tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from carft.catalog.catalog import BUILT_IN, Catalog
from carft.core.array_cache import ArrayCache
from carft.data.folder.images import SPLITS, split_of
from carft.data.folder.named import NamedTask, TaskEntry
from carft.data.sets import picture
from carft.store.records import Store
from carft.store.stored_catalog import adopt_catalog


@dataclass(frozen=True)
class Folder:
    """A data root with default options."""

    root: Path | None = None
    cache: ArrayCache | None = None


def draw_pets(root: Path) -> Path:
    """Draw the tree ``pets`` below a folder, three domains with the same drawings; its path.

    The stems are chosen so that every class has six images for training and three each for validation and test.
    """
    for label, kind in enumerate(("cat", "dog", "guinea_pig")):
        by_split: dict[str, list[str]] = {split: [] for split in SPLITS}
        for stem in (f"{kind}-{number:03d}" for number in range(1000)):
            by_split[split_of(stem)].append(stem)
        stems = sorted(by_split["train"][:6] + by_split["val"][:3] + by_split["test"][:3])
        for domain, (name, ending) in enumerate({"photo": "jpg", "scan": "png", "sketch": "webp"}.items()):
            (root / "pets" / name / kind).mkdir(parents=True, exist_ok=True)
            for number, stem in enumerate(stems):
                picture(label, domain, number).save(root / "pets" / name / kind / f"{stem}.{ending}")
    return root / "pets"


def named_task(
    name: str, path: Path, id_domains: Sequence[str] = (), ood_domains: Sequence[str] = (), **facts: Any
) -> NamedTask:
    """The task of an entry of a tasks file."""
    domains = {"id_domains": list(id_domains), "ood_domains": list(ood_domains)}
    return next(TaskEntry(name=name, path=str(path), **domains, **facts).tasks(Path("carft.yaml")))


def write_tasks(folder: Path, *entries: dict[str, object]) -> Path:
    """Write a tasks file with these entries into a folder; its path."""
    path = folder / "carft.yaml"
    path.write_text(yaml.safe_dump({"tasks": list(entries)}), encoding="utf-8")
    return path


def keep_tasks(store: Store, tasks: Sequence[NamedTask]) -> None:
    """Write named tasks into a results folder, as a command that names them does."""
    adopt_catalog(store, BUILT_IN.with_tasks(tasks), [task.name for task in tasks])


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
