"""The catalog: one card per task, from every family of data sets. No torch here."""

from __future__ import annotations

from carft.data.card import Card
from carft.data.domainbed.cards import CARDS as DOMAINBED
from carft.data.folder.cards import card_of
from carft.data.folder.naming import is_folder
from carft.data.icons.cards import CARDS as ICONS
from carft.data.icons.world import ALL
from carft.data.imagenet.cards import CARDS as IMAGENET
from carft.errors import unknown

CARDS: dict[str, Card] = {**ICONS, **IMAGENET, **DOMAINBED}

#: the tasks of `sweep downstream` on the built-in world
DOWNSTREAM_ICONS: tuple[str, ...] = tuple(name for name in ICONS if name != ALL)


def card(name: str) -> Card:
    """The card of a task; ``Refusal`` with near misses for an unknown name.

    A task on your own data, ``folder:PATH?...``, has a card that is made from what is in the folder.
    """
    if is_folder(name):
        return card_of(name)
    if name not in CARDS:
        raise unknown("task", name, CARDS)
    return CARDS[name]
