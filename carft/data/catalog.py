"""The catalog of all tasks and data sets, from every family: a value that commands build and pass on. No torch."""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Self

import carft.data
from carft.core.commands import typed
from carft.core.errors import UserError, unknown
from carft.data.card import Card, DataOptions
from carft.data.downstream.family import FAMILY as DOWNSTREAM_FAMILY
from carft.data.family import SWEEP, Family, Pool, Sizes
from carft.data.folder.family import FAMILY as OWN_DATA
from carft.data.folder.family import OwnData
from carft.data.folder.named import NamedTask
from carft.data.icons.family import DOWNSTREAM_ICONS, FULL_ICONS, ICON_DOMAINS
from carft.data.packages import PackageCard, family_name, installed_families, installed_family, installed_package
from carft.data.sets import DataSet

if TYPE_CHECKING:
    from carft.data.task import Sealed, Task

__all__ = ["CARDS", "DATA_SETS", "DOWNSTREAM", "DOWNSTREAM_ICONS", "FULL_ICONS", "ICON_DOMAINS", "TAKEN", "TaskCatalog"]


def built_in_families() -> tuple[Family, ...]:
    """Return ``FAMILY`` of every ``carft/data/*/family.py``, but that of your own data, which has no cards."""
    folders = [module.name for module in iter_modules(carft.data.__path__) if module.ispkg]
    modules = [f"carft.data.{name}.family" for name in folders if find_spec(f"carft.data.{name}.family")]
    families = [import_module(module).FAMILY for module in modules]
    for module, family in zip(modules, families, strict=True):
        if not isinstance(family, Family):
            raise TypeError(f"{module}.FAMILY must be a carft.data.family.Family, not {type(family).__name__}")
    with_cards = [family for family in families if family.cards]
    return tuple(sorted(with_cards, key=lambda family: (family.order, family.name)))


#: the families of this package, in the order of `ls tasks` and of reports
FAMILIES: tuple[Family, ...] = built_in_families()

CARDS: Mapping[str, Card] = {name: card for family in FAMILIES for name, card in family.cards.items()}

#: a task is made of one or more data sets
DATA_SETS: Mapping[str, DataSet] = {name: entry for family in FAMILIES for name, entry in family.data_sets.items()}

#: the nine tasks of `sweep downstream` on real data
DOWNSTREAM: tuple[str, ...] = tuple(DOWNSTREAM_FAMILY.cards)

#: what the name of no task of your own may begin with
TAKEN = {"downstream", "domainbed", *map(family_name, (*CARDS, *DATA_SETS))}


@dataclass(frozen=True, eq=False)
class TaskCatalog:
    """The tasks of this package, named tasks on your own data, and tasks of packages, installed or of a folder."""

    own: OwnData = OWN_DATA
    """Your own data."""
    stored: Mapping[str, PackageCard] = field(default_factory=dict)
    """Task of a package -> its card as a results folder holds it."""
    prefers_stored: bool = False
    """Whether such a card comes before that of the installed package, as in reports on the folder."""
    suites: tuple[str, ...] = ()
    """The suites that tasks are evaluated on; empty for all that they have."""

    def with_tasks(self, tasks: Iterable[NamedTask]) -> Self:
        """Return the catalog with named tasks; a later one takes the place of an earlier one of its name.

        Raises ``UserError`` for a name that belongs to this package.
        """
        named = dict(self.own.named)
        for task in tasks:
            if (first := family_name(task.name)) in TAKEN:
                raise UserError(
                    f"'{task.name}' cannot name your own data: '{first}' is a name of the catalog.", "Take another."
                )
            named[task.name] = task
        return replace(self, own=replace(self.own, named=named))

    def with_stored(self, cards: Iterable[PackageCard]) -> Self:
        """Return the catalog with cards of package tasks that a results folder holds."""
        return replace(self, stored={**self.stored, **{entry.card.name: entry for entry in cards}})

    def with_suites(self, suites: Iterable[str], tasks: Collection[str] = ()) -> Self:
        """Return the catalog whose tasks have these suites alone. A task that has none of them keeps all of its own.

        tasks: those of which one must have each suite; by default nothing is checked. Raises ``UserError`` for a suite
        that none of them has.
        """
        catalog, whole = replace(self, suites=tuple(suites)), replace(self, suites=())
        known = [suite for task in tasks for suite in whole.card(task).suites]
        if tasks:
            for suite in catalog.suites:
                if suite not in known:
                    raise unknown("suite", suite, known)
        return catalog

    def named(self, task: str) -> NamedTask | None:
        """Return the named task of this name; None if there is none."""
        return self.own.named.get(task)

    def is_own(self, task: str) -> bool:
        """Return whether a task is on your own data."""
        return task in self.own.named

    def package_card(self, task: str) -> PackageCard | None:
        """Return the card of a task of a package, with the package; None for any other task."""
        if task in CARDS or self.is_own(task):
            return None
        stored = self.stored.get(task)
        if stored is not None and self.prefers_stored:
            return stored
        package = installed_package(family_name(task))
        return (package and package.card(task)) or stored

    def _find(self, task: str) -> tuple[Family, Card] | None:
        """The family and the card of a task, with all its suites; None for an unknown name."""
        if self.is_own(task):
            card = self.own.card(task)
            assert card is not None
            return self.own, card
        for family in FAMILIES:
            if (card := family.card(task)) is not None:
                return family, card
        if (entry := self.package_card(task)) is None:
            if task.startswith("folder:") or "=" in task:
                hint = f"Write a project folder, whose tasks file names your data: {typed('init', 'PATH')}"
                raise UserError(f"'{task}' does not name a task.", hint)
            return None
        if entry is self.stored.get(task):
            cards = {name: other.card for name, other in self.stored.items() if other.family == entry.family}
            return Family(entry.family, cards), entry.card
        package = installed_package(entry.family)
        assert package is not None
        return package.family, entry.card

    def card(self, task: str) -> Card:
        """Return the card of a task, that of a named task as it was named. Raises ``UserError`` for an unknown name."""
        return self._require(task)[1]

    def cards(self) -> list[Card]:
        """Return the cards of this package and of all installed packages."""
        packages = [package for name in installed_families() if (package := installed_package(name))]
        return [*CARDS.values(), *(card for package in packages for card in package.family.cards.values())]

    def tasks_like(self, pattern: str) -> list[str]:
        """Return the tasks of a pattern such as ``pacs/*``, or of a family such as ``icons/domains``; none if it is
        neither."""
        if pattern in DATA_SETS or self.is_own(pattern):
            return []
        package = installed_package(family_name(pattern))
        names = [*CARDS, *(package.family.cards if package else ())]
        of_family = [name for name in names if name.startswith(f"{pattern}/") and pattern not in names]
        return of_family or fnmatch.filter(names, pattern)

    def family(self, task: str) -> Family:
        """Return the family of a task. Raises ``UserError`` for an unknown name."""
        return self._require(task)[0]

    def opener(self, task: str) -> tuple[Family, Card]:
        """Return the family that opens a task, and its card.

        Raises ``UserError`` for an unknown name, and for a task of a results folder whose package is not installed.
        """
        family, card = self._require(task)
        stored = self.stored.get(task)
        return (installed_family(stored) if stored is not None and stored.card is card else family), card

    def _require(self, task: str) -> tuple[Family, Card]:
        """The family and the card of a task, with the chosen suites. Raises ``UserError`` for an unknown name."""
        if (found := self._find(task)) is not None:
            family, card = found
            left_out = set(card.suites) - set(self.suites)
            return (family, card.without_suites(left_out)) if 0 < len(left_out) < len(card.suites) else found
        if task in DATA_SETS:
            tasks = [card.name for card in CARDS.values() if task in card.data_sets]
            raise UserError(f"'{task}' is a data set, not a task.", f"Tasks with it: {', '.join(tasks)}.")
        raise unknown("task", task, CARDS)

    def package_digest(self, task: str) -> str:
        """Return the digest of the code of the package of a task; empty for a task of no package."""
        return entry.digest if (entry := self.package_card(task)) else ""

    def data_sets(self, name: str) -> list[DataSet]:
        """Return the data set of this name, or those of the task of this name. Raises ``UserError`` for neither."""
        if self.is_own(name):
            return [self.own.files(name)]
        if name in DATA_SETS:
            return [DATA_SETS[name]]
        if self._find(name) is None:
            raise unknown("data set", name, DATA_SETS)
        family, card = self._require(name)
        return [family.data_sets[part] for part in card.data_sets]

    def pools(self, studied: Iterable[str]) -> list[Pool]:
        """Return how reports pool tasks. studied: the tasks of a results folder."""
        tasks = sorted(set(studied))
        packages = {entry.family: self.family(task) for task in tasks if (entry := self.package_card(task))}
        families = (*FAMILIES, self.own, *packages.values())
        return [pool for family in families for pool in family.pools(tasks)]

    def pool(self, task: str, pools: Iterable[Pool]) -> Pool:
        """Return the pool of a task; a task that is in none is one by itself."""
        alone = Pool(task, "single", task, (task,), f"{SWEEP} {shlex.quote(task)}", self.card(task))
        return next((pool for pool in pools if task in pool.tasks), alone)

    def open(self, task: str, options: DataOptions, holdout: str = "stable") -> Task:
        """Open training and validation images of a task. holdout: as of a cell."""
        family, card = self.opener(task)
        family.require_present(card, options)
        return family.open_task(card, options, holdout)

    def unseal(self, task: str, options: DataOptions, target_split: str = "all") -> Sealed:
        """Open the test set and the suites of a task. Only unsealing calls this. target_split: as of a cell."""
        family, card = self.opener(task)
        family.require_present(card, options)
        sealed = family.open_sealed(card, options, target_split)
        chosen = {name: images for name, images in sealed.suites.items() if not self.suites or name in card.suites}
        return replace(sealed, suites=chosen)

    def require_present(self, task: str, options: DataOptions, sealed: bool = False) -> None:
        """Raise ``UserError`` if training data do not exist, or any held-out set if ``sealed``. Opens no image."""
        family, card = self.opener(task)
        (family.require_sealed if sealed else family.require_present)(card, options)

    def refusal(self, task: str, options: DataOptions) -> str | None:
        """Return why the training data of a task cannot be used, with what to do; None where they can."""
        try:
            self.require_present(task, options)
        except UserError as error:
            return " ".join(filter(None, (error.message, error.hint)))
        return None

    def sizes(self, task: str, options: DataOptions) -> Sizes:
        """Return the numbers of images of a task.

        They are exact for the built-in world, your own data and packages. Where validation images are held out of
        training images, they are exact up to rounding per class. For a fixture they are those of the real set.
        """
        family, card = self.opener(task)
        return family.count(card, options)
