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
from carft.data.indexing import indexed
from carft.data.sets import DataSet, Splits

if TYPE_CHECKING:
    import numpy as np

    from carft.data.task import Sealed, Task

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
    digest: str = ""
    """Digest of the source of an installed family, part of the id of every cell; empty for others."""

    def card(self, task: str) -> Card | None:
        """Return the card of a task; None if the family has none of this name."""
        return self.cards.get(task)

    def require_present(self, card: Card, options: DataOptions) -> None:
        """Raise ``UserError`` if the data do not exist. Opens no image."""
        if card.folder:
            required_root(card, options.root)
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


def required_root(card: Card, root: Path | None) -> Path:
    """Return the data root. Raises ``UserError`` if none is given."""
    if root is None:
        raise UserError(
            f"{card.name} needs data on this machine, and no data folder was named.",
            f"Give --data ROOT, the folder that holds '{card.folder}'. Where to get it: {card.source}",
        )
    return root


# tasks of data sets on disk


@dataclass(frozen=True)
class TrainingParts:
    """The images that a task is trained and validated on, as split or domain -> images of one data set."""

    data_set: DataSet
    train: Splits
    val: Splits
    digests: Mapping[str, str]
    """Of the data, for the record."""


@lru_cache(maxsize=8)
def opened(data_set: DataSet, root: Path) -> tuple[Splits, Mapping[str, str]]:
    """Return the splits of a data set from its index, and its digests for the record, read once per process."""
    found = indexed(data_set, root)
    return found.splits, attest(data_set, root, found).digests()


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

    def training(self, card: Card, root: Path | None, holdout: str) -> TrainingParts:
        """Return training and validation images.

        Suites that are there and complete are opened too, so that the record names them, and the others are left out:
        an incomplete ObjectNet has gone unnoticed in a published table.
        """
        root = required_root(card, root)
        first, *suites = card.data_sets
        data_set = self.data_sets[first]
        splits, digests = opened(data_set, root)
        train, val = {}, {}
        for split in self.training_splits(card):
            train[split], val[split] = data_set.divided(splits, split, holdout)
        of_sets = {first: digests}
        for name in suites:
            with suppress(UserError):  # absent or incomplete
                of_sets[name] = opened(self.data_sets[name], root)[1]
        if suites:
            digests = combined_digests(of_sets)
        return TrainingParts(data_set, train, val, digests)

    def held_out(self, card: Card, root: Path | None, target_split: str = "all") -> dict[str, tuple[DataSet, Splits]]:
        """Return held-out set -> its data set and images.

        target_split: all of a held-out split, or one side of DomainBed's own split of it, ``in`` or ``out``.
        """
        found: dict[str, tuple[DataSet, Splits]] = {}
        root = required_root(card, root)
        for held_out, (name, split) in self.held_out_splits(card).items():
            data_set = self.data_sets[name]
            splits, _ = opened(data_set, root)
            chosen = splits[split]
            if target_split != "all":
                chosen = data_set.divided(splits, split, "domainbed")[("in", "out").index(target_split)]
            found[held_out] = (data_set, {split: chosen})
        return found

    def require_present(self, card: Card, options: DataOptions) -> None:
        self.data_sets[card.data_sets[0]].require_present(required_root(card, options.root))

    def require_sealed(self, card: Card, options: DataOptions) -> None:
        for name in card.data_sets:
            self.data_sets[name].require_present(required_root(card, options.root))

    def open_task(self, card: Card, options: DataOptions, holdout: str = "stable") -> Task:
        return _open_task(self, card, options.root, holdout)

    def open_sealed(self, card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
        from carft.data.task import Sealed

        sets = {}
        for held_out, (data_set, parts) in self.held_out(card, options.root, target_split).items():
            sets[held_out] = data_set.images(parts)
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
        """A name of a results folder that is that of no image leads to no file."""
        sets = self.held_out(card, root)
        if held_out in sets:  # else a suite that is left out
            data_set, parts = sets[held_out]
            for split, part in parts.items():
                for path, other in zip(part.paths, data_set.names(split, part), strict=True):
                    if name == other:
                        return data_set.picture(path)
        raise UserError(f"{card.name} has no image called '{name}' here.", "Its picture is left out.")


@lru_cache(maxsize=4)
def _open_task(family: DataSetFamily, card: Card, root: Path | None, holdout: str) -> Task:
    """Open training and validation images, once per process."""
    from carft.data.task import Task

    found = family.training(card, root, holdout)
    return Task(card.name, found.data_set.images(found.train), found.data_set.images(found.val), found.digests)


def combined_digests(of_sets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Combine the digests of data sets: ``attested`` is the weakest of theirs, with the names of the sets."""
    combined = {"attested": "yes"}
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, digests in of_sets.items():
        combined[name] = digests[name]
        state = digests["attested"]
        if state.startswith("no: "):
            reasons[state.removeprefix("no: ")].append(name)
        elif state == "unknown":
            combined["attested"] = state
    if reasons:
        combined["attested"] = "no:"
        for why, names in reasons.items():
            combined["attested"] += f" {', '.join(names)}: {why}"
    return combined
