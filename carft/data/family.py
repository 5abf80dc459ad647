"""Families of tasks: what the rest of the project asks of one folder of this package, or of an installed package.

A family without code of its own is a :class:`Family` of cards. Only opening a task imports torch.
"""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carft.core.commands import PROGRAM, typed
from carft.core.errors import UserError
from carft.data.card import Card, DataOptions
from carft.data.sets import DataSet

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
    """What the ledger's claims are asked of: ``nine``, ``single``, ``imagenet`` or ``domainbed``."""
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
        if (count := self._function(card, "count", None)) is not None:
            return count(card)
        self.require_sealed(card, options)
        task, sets = self.open_task(card, options), self.open_sealed(card, options).sets()
        return Sizes(len(task.train), len(task.val), sum(map(len, sets.values())))

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        """Return an image of a held-out set as (H, W, 3) uint8 RGB, whole and at its own size. No torch.

        held_out: ``test`` or ``ood/<suite>``. name: of the image in predictions. root: data root, if it is known.
        Raises ``UserError`` where the data are not here, changed, or hold no readable image of this name, and where the
        loader has no function ``picture``.
        """
        if (picture := self._function(card, "picture", None)) is None:
            raise UserError(f"The loader {card.loader} has no function picture.", "Its pictures are left out.")
        return picture(card, held_out, name, root)

    def pools(self, studied: Iterable[str]) -> tuple[Pool, ...]:
        """Return how the tasks of the family are pooled in reports. studied: the tasks of a results folder."""
        if self.built_in_pools:
            return tuple(replace(pool, card=self.cards[pool.tasks[0]]) for pool in self.built_in_pools)
        names = tuple(self.cards)
        name, kind, title = self.name, "nine", f"the {len(names)} tasks of {self.name}"
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
