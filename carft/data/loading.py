"""What all families share: data sets on disk become image sets, and validation sets are held out of training images.

Only opening images imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.commands import typed
from carft.core.errors import UserError
from carft.core.files import write_atomic
from carft.data.card import Card, DataOptions
from carft.data.checking import attest
from carft.data.columns import Column, together
from carft.data.family import Family, required_root
from carft.data.indexing import indexed
from carft.data.sets import DataSet, Index

if TYPE_CHECKING:
    import torch

    from carft.data.task import ImageSet


#: lists the held-out training images, in the folder of the data set
RECORD = "carft-validation.json"
#: default share of the groups of each class
SHARE = 0.1
RULE = "of each class, the share of groups with the lowest sha256 of their name"


@dataclass(frozen=True, eq=False)
class OpenedSet:
    """A data set as found on disk."""

    base: Path
    """Its folder."""
    splits: Mapping[str, Index]
    """Split or domain -> all its images."""
    unreadable: frozenset[Path]
    """Images that are left out."""
    digests: Mapping[str, str]
    """Attestation and digest, for the record."""

    def readable(self, index: Index) -> Index:
        """Return the images of an index that are not left out."""
        if not self.unreadable:
            return index
        return index.rows([i for i, path in enumerate(index.paths) if path not in self.unreadable])

    def hold_out(self, split: str, share: float, folder: str = "") -> tuple[Index, Index]:
        """Return training and validation images of a split; see :func:`hold_out`.

        folder: of the split, in that of the set; the choice is stored there. Done once per process.
        """
        return _hold_out(self, split, share, folder)


@lru_cache(maxsize=32)
def _hold_out(found: OpenedSet, split: str, share: float, folder: str) -> tuple[Index, Index]:
    return hold_out(found.splits[split], found.base / folder, share)


def hold_out(index: Index, folder: Path, share: float = SHARE) -> tuple[Index, Index]:
    """Return (train, val). ``val`` gets the ``share`` of groups of each class with the lowest sha256 of their name.

    At least one group of a class is held out. All images of a group are on one side, across classes too. The choice
    depends on names only. It is stored as ``carft-validation.json`` in ``folder`` if that can be written. Raises
    ``UserError`` if the stored choice differs, or if a class has no image left for training.
    """
    held_out = _held_out(index, share)
    rows = [i for i, group in enumerate(index.groups) if group in held_out]
    rest = [i for i, group in enumerate(index.groups) if group not in held_out]
    train, val = index.rows(rest), index.rows(rows)
    emptied = sorted(set(val.labels) - set(train.labels))
    if emptied:
        raise UserError(
            f"No validation set can be held out of the training images in '{folder}': label {emptied[0]} would be "
            "left without an image to train on.",
            "Every class needs at least two training images that are not of one group.",
        )
    _record(index, val, folder, share)
    return train, val


def _held_out(index: Index, share: float) -> set[str]:
    classes: dict[int, set[str]] = defaultdict(set)
    for label, group in zip(index.labels, index.groups, strict=True):
        classes[label].add(group)
    held_out: set[str] = set()
    for groups in classes.values():
        count = max(1, round(share * len(groups)))
        held_out |= set(sorted(groups, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:count])
    return held_out


def _record(index: Index, val: Index, folder: Path, share: float) -> None:
    """Store which images are held out, or compare them with what is stored."""
    path = folder / RECORD
    names = sorted(image.relative_to(folder).as_posix() for image in val.paths)
    listing = {
        "rule": RULE,
        "share": share,
        "images": len(index),
        "digest": hashlib.sha256("\n".join(names).encode()).hexdigest(),
        "validation": names,
    }
    if not path.is_file():
        with suppress(OSError):  # read-only; the rule gives the same choice every time
            write_atomic(path, lambda part: part.write_text(json.dumps(listing, indent=0), encoding="utf-8"))
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        stored = None
    if stored != listing:
        raise UserError(
            f"The validation set on record in '{path}' is not the one that the training images give.",
            "Images were added, removed or renamed, or the file was edited. Restore the data; or delete the file to "
            "hold out again: earlier results are then no longer comparable.",
        )


@lru_cache(maxsize=8)
def opened(data_set: DataSet, root: Path, skip_unreadable: bool) -> OpenedSet:
    """Read the index of a data set; ``skip_unreadable``: one that knows unreadable images. Read once per process."""
    found = indexed(data_set, root, decoded=skip_unreadable)
    digests = attest(data_set, root, found).digests()
    return OpenedSet(root / data_set.folder, found.splits, frozenset(found.unreadable), digests)


@dataclass(frozen=True, eq=False)
class DataSetFamily(Family):
    """Tasks that are made of data sets on disk. The first data set of a card is the one that is trained on."""

    def require_present(self, card: Card, options: DataOptions) -> None:
        self.data_sets[card.data_sets[0]].require_present(required_root(card, options))

    def require_sealed(self, card: Card, options: DataOptions) -> None:
        for name in card.data_sets:
            self.data_sets[name].require_present(required_root(card, options))

    def opened(self, name: str, options: DataOptions) -> OpenedSet:
        """Return a data set of a task whose data root is known."""
        assert options.root is not None
        return opened(self.data_sets[name], options.root, options.skip_unreadable)


def image_set(
    index: Index,
    names: Sequence[str],
    context: int = -1,
    labels: Sequence[int] | None = None,
    subset: tuple[int, ...] | None = None,
    merged: tuple[tuple[int, ...], ...] = (),
    border: int = 0,
    pixels: torch.Tensor | None = None,
) -> ImageSet:
    """Return the images of an index, all of one context.

    names: one per image. labels: the task's label for each label of the index; by default the same. pixels: the images
    of a packed set; by default they are read from the paths of the index. subset, merged, border: see
    :class:`carft.data.task.ImageSet` and :class:`carft.data.files.Files`.
    """
    import torch

    from carft.data.files import Files
    from carft.data.task import ImageSet

    own = index.labels if labels is None else [labels[label] for label in index.labels]
    return ImageSet(
        images=Files(index.paths, border) if pixels is None else pixels,
        labels=torch.tensor(own, dtype=torch.int64),
        contexts=torch.full((len(index),), context, dtype=torch.int64),
        names=names if isinstance(names, Column) else tuple(names),
        groups=index.groups,
        subset=subset,
        merged=merged,
    )


def require_every_class(images: ImageSet, card: Card) -> ImageSet:
    """Return training images unchanged. Raises ``UserError`` if a class has none, for example only unreadable ones."""
    present = set(images.labels.tolist())
    if missing := [name for label, name in enumerate(card.classes) if label not in present]:
        where = ("--tasks-file", "FILE") if card.scale == "own" else ("--data", "ROOT")
        raise UserError(
            f"{card.name} has no image to train on of the class '{missing[0]}'.",
            f"Find out why with: {typed('data', 'check', card.name, *where)}",
        )
    return images


def joined(parts: Sequence[ImageSet]) -> ImageSet:
    """Concatenate image sets of files that are scored over the same classes."""
    import torch

    from carft.data.files import Files

    first = parts[0]
    return replace(
        first,
        images=Files(together([part.images.paths for part in parts]), first.images.border),  # type: ignore[union-attr]
        labels=torch.cat([part.labels for part in parts]),
        contexts=torch.cat([part.contexts for part in parts]),
        names=together([part.names for part in parts]),
        groups=together([part.groups for part in parts]),
    )
