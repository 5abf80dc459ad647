"""Families of tasks: what the rest of the project asks of one folder of this package, or of an installed package.

A family without code of its own is a :class:`Family` of cards; :class:`DataSetFamily` has tasks made of data sets on
disk. Only opening a task imports torch.
"""

from __future__ import annotations

import importlib
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carft.core.errors import PROGRAM, UserError, typed
from carft.data.card import Card, DataOptions
from carft.data.checking import attest
from carft.data.indexing import Indexed, indexed
from carft.data.sets import DataSet, no_image

if TYPE_CHECKING:
    import numpy as np

    from carft.data.task import ImageSet, Sealed, Task

#: how a sweep over tasks that are named begins
SWEEP = typed("sweep", "downstream", "--tasks")


@dataclass(frozen=True)
class Sizes:
    """Numbers of images of a task."""

    train: int
    val: int
    sealed: int
    """Test set and all suites together."""


@dataclass(frozen=True)
class Pool:
    """Tasks that reports average over and decide claims on together."""

    name: str
    """Name of the scope in tables."""
    kind: str
    """What the ledger's claims are asked of: ``several``, ``single``, ``imagenet`` or ``domainbed``."""
    title: str
    """What sentences call it."""
    tasks: tuple[str, ...]
    """The tasks that a claim on the whole pool needs."""
    command: str
    """The sweep that runs them."""
    card: Card = field(compare=False, repr=False)
    """The card of the first task."""
    built_in: bool = False
    """Whether it is one of this package's, whose claims are asked even before a sweep."""

    @property
    def scale(self) -> str:
        """The scale of its tasks."""
        return self.card.scale

    @property
    def recipe(self) -> str:
        """Name of the recipe of its sweep."""
        return self.command.removeprefix(f"{PROGRAM} sweep ").split()[0]


@dataclass(frozen=True, eq=False)
class Family:
    """Tasks that are found, opened, counted and shown in one way.

    The methods of this class call the functions of the module that a card names as its ``loader``. A family without
    such a module overrides them.
    """

    name: str
    """First part of the names of its tasks."""
    cards: Mapping[str, Card]
    """Task -> card, in the order of ``ls tasks``."""
    data_sets: Mapping[str, DataSet] = field(default_factory=dict)
    """Data set -> entry, for the commands of ``data``."""
    built_in_pools: tuple[Pool, ...] = ()
    """How its tasks are pooled in reports; by default all in one pool."""
    order: int = 100
    """Place among the families of this package in ``ls tasks`` and reports, lowest first."""

    def card(self, task: str) -> Card | None:
        """Return the card of a task; None if the family has none of this name."""
        return self.cards.get(task)

    def require_present(self, card: Card, options: DataOptions) -> None:
        """Raise ``UserError`` if the data do not exist. Opens no image."""
        if card.folder:
            required_root(card, options)
        self._function(card, "require_present")(card, options)

    def require_sealed(self, card: Card, options: DataOptions) -> None:
        """Raise ``UserError`` if training data or held-out sets do not exist."""
        self.require_present(card, options)
        self._function(card, "require_sealed", lambda card, options: None)(card, options)

    def open_task(self, card: Card, options: DataOptions, holdout: str = "stable") -> Task:
        """Open training and validation images. holdout: as of a cell."""
        chosen = () if holdout == "stable" else (holdout,)
        return self._function(card, "open_task")(card, options, *chosen)

    def open_sealed(self, card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
        """Open the test set and the suites. target_split: as of a cell."""
        chosen = () if target_split == "all" else (target_split,)
        return self._function(card, "open_sealed")(card, options, *chosen)

    def count(self, card: Card, options: DataOptions) -> Sizes:
        """Return the numbers of images, from ``count(card)`` of the loader or else by opening the data."""
        count = self._function(card, "count", None)
        if count is not None:
            return count(card)
        self.require_sealed(card, options)
        task = self.open_task(card, options)
        sets = self.open_sealed(card, options).sets()
        return Sizes(len(task.train), len(task.val), sum(map(len, sets.values())))

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        """Return an image of a held-out set as (H, W, 3) uint8 RGB, whole and at its own size. No torch.

        held_out: ``test`` or ``ood/<suite>``. name: of the image in predictions. root: data root, if it is known.
        Raises ``UserError`` where the data are not here, changed, or hold no readable image of this name, and where the
        loader has no function ``picture``.
        """
        picture = self._function(card, "picture", None)
        if picture is None:
            raise UserError(f"The loader {card.loader} has no function picture.", "Its pictures are left out.")
        return picture(card, held_out, name, root)

    def pools(self, studied: Iterable[str]) -> tuple[Pool, ...]:
        """Return how the tasks of the family are pooled in reports. studied: the tasks of a results folder."""
        if self.built_in_pools:
            return self.built_in_pools
        names = tuple(self.cards)
        name, kind, title = self.name, "several", f"the {len(names)} tasks of {self.name}"
        if len(names) == 1:
            name, kind, title = names[0], "single", names[0]
        return (Pool(name, kind, title, names, f"{SWEEP} {shlex.quote(name)}", self.cards[names[0]]),)

    def _function(self, card: Card, name: str, *default: Any) -> Callable[..., Any]:
        return getattr(importlib.import_module(card.loader), name, *default)


def pool_of(name: str, kind: str, title: str, cards: Mapping[str, Card], recipe: str) -> Pool:
    """Return the pool of all tasks of a built-in family on data under a root. recipe: of the sweep that runs them."""
    command = typed("sweep", recipe, "--data", "ROOT")
    return Pool(name, kind, title, tuple(cards), command, next(iter(cards.values())), built_in=True)


def required_root(card: Card, options: DataOptions) -> Path:
    """Return the data root. Raises ``UserError`` if none is given."""
    if options.root is None:
        raise UserError(
            f"{card.name} needs data on this machine, and no data folder was named.",
            f"Give --data ROOT, the folder that holds '{card.folder}'. Where to get it: {card.source}",
        )
    return options.root


# tasks of data sets on disk


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
        if "train" in splits:
            return ("train",)
        return [domain for domain in splits if domain not in card.suites]

    def held_out_splits(self, card: Card) -> Mapping[str, tuple[str, str]]:
        """Return held-out set -> (data set, split)."""
        first, *others = card.data_sets
        found = {}
        if card.has_test:
            found["test"] = (first, "test")
        for suite in card.suites:
            found[f"ood/{suite}"] = (suite, "test") if suite in others else (first, suite)
        return found

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

        sets = {}
        root = required_root(card, options)
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
        splits = self.held_out_splits(card)
        if held_out not in splits:  # of a suite that is left out
            raise no_image(card.name, name)
        data_set, split = splits[held_out]
        return self.data_sets[data_set].picture(root, split, name)


@lru_cache(maxsize=4)
def _open_task(family: DataSetFamily, card: Card, root: Path, skip_unreadable: bool, holdout: str) -> Task:
    """Open training and validation images, once per process.

    Suites that are there and complete are opened too, so that the record names them, and the others are left out: an
    incomplete ObjectNet has gone unnoticed in a published table.
    """
    from carft.data.task import Task

    first, *suites = card.data_sets
    data_set = family.data_sets[first]
    found, digests = opened(data_set, root, skip_unreadable)
    train_parts, val_parts = {}, {}
    for split in family.training_splits(card):
        train, val = data_set.divided(found.splits, split, holdout)
        train_parts[split] = train.without(found.unreadable)
        val_parts[split] = val.without(found.unreadable)
    of_sets = {first: digests}
    for name in suites:
        with suppress(UserError):  # absent or incomplete
            of_sets[name] = opened(family.data_sets[name], root, skip_unreadable)[1]
    if suites:
        digests = combined_digests(of_sets)
    train_images = require_every_class(data_set.images(train_parts), card)
    return Task(card.name, train_images, data_set.images(val_parts), digests)


def combined_digests(of_sets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Combine the digests of data sets: ``attested`` is the weakest of theirs, with the names of the sets."""
    combined = {"attested": "yes"}
    left_out = []
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, digests in of_sets.items():
        combined[name] = digests[name]
        state = digests["attested"]
        if state.startswith("no: "):
            reasons[state.removeprefix("no: ")].append(name)
        elif state == "unknown":
            combined["attested"] = state
        if "left out" in digests:
            left_out.append(f"{name}: {digests['left out']}")
    if reasons:
        combined["attested"] = "no:"
        for why, names in reasons.items():
            combined["attested"] += f" {', '.join(names)}: {why}"
    if left_out:
        combined["left out"] = "; ".join(left_out)
    return combined


def require_every_class(images: ImageSet, card: Card) -> ImageSet:
    """Return training images unchanged. Raises ``UserError`` if a class has none, for example only unreadable ones."""
    present = set(images.labels.tolist())
    missing = [name for label, name in enumerate(card.classes) if label not in present]
    if missing:
        where = ("--tasks-file", "FILE") if card.scale == "own" else ("--data", "ROOT")
        raise UserError(
            f"{card.name} has no image to train on of the class '{missing[0]}'.",
            f"Find out why with: {typed('data', 'check', card.name, *where)}",
        )
    return images
