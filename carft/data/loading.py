"""What the loaders of all families share: data sets on disk become image sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from carft.core.commands import typed
from carft.core.errors import UserError
from carft.data.card import Card, DataOptions
from carft.data.checking import attest
from carft.data.columns import Column, together
from carft.data.files import Files
from carft.data.folder.naming import is_folder
from carft.data.indexing import indexed
from carft.data.sets import DataSet, Index
from carft.data.task import ImageSet


def data_root(options: DataOptions) -> Path:
    """Return the data root. Raises ``UserError`` if none is given."""
    if options.root is None:
        raise UserError("No data folder was named.", "Give --data ROOT.")
    return options.root


@dataclass(frozen=True)
class OpenedSet:
    """A data set as found on disk."""

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


@lru_cache(maxsize=8)
def opened(data_set: DataSet, root: Path, skip_unreadable: bool) -> OpenedSet:
    """Read the index of a data set; ``skip_unreadable``: one that knows unreadable images. Read once per process."""
    found = indexed(data_set, root, decoded=skip_unreadable)
    return OpenedSet(found.splits, frozenset(found.unreadable), attest(data_set, root, found).digests())


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
        what = "folder:PATH" if card.scale == "own" and not is_folder(card.name) else card.name
        raise UserError(
            f"{card.name} has no image to train on of the class '{missing[0]}'.",
            f"Find out why with: {typed('data', 'check', what, '--data', 'ROOT')}",
        )
    return images


def joined(parts: Sequence[ImageSet]) -> ImageSet:
    """Concatenate image sets of files that are scored over the same classes."""
    first = parts[0]
    return replace(
        first,
        images=Files(together([part.images.paths for part in parts]), first.images.border),  # type: ignore[union-attr]
        labels=torch.cat([part.labels for part in parts]),
        contexts=torch.cat([part.contexts for part in parts]),
        names=together([part.names for part in parts]),
        groups=together([part.groups for part in parts]),
    )
