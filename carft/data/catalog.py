"""The catalog of all tasks and data sets, from every family. No torch."""

from __future__ import annotations

from collections.abc import Iterable

from carft.core.errors import UserError, unknown
from carft.data.card import Card
from carft.data.domainbed.cards import CARDS as DOMAINBED_CARDS
from carft.data.domainbed.cards import DATA_SETS as DOMAINBED_SETS
from carft.data.downstream.cards import CARDS as DOWNSTREAM_CARDS
from carft.data.downstream.cards import DATA_SETS as DOWNSTREAM_SETS
from carft.data.folder.cards import card_of, data_set_of, named_card
from carft.data.folder.named import NamedTask, declare, declared
from carft.data.folder.naming import is_folder
from carft.data.icons.cards import CARDS as ICONS
from carft.data.icons.world import DOMAINS, FULL
from carft.data.imagenet.cards import CARDS as IMAGENET_CARDS
from carft.data.imagenet.cards import DATA_SETS as IMAGENET_SETS
from carft.data.installed import installed_card
from carft.data.sets import DataSet

CARDS: dict[str, Card] = {**ICONS, **DOWNSTREAM_CARDS, **IMAGENET_CARDS, **DOMAINBED_CARDS}

#: a task is made of one or more data sets
DATA_SETS: dict[str, DataSet] = {**DOWNSTREAM_SETS, **IMAGENET_SETS, **DOMAINBED_SETS}

#: the same nine tasks with more images of each held-out drawing
FULL_ICONS: tuple[str, ...] = tuple(name for name in ICONS if name.startswith(FULL))

#: the tasks of `sweep downstream` on the built-in world
DOWNSTREAM_ICONS: tuple[str, ...] = tuple(name.replace(FULL, "icons/") for name in FULL_ICONS)

#: DomainBed's protocol on the built-in world
ICON_DOMAINS: tuple[str, ...] = tuple(name for name in ICONS if name.startswith(DOMAINS))

#: the nine tasks of `sweep downstream` on real data
DOWNSTREAM: tuple[str, ...] = tuple(DOWNSTREAM_CARDS)

#: what the name of no task of your own may begin with
TAKEN = {"downstream", "domainbed", *(name.partition("/")[0] for name in (*CARDS, *DATA_SETS))}


def data_set(name: str) -> DataSet:
    """Return the entry of a data set or of your own data. Raises ``UserError`` for an unknown name."""
    if is_folder(name) or declared(name) is not None:
        return data_set_of(name)
    if name not in DATA_SETS:
        raise unknown("data set", name, DATA_SETS)
    return DATA_SETS[name]


def data_sets(name: str) -> list[DataSet]:
    """Return the data set of this name, or the data sets of the task of this name."""
    if name in CARDS and name not in DATA_SETS:
        return [data_set(part) for part in CARDS[name].data_sets]
    return [data_set(name)]


def declare_tasks(tasks: Iterable[NamedTask]) -> None:
    """Make named tasks known to this process. Raises ``UserError`` for a name that belongs to the catalog."""
    tasks = list(tasks)
    for task in tasks:
        if (first := task.name.partition("/")[0]) in TAKEN:
            raise UserError(
                f"'{task.name}' cannot name your own data: '{first}' is a name of the catalog.", "Take another."
            )
    declare(tasks)


def is_known(task: str) -> bool:
    """Return whether this process can look for the card of a task: only a named task must be declared before."""
    return task in CARDS or is_folder(task) or declared(task) is not None


def card(name: str) -> Card:
    """Return the card of a task. Raises ``UserError`` for an unknown name.

    The card of a task on your own data, ``folder:PATH?...``, is made from the content of the folder. That of a named
    task is what was declared to this process.
    """
    if is_folder(name):
        return card_of(name)
    if (named := declared(name)) is not None:
        return named_card(named)
    if name in DATA_SETS and name not in CARDS:
        tasks = [one.name for one in CARDS.values() if name in one.data_sets]
        raise UserError(f"'{name}' is a data set, not a task.", f"Tasks with it: {', '.join(tasks)}.")
    if name in CARDS:
        return CARDS[name]
    if (found := installed_card(name, TAKEN)) is not None:
        return found
    raise unknown("task", name, CARDS)
