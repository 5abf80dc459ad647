"""From a data set on disk to image sets: the loader of the nine downstream tasks."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from carft.core.errors import UserError
from carft.data.card import Card, Where
from carft.data.checking import Attestation, attest, unreadable_of
from carft.data.downstream.cards import DATA_SETS
from carft.data.files import Files
from carft.data.sets import DataSet, Index
from carft.data.splitting import carved
from carft.data.task import ImageSet, Sealed, Task


def require_present(card: Card, where: Where) -> None:
    """``UserError`` unless the files and folders that the set cannot do without are there."""
    DATA_SETS[card.name].require_present(_root(where))


def open_task(card: Card, where: Where) -> Task:
    """Training and validation images. Where the set has no validation split, one is held out of training."""
    opened = _opened(card.name, _root(where), where.skip_unreadable)
    return Task(card.name, opened.images("train"), opened.images("val"), opened.digests)


def open_sealed(card: Card, where: Where) -> Sealed:
    """The test set; these tasks have no suites."""
    return Sealed(_opened(card.name, _root(where), where.skip_unreadable).images("test"), {})


def _root(where: Where) -> Path:
    if where.root is None:
        raise UserError("No data folder was named.", "Give --data ROOT.")
    return where.root


class _Opened:
    """An index with its validation split, without the images that are left out, and what it says for the record."""

    def __init__(self, data_set: DataSet, root: Path, skip_unreadable: bool) -> None:
        self.data_set, self.root = data_set, root
        splits = data_set.index(root)
        broken = unreadable_of(data_set, splits) if skip_unreadable else {}
        self.digests = digests(attest(data_set, root, splits, broken))
        if "val" not in splits:
            train, val = carved(splits["train"], root / data_set.place)
            splits = {**splits, "train": train, "val": val}
        self.splits = {split: _without(index, broken) for split, index in splits.items()}
        empty = set(range(len(data_set.classes))) - set(self.splits["train"].labels)
        if empty:
            raise UserError(
                f"{data_set.name} has no training image of the class '{data_set.classes[min(empty)]}' in '{root}'.",
                f"Look closer with: python cli.py data check {data_set.name} --data {root}",
            )

    def images(self, split: str) -> ImageSet:
        """The images of a split."""
        index = self.splits[split]
        packed = self.data_set.packed
        return ImageSet(
            images=self.data_set.pixels(self.root, index) if packed else Files(index.paths),
            labels=torch.tensor(index.labels, dtype=torch.int64),
            contexts=torch.full((len(index),), -1, dtype=torch.int64),
            names=tuple(path.relative_to(self.root / self.data_set.place).as_posix() for path in index.paths),
            groups=index.groups,
        )


@lru_cache(maxsize=4)
def _opened(name: str, root: Path, skip_unreadable: bool) -> _Opened:
    return _Opened(DATA_SETS[name], root, skip_unreadable)


def digests(found: Attestation) -> dict[str, str]:
    """What an attestation says for the record, with how many images were left out, and which."""
    if not found.unreadable:
        return found.digests()
    return {**found.digests(), "left out": f"{len(found.unreadable)}: {', '.join(sorted(found.unreadable))}"}


def _without(index: Index, broken: dict[Path, str]) -> Index:
    return index.rows([i for i, path in enumerate(index.paths) if path not in broken]) if broken else index
