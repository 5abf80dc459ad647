"""The catalog of tasks and methods: a frozen value that a command builds once and passes on. No torch."""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from carft.catalog.families import CARDS, DATA_SETS, FAMILIES, GROUP, TAKEN, family_name, installed_family
from carft.catalog.plugins import installed_method, methods_in
from carft.config.cell import Cell
from carft.config.registry import METHODS, MethodCard
from carft.core.errors import UserError, first_of, typed, unknown
from carft.core.files import read_given
from carft.core.source import installed, text_digest
from carft.data.card import Card, DataOptions
from carft.data.checking import NAMED, find_unreadable
from carft.data.family import SWEEP, Family, Pool, Sizes
from carft.data.folder.family import FAMILY as OWN_DATA
from carft.data.folder.family import OwnData
from carft.data.folder.named import NamedTask
from carft.data.sets import DataSet

if TYPE_CHECKING:
    from carft.data.task import Sealed, Task


@dataclass(frozen=True, eq=False)
class Catalog:
    """All tasks and methods that a command knows: those of this package, of packages, of files, and of a folder.

    Most methods take the name of a task or method, and raise ``UserError`` for one that is not known.
    """

    own: OwnData = OWN_DATA
    """Your own data."""
    suites: tuple[str, ...] = ()
    """The suites that tasks are evaluated on; empty for all that they have."""
    plugins: tuple[tuple[str, str], ...] = ()
    """File name and text of every plugin file."""
    stored_methods: Mapping[str, MethodCard] = field(default_factory=dict)
    """Methods from outside this package as a results folder holds them, without code."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """sha256 of weights -> path of their file, or of the model folder, on this machine."""

    def of_cell(self, cell: Cell) -> Catalog:
        """Return what a cell needs of the catalog, to be sent to its worker: of the plugins that of its method."""
        task = self.named(cell.task)
        own = replace(self.own, named={task.name: task} if task else {})
        plugins = tuple((file, text) for file, text in self.plugins if text_digest(text) in cell.sources)
        return replace(self, own=own, stored_methods={}, plugins=plugins)

    # tasks

    def with_tasks(self, tasks: Iterable[NamedTask]) -> Catalog:
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

    def with_suites(self, suites: Iterable[str], tasks: Collection[str] = ()) -> Catalog:
        """Return the catalog whose tasks have these suites alone. A task that has none of them keeps all of its own.

        Raises ``UserError`` for a suite that none of ``tasks`` has, if any are named.
        """
        catalog, whole = replace(self, suites=tuple(suites)), replace(self, suites=())
        known: list[str] = []
        for task in tasks:
            known += whole.card(task).suites
        for suite in catalog.suites:
            if tasks and suite not in known:
                raise unknown("suite", suite, known)
        return catalog

    def named(self, task: str) -> NamedTask | None:
        """Return the task on your own data of this name; None if there is none."""
        return self.own.named.get(task)

    def card(self, task: str) -> Card:
        """Return the card of a task, with the chosen suites."""
        return self.opener(task)[1]

    def cards(self) -> list[Card]:
        """Return the cards of this package and of all installed packages."""
        cards = [*CARDS.values()]
        for name in sorted(installed(GROUP)):
            if family := installed_family(name):
                cards += family.cards.values()
        return cards

    def tasks_like(self, pattern: str) -> list[str]:
        """Return the tasks of a pattern such as ``pacs/*``, or of a family such as ``icons-3/domains``; none if it is
        neither."""
        if pattern in DATA_SETS or self.named(pattern):
            return []
        names = [*CARDS]
        if family := installed_family(family_name(pattern)):
            names += family.cards
        of_family = [name for name in names if name.startswith(f"{pattern}/")]
        if of_family and pattern not in names:
            return of_family
        return fnmatch.filter(names, pattern)

    def family(self, task: str) -> Family:
        """Return the family of a task."""
        return self.opener(task)[0]

    def opener(self, task: str, kind: str = "task", known: Iterable[str] = CARDS) -> tuple[Family, Card]:
        """Return the family that opens a task, and its card with the chosen suites.

        kind, known: what the message says that the name is not, and the names that are.
        """
        for family in (self.own, *FAMILIES, installed_family(family_name(task))):
            card = family.card(task) if family else None
            if family and card:
                left_out = set(card.suites) - set(self.suites)
                if 0 < len(left_out) < len(card.suites):
                    card = card.without_suites(left_out)
                return family, card
        if task in DATA_SETS:
            tasks = [card.name for card in CARDS.values() if task in card.data_sets]
            raise UserError(f"'{task}' is a data set, not a task.", f"Tasks with it: {', '.join(tasks)}.")
        more = " Tasks on your own data need --tasks-file FILE, others their package." if kind == "task" else ""
        raise unknown(kind, task, known, more=more)

    def data_sets(self, name: str) -> list[DataSet]:
        """Return the data set of this name, or those of the task of this name."""
        if self.named(name):
            return [self.own.files(name)]
        if name in DATA_SETS:
            return [DATA_SETS[name]]
        family, card = self.opener(name, "data set", DATA_SETS)
        return [family.data_sets[part] for part in card.data_sets]

    def pools(self, studied: Iterable[str]) -> list[Pool]:
        """Return how reports pool tasks. studied: the tasks of a results folder."""
        tasks = sorted(set(studied))
        families = [*FAMILIES, self.own]
        for name in dict.fromkeys(map(family_name, tasks)):
            if package := installed_family(name):
                families.append(package)
        return list(chain.from_iterable(family.pools(tasks) for family in families))

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
        """Why no sweep can use the data of a task, in a sentence; None where one can."""
        try:
            self.require_present(task, options)
        except UserError as error:
            return str(error)
        return None

    def require_readable(
        self, task: str, options: DataOptions, log: Callable[[str], None], known: dict[str, Mapping[Path, str]]
    ) -> None:
        """Raise ``UserError``, with names, if images of a task's data sets cannot be decoded.

        log: gets a sentence before many images are decoded. known: data set -> what
        :func:`carft.data.checking.find_unreadable` returned; the sets of this task are added.
        """
        named, root = self.named(task), options.root or Path()
        if named is None and options.root is None:
            return
        check = ("--tasks-file", named.file or "FILE") if named else ("--data", str(root))
        for data_set in self.data_sets(task):
            if data_set.name not in known:
                known[data_set.name] = find_unreadable(data_set, root, log)
            base = root / data_set.folder
            if broken := [path.relative_to(base).as_posix() for path in known[data_set.name]]:
                reasons = typed("data", "check", task if named else data_set.name, *check)
                raise UserError(
                    f"Images in '{base}' cannot be decoded: {first_of(broken, NAMED)}.",
                    f"Replace them with complete copies. For the reasons: {reasons}",
                )

    def sizes(self, task: str, options: DataOptions) -> Sizes:
        """Return the numbers of images of a task.

        They are exact for the built-in world, your own data and packages. Where validation images are held out of
        training images, they are exact up to rounding per class. For a fixture they are those of the real set.
        """
        family, card = self.opener(task)
        return family.count(card, options)

    # methods

    def with_plugins(self, paths: Sequence[Path]) -> Catalog:
        """Return the catalog with the methods of plugin files. Raises ``UserError`` for a file that cannot be one."""
        plugins = dict.fromkeys(self.plugins)
        for path in paths:
            plugins[path.name, read_given(path, "plugin", "Give the path of a Python file.")] = None
        catalog = replace(self, plugins=tuple(plugins))
        _ = catalog.methods  # a file that cannot be one is refused here, before work starts
        return catalog

    def with_weights(self, places: Mapping[str, str]) -> Catalog:
        """Return the catalog with where weights lie. places: sha256 of the weights -> path."""
        return replace(self, weights={**self.weights, **places})

    @property
    def of_files(self) -> Mapping[str, MethodCard]:
        """Methods of plugin files by name, whose text has then run. Raises ``UserError`` for a name that is taken."""
        methods: dict[str, MethodCard] = {}
        for file, text in self.plugins:
            for card in methods_in(file, text):
                if taken := METHODS.get(card.name) or methods.get(card.name):
                    words = f"there is a method '{card.name}' already, {taken.implementation}"
                    raise UserError(f"{file}: {words}.", "Give yours another name.")
                methods[card.name] = card
        return methods

    @property
    def methods(self) -> Mapping[str, MethodCard]:
        """Methods by name, in the order of tables: of this package, of the results folder, of plugin files."""
        return {**METHODS, **self.stored_methods, **self.of_files}

    def method(self, name: str) -> MethodCard:
        """Return the card of a method."""
        card = METHODS.get(name) or self.of_files.get(name) or installed_method(name) or self.stored_methods.get(name)
        if card is None:
            more = " A method of your own needs its file: --plugin FILE"
            raise unknown("method", name, self.methods, cutoff=0.8, more=more)
        return card

    def trained_methods(self) -> list[str]:
        """Return the names of the trained methods, in the order of tables."""
        return [name for name, card in self.methods.items() if card.kind == "trained"]

    def souped_methods(self) -> list[str]:
        """Return the names of the methods whose search cells are averaged, in the order of tables."""
        return [name for name, card in self.methods.items() if card.in_soups]

    def source_of(self, method: str, task: str) -> str:
        """Return the digest of the code of method and task, as far as it is no part of this package; else empty."""
        digests = (self.method(method).digest, self.family(task).digest)
        return "+".join(digest for digest in digests if digest)

    def require_source(self, method: str, task: str, digest: str) -> None:
        """Raise ``UserError`` if a cell of method and task was specified with other code than that of this catalog."""
        here = self.source_of(method, task)
        if here != digest:
            raise UserError(
                f"The cell was made with another version of the plugin of '{method}' on '{task}' "
                f"(digest {digest or 'none'}); loaded is {here or 'none'}.",
                "Give the version that it was made with: --plugin FILE",
            )


#: the catalog of this package alone; installed packages are found by name
BUILT_IN: Catalog = Catalog()
