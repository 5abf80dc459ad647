"""Data sets on disk become tasks: image sets, and validation images held out by a stable hash.

Only opening images imports torch.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from carft.core.commands import typed
from carft.core.errors import UserError
from carft.data.card import Card, DataOptions
from carft.data.checking import attest
from carft.data.family import Family, Sizes, required_root
from carft.data.indexing import indexed
from carft.data.sets import Column, DataSet, Index, together

if TYPE_CHECKING:
    import numpy as np

    from carft.data.task import ImageSet, Sealed, Task

#: default share of the groups of each class that is held out
SHARE = 0.1


@dataclass(frozen=True, eq=False)
class OpenedSet:
    """A data set as found on disk."""

    data_set: DataSet
    splits: Mapping[str, Index]
    """Split or domain -> all its images."""
    unreadable: frozenset[Path]
    """Images that are left out."""
    digests: Mapping[str, str]
    """Attestation and digest, for the record."""


@lru_cache(maxsize=8)
def opened(data_set: DataSet, root: Path, skip_unreadable: bool) -> OpenedSet:
    """Read the index of a data set; ``skip_unreadable``: one that knows unreadable images. Read once per process."""
    found = indexed(data_set, root, decoded=skip_unreadable)
    digests = attest(data_set, root, found).digests()
    return OpenedSet(data_set, found.splits, frozenset(found.unreadable), digests)


@dataclass(frozen=True, eq=False)
class DataSetFamily(Family):
    """Tasks that are made of splits of data sets on disk.

    A task is trained on the first data set of its card. Here that has the splits ``train``, ``test`` and perhaps
    ``val``; the other data sets are suites with a split ``test`` each. A family with other splits overrides
    :meth:`training_splits` and :meth:`held_out_splits`.
    """

    validation: ClassVar[float] = SHARE
    """Share of the groups of each class that is held out of training images where there is no split ``val``."""

    def training_splits(self, card: Card) -> Sequence[str]:
        """Return the splits of the first data set that a task is trained on."""
        return ("train",)

    def held_out_splits(self, card: Card) -> Mapping[str, tuple[str, str]]:
        """Return held-out set -> (data set, split)."""
        suites = {f"ood/{suite}": (suite, "test") for suite in card.suites}
        return {"test": (card.data_sets[0], "test"), **suites}

    def images(self, found: OpenedSet, split: str, index: Index) -> ImageSet:
        """Return images of a split as an image set. Their names are those of their groups."""
        return image_set(index, index.groups)

    def training_and_validation(self, found: OpenedSet, split: str, holdout: str) -> tuple[Index, Index]:
        """Return training and validation images of a split. holdout: as of a cell."""
        if "val" in found.splits:
            return found.splits[split], found.splits["val"]
        return hold_out(found.splits[split], self.validation)

    def held_out_images(self, found: OpenedSet, split: str, target_split: str) -> Index:
        """Return the images of a held-out split. target_split: as of a cell."""
        return found.splits[split]

    def require_present(self, card: Card, options: DataOptions) -> None:
        self.data_sets[card.data_sets[0]].require_present(required_root(card, options))

    def require_sealed(self, card: Card, options: DataOptions) -> None:
        for name in card.data_sets:
            self.data_sets[name].require_present(required_root(card, options))

    def opened(self, name: str, options: DataOptions) -> OpenedSet:
        """Return a data set of a task whose data root is known."""
        assert options.root is not None
        return opened(self.data_sets[name], options.root, options.skip_unreadable)

    def open_task(self, card: Card, options: DataOptions, holdout: str = "stable") -> Task:
        return _open_task(self, card, required_root(card, options), options.skip_unreadable, holdout)

    def open_sealed(self, card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
        from carft.data.task import Sealed

        sets = {}
        for held_out, (name, split) in self.held_out_splits(card).items():
            found = self.opened(name, options)
            chosen = self.held_out_images(found, split, target_split)
            sets[held_out] = self.images(found, split, chosen.without(found.unreadable))
        test = sets.pop("test", None)
        return Sealed(test, {name.removeprefix("ood/"): images for name, images in sets.items()})

    def count(self, card: Card, options: DataOptions) -> Sizes:
        counts = self.data_sets[card.data_sets[0]].counts
        train = sum(counts[split] for split in self.training_splits(card))
        sealed = sum(self.data_sets[name].counts[split] for name, split in self.held_out_splits(card).values())
        if "val" in counts:
            return Sizes(train, counts["val"], sealed)
        val = round(train * self.validation)
        return Sizes(train - val, val, sealed)


@lru_cache(maxsize=4)
def _open_task(family: DataSetFamily, card: Card, root: Path, skip_unreadable: bool, holdout: str) -> Task:
    """Open training and validation images, once per process.

    Suites that exist and are complete are opened, so that the record says which: an incomplete ObjectNet has gone
    unnoticed in a published table.
    """
    from carft.data.task import Task

    first, *suites = card.data_sets
    found = opened(family.data_sets[first], root, skip_unreadable)
    parts = {split: family.training_and_validation(found, split, holdout) for split in family.training_splits(card)}
    train, val = (
        joined([family.images(found, split, sides[side].without(found.unreadable)) for split, sides in parts.items()])
        for side in (0, 1)
    )
    of_sets = {first: found.digests}
    for name in suites:
        with suppress(UserError):
            of_sets[name] = opened(family.data_sets[name], root, skip_unreadable).digests
    return Task(
        card.name, require_every_class(train, card), val, combined_digests(of_sets) if suites else found.digests
    )


def combined_digests(of_sets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Combine the digests of data sets: ``attested`` is the weakest of theirs, with the names of the sets."""
    states = {name: digests["attested"] for name, digests in of_sets.items()}
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, state in states.items():
        if state.startswith("no: "):
            reasons[state.removeprefix("no: ")].append(name)
    attested = "unknown" if "unknown" in states.values() else "yes"
    if reasons:
        attested = "no: " + " ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())
    combined = {"attested": attested, **{name: digests[name] for name, digests in of_sets.items()}}
    if left_out := [f"{name}: {digests['left out']}" for name, digests in of_sets.items() if "left out" in digests]:
        combined["left out"] = "; ".join(left_out)
    return combined


# images


def image_set(
    index: Index,
    names: Sequence[str],
    context: int = -1,
    border: int = 0,
    pixels: np.ndarray | None = None,
) -> ImageSet:
    """Return the images of an index, all of one context.

    names: one per image. border: see :class:`carft.data.files.Files`. pixels: the images of a packed set; by default
    they are read from the paths of the index.
    """
    import torch

    from carft.data.files import Files
    from carft.data.task import ImageSet

    return ImageSet(
        images=Files(index.paths, border) if pixels is None else torch.from_numpy(pixels),
        labels=torch.tensor(index.labels, dtype=torch.int64),
        contexts=torch.full((len(index),), context, dtype=torch.int64),
        names=names if isinstance(names, Column) else tuple(names),
        groups=index.groups,
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
    """Concatenate image sets that are scored over the same classes; several must be of files."""
    import torch

    from carft.data.files import Files

    first, *others = parts
    if not others:
        return first
    return replace(
        first,
        images=Files(together([part.images.paths for part in parts]), first.images.border),  # type: ignore[union-attr]
        labels=torch.cat([part.labels for part in parts]),
        contexts=torch.cat([part.contexts for part in parts]),
        names=together([part.names for part in parts]),
        groups=together([part.groups for part in parts]),
    )


# validation images


def hold_out(index: Index, share: float = SHARE) -> tuple[Index, Index]:
    """Return (train, val). ``val`` gets the ``share`` of groups of each class with the lowest sha256 of their name.

    At least one group of a class is held out. All images of a group are on one side, across classes too. The choice
    depends on names only. Raises ``UserError`` if a class has no image left for training.
    """
    classes: dict[int, set[str]] = defaultdict(set)
    for label, group in zip(index.labels, index.groups, strict=True):
        classes[label].add(group)
    held_out: set[str] = set()
    for groups in classes.values():
        count = max(1, round(share * len(groups)))
        held_out |= set(sorted(groups, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:count])
    train = index.rows([i for i, group in enumerate(index.groups) if group not in held_out])
    val = index.rows([i for i, group in enumerate(index.groups) if group in held_out])
    if emptied := sorted(set(val.labels) - set(train.labels)):
        raise UserError(
            "No validation image can be held out of the class of "
            f"'{val.paths[val.labels.index(emptied[0])]}': none would be left to train on.",
            "Every class needs at least two training images that are not of one group.",
        )
    return train, val
