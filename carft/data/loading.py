"""Data sets on disk become tasks. Only opening images imports torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.commands import typed
from carft.core.errors import UserError
from carft.data.card import Card, DataOptions
from carft.data.checking import attest
from carft.data.family import Family, Sizes, required_root
from carft.data.indexing import Indexed, indexed
from carft.data.sets import DataSet

if TYPE_CHECKING:
    import numpy as np

    from carft.data.task import ImageSet, Sealed, Task


@lru_cache(maxsize=8)
def opened(data_set: DataSet, root: Path, skip_unreadable: bool) -> tuple[Indexed, Mapping[str, str]]:
    """Return a data set from its index and its digests for the record, read once per process.

    skip_unreadable: the index then knows the images that are to be left out.
    """
    found = indexed(data_set, root, decoded=skip_unreadable)
    return found, attest(data_set, root, found).digests()


@dataclass(frozen=True, eq=False)
class DataSetFamily(Family):
    """Tasks that are made of splits of data sets on disk.

    A task is trained on the first data set of its card: on the split ``train`` or, of a set of domains, on those that
    are no suite. A suite is another data set, which has a split ``test``, or a domain of the first.
    """

    def training_splits(self, card: Card) -> Sequence[str]:
        """Return the splits of the first data set that a task is trained on."""
        splits = self.data_sets[card.data_sets[0]].counts
        return ("train",) if "train" in splits else [domain for domain in splits if domain not in card.suites]

    def held_out_splits(self, card: Card) -> Mapping[str, tuple[str, str]]:
        """Return held-out set -> (data set, split)."""
        first, *others = card.data_sets
        suites = {f"ood/{suite}": (suite, "test") if suite in others else (first, suite) for suite in card.suites}
        return {**({"test": (first, "test")} if card.has_test else {}), **suites}

    def require_present(self, card: Card, options: DataOptions) -> None:
        self.data_sets[card.data_sets[0]].require_present(required_root(card, options))

    def require_sealed(self, card: Card, options: DataOptions) -> None:
        for name in card.data_sets:
            self.data_sets[name].require_present(required_root(card, options))

    def open_task(self, card: Card, options: DataOptions, holdout: str = "stable") -> Task:
        return _open_task(self, card, required_root(card, options), options.skip_unreadable, holdout)

    def open_sealed(self, card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
        """target_split: all of a held-out split, or one side of DomainBed's own split of it, ``in`` or ``out``."""
        from carft.data.task import Sealed

        sets, root = {}, required_root(card, options)
        for held_out, (name, split) in self.held_out_splits(card).items():
            data_set = self.data_sets[name]
            found, _ = opened(data_set, root, options.skip_unreadable)
            chosen = found.splits[split]
            if target_split != "all":
                chosen = data_set.divided(found.splits, split, "domainbed")[("in", "out").index(target_split)]
            sets[held_out] = data_set.images({split: chosen.without(found.unreadable)})
        test = sets.pop("test", None)
        return Sealed(test, {name.removeprefix("ood/"): images for name, images in sets.items()})

    def count(self, card: Card, options: DataOptions) -> Sizes:
        data_set = self.data_sets[card.data_sets[0]]
        train = sum(data_set.counts[split] for split in self.training_splits(card))
        sealed = sum(self.data_sets[name].counts[split] for name, split in self.held_out_splits(card).values())
        if "val" in data_set.counts:
            return Sizes(train, data_set.counts["val"], sealed)
        val = round(train * data_set.validation)
        return Sizes(train - val, val, sealed)

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        if root is None:
            raise UserError(f"Where the images of {card.name} lie was not said.", "Give --data ROOT.")
        data_set, split = self.held_out_splits(card)[held_out]
        return self.data_sets[data_set].picture(root, split, name)


@lru_cache(maxsize=4)
def _open_task(family: DataSetFamily, card: Card, root: Path, skip_unreadable: bool, holdout: str) -> Task:
    """Open training and validation images, once per process.

    Suites that exist and are complete are opened, so that the record says which: an incomplete ObjectNet has gone
    unnoticed in a published table.
    """
    from carft.data.task import Task

    first, *suites = card.data_sets
    data_set = family.data_sets[first]
    found, digests = opened(data_set, root, skip_unreadable)
    parts = {split: data_set.divided(found.splits, split, holdout) for split in family.training_splits(card)}
    train, val = (
        data_set.images({split: sides[side].without(found.unreadable) for split, sides in parts.items()})
        for side in (0, 1)
    )
    of_sets = {first: digests}
    for name in suites:
        with suppress(UserError):
            of_sets[name] = opened(family.data_sets[name], root, skip_unreadable)[1]
    return Task(card.name, require_every_class(train, card), val, combined_digests(of_sets) if suites else digests)


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
